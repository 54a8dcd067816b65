//! Processes: other ones, and this one between its service manager and its first request.
//!
//! [`run`] is the one runner of other programs: no shell, no inherited environment, nothing on
//! standard input. The program leads a process group of its own; when it ends, or its time or
//! output does, everything left in the group is killed, so that a hanging helper of it does not
//! stay and does not keep its pipes open. Whoever calls it waits: it is for workers and threads,
//! not for a runtime's.
//!
//! [`activation`] and [`Notify`] are the two ways between a service manager and a service: the
//! sockets it hands in, and what it is told. [`confine`] is what a process gives up before it
//! reads its first byte from outside; what to give up is decided by whoever calls. [`Accounts`]
//! says under which numbers.

mod accounts;
pub mod activation;
pub mod confine;
mod notify;
mod run;

pub use accounts::{Accounts, text};
pub use notify::Notify;
pub use run::{Finished, RunError, Spec, run};
