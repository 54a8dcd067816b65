//! A new gate takes the place of one that runs, and nobody is refused meanwhile.
//!
//! Over the old one's control socket, one connection:
//!
//! | successor says | the old one | and answers |
//! |---|---|---|
//! | takeover | goes on as before | copies of its listeners |
//! | release | accepts no more and lets requests under way end ([`HANDOVER_QUIET`]); writes what waits, closes its state and its audit log | that it has |
//! | done | ends, but for its consoles | that the place is the successor's |
//! | closes | may be gone from here on | |
//!
//! Both hold the listeners, so that whoever connects in between waits in the kernel's queue. The
//! successor opens the state after the second answer and does everything that can fail; it accepts
//! nobody, and nothing is acknowledged by it, before the third. So until then the old one can take
//! everything back: when the successor goes, fails, or says nothing for [`HANDOVER_DONE`], it opens
//! its state again and goes on. One that comes too late is told so, and ends.
//!
//! A request that takes longer than the wait goes on in the old process, which can keep nothing
//! meanwhile: a change that has to be durable is refused there. The old one ends when its last
//! console has; until then it asks the new one which of them may go on (`tunnels`).
//!
//! [`HANDOVER_QUIET`]: crate::limits::HANDOVER_QUIET
//! [`HANDOVER_DONE`]: crate::limits::HANDOVER_DONE

mod predecessor;
mod successor;

use serde::{Deserialize, Serialize};

pub(crate) use predecessor::HandOver;
pub use successor::{Takeover, TakeoverError};

/// Listeners in one message; the kernel takes 253 (`SCM_MAX_FD`).
const LISTENERS: usize = 253;

/// What comes with the listeners.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Given {
    /// Somebody else has bound them: they stand for what the configuration says.
    #[serde(default)]
    handed_in: bool,
}

/// What the successor says after its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// Let go of the state.
    Release,
    /// Everything that can fail has been done.
    Done,
}
