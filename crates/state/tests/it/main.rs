//! One suite for every store, and what only one of them can go through: of a file a kill, a full
//! disk, a second owner; of a shared server others that write, a kill, a loss.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is passed over says so")]

mod conformance;
mod file;
mod redis;
mod server;
