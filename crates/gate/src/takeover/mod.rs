//! A new gate takes the place of one that runs, and nobody is refused meanwhile.
//!
//! Over the old one's control socket, one connection: the successor asks for the listeners and
//! gets copies of them; both hold them now, so that whoever connects waits in the kernel's queue
//! and is not refused. When the successor is ready for it, it asks for the state: the old one
//! accepts no more, lets requests under way end (at most [`HANDOVER_QUIET`]), writes what waits,
//! closes its store and its audit log, and says so. The successor opens both and accepts. The old
//! one ends when its last console has; until then it asks the new one which of them may go on
//! (`tunnels`).
//!
//! What was acknowledged is on the disk before the store changes hands. A request that takes
//! longer than the wait goes on in the old process, which can keep nothing any more: a change
//! that has to be durable is refused there, and who logs in just then has to do so again.

mod predecessor;
mod successor;

use serde::{Deserialize, Serialize};

pub(crate) use predecessor::{HandOver, Keep};
pub use successor::{Takeover, TakeoverError};

/// Listeners in one message; the kernel takes 253 (`SCM_MAX_FD`).
const LISTENERS: usize = 253;

/// What the successor says after its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// Let go of the state.
    Release,
    /// Connections are accepted.
    Done,
}
