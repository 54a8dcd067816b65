//! Who is at the other end of a unix socket, by the kernel's word.
//!
//! `unsafe` stands in [`getsockopt`] alone: rustix has neither `SO_PEERPIDFD` nor
//! `SO_PEERGROUPS`, and its `SO_PEERCRED` can not say that there is no pid.
#![expect(unsafe_code, reason = "socket options that rustix does not have or not safely")]

use rustix::io::Errno;
use rustix::net::{AddressFamily, getpeername};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// A process as it was when it connected, or made the socket pair.
///
/// The process may have ended since, handed the socket on, or changed its user: these are
/// the rights with which the connection was opened. Decide by `uid` and `gid`; `pid` is for
/// logs only, because the kernel gives it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// Process id, as seen from this pid namespace.
    pub pid: i32,
    /// Effective user id, as seen from this user namespace; [`OVERFLOW_ID`] when it has no
    /// number here.
    pub uid: u32,
    /// Effective group id, likewise.
    pub gid: u32,
}

/// What the kernel answers for a user or group without a number in this user namespace
/// (`/proc/sys/kernel/overflowuid`, its default). Many different users share it: never
/// grant it anything.
pub const OVERFLOW_ID: u32 = 65534;

/// Most supplementary groups of a peer that are read (the kernel's own limit, `NGROUPS_MAX`).
pub const MAX_GROUPS: usize = 65_536;

/// `SO_PEERPIDFD` (Linux 6.5); not in every version of libc's constants.
const SO_PEERPIDFD: libc::c_int = 77;

/// Why the peer is not known.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The socket is of another family, where there are no credentials.
    #[error("not a unix socket: only local sockets have peer credentials")]
    NotUnix,
    /// Nobody is at the other end.
    #[error("unix socket without a peer: ask the accepted stream, not the listener")]
    NotConnected,
    /// The peer's process has no number here.
    #[error("the peer's process lives in a pid namespace that is not below ours")]
    ForeignNamespace,
    /// The peer's process has ended.
    #[error("the peer's process has ended")]
    Gone,
    /// The kernel refused.
    #[error("peer credentials of the unix socket are not readable")]
    Unreadable(#[source] io::Error),
}

/// The credentials of the process at the other end of a connected unix stream
/// (`SO_PEERCRED`, unix(7)).
pub fn credentials(stream: impl AsFd) -> Result<Credentials, PeerError> {
    let fd = stream.as_fd();
    // A socket that listens has credentials too: its own.
    let peer = getpeername(fd).map_err(|errno| match errno {
        Errno::NOTCONN => PeerError::NotConnected,
        errno => PeerError::Unreadable(errno.into()),
    })?;
    if peer.is_some_and(|peer| peer.address_family() != AddressFamily::UNIX) {
        return Err(PeerError::NotUnix);
    }
    accepted_credentials(fd)
}

/// The same of a stream that `accept` has just returned, for one call of the system less: that it
/// is connected needs no asking, and what is no unix socket has no pid here and is refused.
///
/// # Errors
/// [`PeerError`]; a socket of another family is told as a foreign namespace.
pub fn accepted_credentials(stream: impl AsFd) -> Result<Credentials, PeerError> {
    let fd = stream.as_fd();
    // The kernel's `struct ucred`: pid, uid, gid. A peer whose pid namespace is not below ours
    // has pid 0, which is why this is not rustix' function: its `Pid` can not hold it.
    let mut found = [0_u32; 3];
    getsockopt(fd, libc::SO_PEERCRED, &mut found).map_err(PeerError::Unreadable)?;
    let [pid, uid, gid] = found;
    match i32::try_from(pid) {
        Ok(pid @ 1..) => Ok(Credentials { pid, uid, gid }),
        _ => Err(PeerError::ForeignNamespace),
    }
}

