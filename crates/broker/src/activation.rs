//! Sockets that a service manager has opened (sd_listen_fds(3)).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::limits::SOCKETS;

/// The first descriptor that is handed in.
const FIRST: i32 = 3;

/// Descriptors from `LISTEN_FDS`, with their names from `LISTEN_FDNAMES` where there are any.
///
/// They are fetched as duplicates through a descriptor of this very process: that is safe code,
/// and closes on exec. The originals stay open and unused.
pub(crate) fn sockets() -> io::Result<Vec<(Option<String>, OwnedFd)>> {
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name)?.parse::<i32>().ok();
    let ours = number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    let count = count.clamp(0, i32::try_from(SOCKETS).unwrap_or(i32::MAX));
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let one = |n: i32| {
        let fd = pidfd_getfd(&own, FIRST + n, PidfdGetfdFlags::empty())?;
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        Ok((names.next().filter(|name| !name.is_empty()), fd))
    };
    (0..count).map(one).collect()
}

/// Whether it is a unix socket that listens.
pub(crate) fn is_listening(fd: BorrowedFd<'_>) -> bool {
    let unix = rustix::net::sockopt::socket_domain(fd) == Ok(rustix::net::AddressFamily::UNIX);
    unix && rustix::net::sockopt::socket_acceptconn(fd) == Ok(true)
}
