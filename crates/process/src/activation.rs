//! Sockets that a service manager has opened (sd_listen_fds(3)).

use std::io;
use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// Most sockets that are taken.
const SOCKETS: i32 = 512;

/// The first descriptor that is handed in.
const FIRST: i32 = 3;

/// Descriptors from `LISTEN_FDS`, with their names from `LISTEN_FDNAMES` where there are any.
///
/// They are fetched as duplicates through a descriptor of this very process: that is safe code,
/// and closes on exec. The originals stay open and unused.
///
/// # Errors
/// A number in `LISTEN_FDS` without its descriptor.
pub fn sockets() -> io::Result<Vec<(Option<String>, OwnedFd)>> {
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name)?.parse::<i32>().ok();
    let ours = number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    let count = count.clamp(0, SOCKETS);
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
#[must_use]
pub fn is_listening(fd: BorrowedFd<'_>) -> bool {
    let unix = rustix::net::sockopt::socket_domain(fd) == Ok(rustix::net::AddressFamily::UNIX);
    unix && rustix::net::sockopt::socket_acceptconn(fd) == Ok(true)
}

/// A TCP socket that listens, as one; `None` for anything else.
#[must_use]
pub fn tcp_listener(fd: OwnedFd) -> Option<TcpListener> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    let inet =
        matches!(sockopt::socket_domain(&fd), Ok(AddressFamily::INET | AddressFamily::INET6));
    let stream = sockopt::socket_type(&fd) == Ok(SocketType::STREAM);
    let listens = sockopt::socket_acceptconn(&fd) == Ok(true);
    (inet && stream && listens).then(|| TcpListener::from(fd))
}
