//! The program with its processes, on real sockets, with peers of other users.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod calls;
mod deadlines;
mod fixes;
mod harness;
mod manager;
mod peers;
mod reload;
mod ssh;
mod units;
mod work;
