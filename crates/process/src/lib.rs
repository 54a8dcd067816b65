//! The one runner of other programs: fixed argv, caps on time and output, the whole group ended.
//!
//! No shell, no inherited environment, nothing on standard input. The program leads a process
//! group of its own; when it ends, or its time or output does, everything left in the group is
//! killed, so that a hanging helper of it does not stay and does not keep its pipes open.
//! Whoever calls this waits: it is for workers and threads, not for a runtime's.

mod run;

pub use run::{Finished, RunError, Spec, run};
