//! The shipped facts against recorded answers of a genuine PVE and against PVE's own document.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod arbitrary;
mod facts;
mod golden;
mod shared;
