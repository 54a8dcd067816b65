//! The same program under another role.

use crate::ipc::Channel;
use crate::serve;
use crate::worker::{self, WorkerKind};

/// The first word of a process that the supervisor starts; its channel is its standard input.
pub const ROLE_FLAG: &str = "--role";

/// The role's word for the process with the sockets.
pub(crate) const LISTENER: &str = "listener";

/// Why a process that the supervisor started ended.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RoleError(String);

/// Runs as what the supervisor said. Not for people: without a channel it ends at once.
///
/// # Errors
/// [`RoleError`], in one line for the log.
pub fn run_role(role: &str) -> Result<(), RoleError> {
    let say = |error: &dyn std::fmt::Display| RoleError(format!("{role}: {error}"));
    let channel = Channel::of_stdin().map_err(|error| say(&error))?;
    if role == LISTENER {
        return serve::run(channel).map_err(|error| say(&error));
    }
    match WorkerKind::find(role) {
        Some(kind) => worker::run(kind, channel).map_err(|error| say(&error)),
        None => Err(say(&"no such role; it is given by the broker itself")),
    }
}