/// A descriptor of the peer's process (`SO_PEERPIDFD`, Linux 6.5). Unlike the pid it can not come
/// to mean another process. `None` where the kernel does not have the option.
///
/// # Errors
/// [`PeerError::Gone`]: a kernel before 6.16 whose process was reaped already. Its number may be
/// another's by now, so nothing that is found by it is about the peer.
/// [`PeerError::Unreadable`] for anything else the kernel refuses.
pub fn pidfd(stream: impl AsFd) -> Result<Option<OwnedFd>, PeerError> {
    let mut raw: libc::c_int = -1;
    match getsockopt(stream.as_fd(), SO_PEERPIDFD, std::slice::from_mut(&mut raw)) {
        // SAFETY: the kernel has just installed this descriptor for us and nobody else knows it.
        Ok(_) if raw >= 0 => Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) })),
        Ok(_) => Ok(None),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOPROTOOPT) => Ok(None),
            Some(libc::EINVAL | libc::ESRCH | libc::ENODATA) => Err(PeerError::Gone),
            _ => Err(PeerError::Unreadable(error)),
        },
    }
}

/// The supplementary groups the peer had when it connected (`SO_PEERGROUPS`), as seen from this
/// user namespace.
///
/// # Errors
/// [`PeerError::Unreadable`]: not a unix socket, or more than [`MAX_GROUPS`].
pub fn groups(stream: impl AsFd) -> Result<Vec<u32>, PeerError> {
    let fd = stream.as_fd();
    // Nearly every process has fewer than this; the kernel says how many it takes otherwise.
    let mut groups = vec![0_u32; 64];
    loop {
        match getsockopt(fd, libc::SO_PEERGROUPS, &mut groups) {
            Ok(bytes) => {
                groups.truncate(bytes / size_of::<u32>());
                return Ok(groups);
            }
            Err(error)
                if error.raw_os_error() == Some(libc::ERANGE) && groups.len() < MAX_GROUPS =>
            {
                groups.resize(MAX_GROUPS, 0);
            }
            Err(error) => return Err(PeerError::Unreadable(error)),
        }
    }
}

/// Reads an option of the socket level into `buffer` and says how many bytes it has.
fn getsockopt<T: Copy>(
    fd: BorrowedFd<'_>,
    option: libc::c_int,
    buffer: &mut [T],
) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(size_of_val(buffer))
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: `fd` is open for the length of the call, `buffer` is ours alone and `length` its
    // size in bytes, beyond which the kernel does not write. Both options fill it with integers
    // (`c_int`, `gid_t`), for which every bit pattern is a value.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 {
        usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData.into())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn both_ends_of_a_connection_are_this_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        let (server, _) = listener.accept().unwrap();
        let own = std::fs::metadata(&path).unwrap();
        for stream in [&client, &server] {
            let peer = credentials(stream).unwrap();
            assert_eq!(u32::try_from(peer.pid).unwrap(), std::process::id());
            assert_eq!(peer.uid, std::os::unix::fs::MetadataExt::uid(&own));
        }
    }

    #[test]
    fn the_process_and_its_groups_are_told() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = rustix::process::getgroups().unwrap();
        let own: Vec<u32> = own.iter().map(|gid| gid.as_raw()).collect();
        assert_eq!(groups(&one).unwrap(), own);
        let Some(pidfd) = pidfd(&one).unwrap() else { return };
        let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let info = std::fs::read_to_string(info).unwrap();
        assert!(info.contains(&format!("Pid:\t{}\n", std::process::id())), "{info}");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(groups(&tcp).is_err());
    }

    #[test]
    fn the_answer_stays_after_the_peer_hung_up() {
        let (one, other) = UnixStream::pair().unwrap();
        drop(other);
        assert_eq!(u32::try_from(credentials(&one).unwrap().pid).unwrap(), std::process::id());
    }

    #[test]
    fn a_listener_a_tcp_stream_and_a_file_have_no_peer() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(matches!(credentials(&listener), Err(PeerError::NotConnected)));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(credentials(&stream), Err(PeerError::NotUnix)));
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted_credentials(&accepted).is_err());

        let file = std::fs::File::open(dir.path()).unwrap();
        assert!(matches!(credentials(&file), Err(PeerError::Unreadable(_))));
    }
}
