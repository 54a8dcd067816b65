//! The same program under another role.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::ipc::Channel;
use crate::worker::{self, WorkerKind};
use crate::{serve, verbs};

/// The first word of a process that the supervisor starts; its channel is its standard input.
pub const ROLE_FLAG: &str = "--role";

/// The role's word for the process with the sockets.
pub(crate) const LISTENER: &str = "listener";

/// The role's word for the process that starts cells.
pub(crate) const LAUNCHER: &str = "cell-launcher";

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
    if role == LAUNCHER {
        return verbs::run_launcher(&channel).map_err(|error| say(&error));
    }
    match WorkerKind::find(role) {
        Some(kind) => worker::run(kind, channel).map_err(|error| say(&error)),
        None => Err(say(&"no such role; it is given by the broker itself")),
    }
}

/// This program again, with the channel as its standard input and nothing of the environment.
pub(crate) fn start(role: &str, end: OwnedFd, ids: Option<(u32, u32)>) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("proxward-brokerd").args([ROLE_FLAG, role]).env_clear().current_dir("/");
    // A group of its own: Ctrl-C in a terminal is for the supervisor, which ends the others.
    command.stdin(Stdio::from(end)).stdout(Stdio::null()).process_group(0);
    if let Some((uid, gid)) = ids.filter(|_| rustix::process::geteuid().is_root()) {
        // The standard library clears the supplementary groups with it.
        command.uid(uid).gid(gid);
    }
    command.spawn()
}
