//! The audit log against tampering, crashes and rotation; the log in a process of its own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod audit_chain;
mod audit_file;
mod log_process;
