//! Who is at the other end of a unix socket, by the kernel's word.

use rustix::net::sockopt::{socket_domain, socket_peercred};
use rustix::net::{AddressFamily, getpeername};
use std::io;
use std::os::fd::AsFd;

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

/// Why the peer is not known.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The socket is of another family, where there are no credentials.
    #[error("not a unix socket: only local sockets have peer credentials")]
    NotUnix,
    /// Nobody is at the other end.
    #[error("unix socket without a peer: ask the accepted stream, not the listener")]
    NotConnected,
    /// The kernel refused, or the peer's process has no number here (it lives in a pid
    /// namespace that is not below ours).
    #[error("peer credentials of the unix socket are not readable")]
    Unreadable(#[source] io::Error),
}

/// The credentials of the process at the other end of a connected unix stream
/// (`SO_PEERCRED`, unix(7)).
pub fn credentials(stream: impl AsFd) -> Result<Credentials, PeerError> {
    let fd = stream.as_fd();
    let unreadable = |errno: rustix::io::Errno| PeerError::Unreadable(errno.into());
    // A socket without a peer answers pid 0 and uid -1, which rustix' `Pid` can not hold:
    // both checks come first.
    if socket_domain(fd).map_err(unreadable)? != AddressFamily::UNIX {
        return Err(PeerError::NotUnix);
    }
    getpeername(fd).map_err(|_| PeerError::NotConnected)?;
    let peer = socket_peercred(fd).map_err(unreadable)?;
    Ok(Credentials {
        pid: peer.pid.as_raw_nonzero().get(),
        uid: peer.uid.as_raw(),
        gid: peer.gid.as_raw(),
    })
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

        let file = std::fs::File::open(dir.path()).unwrap();
        assert!(matches!(credentials(&file), Err(PeerError::Unreadable(_))));
    }
}
