//! May this program do that to this machine? One command, confined by the operating system.
//!
//! A cell is one process that sees one directory, reaches the addresses its policy names, and has
//! limits. The kernel keeps it there: namespaces and a root of its own, Landlock, an allow-list of
//! system calls, control groups. Nothing depends on the program's co-operation or language.
//!
//! Three roles, from outside in:
//!
//! * [`run`] holds the policy, the sockets and the output, and decides about
//!   connections; it never runs the command's code;
//! * [`launch`] is the small program `proxward-cell`: it builds the cell in a fixed order, any
//!   failed step is the end, and stays as the one who tidies up, whatever happens to the supervisor;
//! * inside, process 1 waits for process 2, which is the command.
//!
//! What a cell may do is a [`Policy`]. [`serve`] keeps cells that are built already, and [`ask`]
//! takes one.

mod blueprint;
mod channel;
mod doctor;
#[cfg(fuzzing)]
pub mod fuzzing;
mod layer;
mod limits;
mod list;
mod plan;
mod policy;
mod pool;
mod seccomp;
mod supervise;
mod sys;

pub mod launch;

pub use doctor::{Finding, doctor, is_root};
pub use layer::{Layer, LayerError};
pub use limits::POLICY_BYTES;
pub use list::{Running, list};
pub use plan::{PlanError, find_in};
pub use policy::{
    Bytes, Destination, DestinationError, Limits, Listen, Policy, PolicyError, Profile,
    QuantityError, Restriction, Span, Whom,
};
pub use pool::{PoolOptions, SlotState, Wanted, Warm, ask, become_slot, follow, serve, slots};
pub use supervise::{
    BuildError, Denial, End, Mode, Observation, OnDenial, Outcome, Request, become_supervisor,
    handed_in_listeners, observe, run, stop_signals,
};
