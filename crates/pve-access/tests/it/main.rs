//! The crate against what a genuine server and upstream's own code said.
//!
//! The data is used in place: `$PROXWARD_SHARED`, else `shared` beside the workspace. Without it
//! each test says that it was skipped.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::panic,
    reason = "tests"
)]

mod access_lists;
mod login_answers;
mod predefined_roles;
mod shared;
mod tickets;
mod user_cfg;
