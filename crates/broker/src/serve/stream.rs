//! A peer's connection, as cheap as it can be had.
//!
//! What costs is waking processes, so each of these saves a wakeup or a round through the kernel:
//!
//! * Bytes are looked at first and taken from the socket after the answer (`MSG_PEEK`). Taking them
//!   tells the sender that it may write again, which wakes a client that sleeps until its answer
//!   comes, for nothing; once the answer has woken it, nobody sleeps there any more.
//! * Reading is tried before the kernel is asked to watch: many requests are there already when
//!   their connection is accepted.
//! * The runtime's own streams are watched for writing too, and so awake for each answer that was
//!   read. Here only a connection is whose answer did not fit the socket's buffer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::limits::IN_BUFFER;

/// A socket that listens.
pub(super) struct Listener(AsyncFd<OwnedFd>);

/// A connection.
pub(crate) struct Stream {
    socket: Socket,
    /// Bytes that were given out and are still to be taken from the socket.
    seen: usize,
}

enum Socket {
    Plain(OwnedFd),
    Watched(AsyncFd<OwnedFd>),
    /// Only while the watch is changed, and when that failed.
    Lost,
}

impl Listener {
    /// Takes over a socket that listens; it is made non-blocking.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        watch(socket, Interest::READABLE).map(Self)
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<OwnedFd> {
        loop {
            let mut guard = self.0.readable().await?;
            match accept_with(&self.0, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(stream) => return Ok(stream),
                Err(Errno::WOULDBLOCK) => guard.clear_ready(),
                // The peer was gone before it was accepted.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl Stream {
    /// A connection as it was accepted: non-blocking.
    pub(super) fn new(stream: OwnedFd) -> Self {
        Self { socket: Socket::Plain(stream), seen: 0 }
    }

    /// Appends what arrives next, as much as `bytes` has room for; 0 when the peer has ended.
    ///
    /// While it waits nothing is left in the socket, so a connection that is ended meanwhile is
    /// not reset.
    pub(super) async fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let more = self.take(bytes)?;
        if more > 0 {
            return Ok(more);
        }
        loop {
            match recv(self.fd()?, spare_capacity(bytes), LOOK) {
                Ok((read, _)) => {
                    self.seen = read;
                    return Ok(read);
                }
                Err(Errno::WOULDBLOCK) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            // Cleared before the next try: what arrives in between is told again.
            self.watched(Interest::READABLE)?.readable().await?.clear_ready();
        }
    }

    /// Writes all of it.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut at = 0;
        let mut interest = Interest::READABLE;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match send(self.fd()?, rest, SEND) {
                Ok(sent) => at += sent,
                Err(Errno::WOULDBLOCK) => {
                    if interest == Interest::READABLE {
                        interest |= Interest::WRITABLE;
                        self.unwatch();
                    }
                    self.watched(interest)?.writable().await?.clear_ready();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Returns when the peer is gone; one that only has no more to say stays, and is not seen to
    /// go: the runtime tells of no second end.
    pub(super) async fn hung_up(&mut self) {
        // Without a watch nothing is told: then the time of the request ends it.
        let Ok(fd) = self.watched(Interest::READABLE) else { return std::future::pending().await };
        loop {
            let Ok(mut guard) = fd.readable().await else { return };
            let closed = guard.ready().is_read_closed();
            guard.clear_ready();
            let mut fds = [PollFd::new(fd, PollFlags::empty())];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let told = poll(&mut fds, Some(&at_once)).is_ok_and(|ready| ready > 0);
            if told && fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP)) {
                return;
            }
            if closed {
                return std::future::pending().await;
            }
        }
    }

    /// Takes what else has arrived, up to a limit: a socket closed over unread bytes resets its
    /// peer.
    pub(super) fn drain(&mut self) {
        const READS: usize = 8;
        self.seen = 0;
        let Ok(fd) = self.fd() else { return };
        let mut rest = [0_u8; IN_BUFFER];
        for _ in 0..READS {
            match recv(fd, &mut rest, RecvFlags::DONTWAIT) {
                Ok((IN_BUFFER, _)) => {}
                _ => return,
            }
        }
    }

    /// Takes from the socket what was given out, and appends what came behind it.
    fn take(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        while self.seen > 0 {
            let before = bytes.len();
            bytes.reserve(self.seen);
            match recv(self.fd()?, spare_capacity(bytes), RecvFlags::DONTWAIT) {
                // They were there, and nobody else reads this socket.
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((read, _)) => {
                    // Less than was given out where a descriptor came with the bytes: the kernel
                    // ends a read there.
                    let old = read.min(self.seen);
                    bytes.drain(before..before + old);
                    self.seen -= old;
                    if read > old {
                        return Ok(read - old);
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(0)
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.socket {
            Socket::Plain(fd) => Ok(fd.as_fd()),
            Socket::Watched(fd) => Ok(fd.get_ref().as_fd()),
            Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The connection with the kernel watching it, for `interest` when it did not yet.
    fn watched(&mut self, interest: Interest) -> io::Result<&AsyncFd<OwnedFd>> {
        if let Socket::Plain(_) = self.socket
            && let Socket::Plain(fd) = std::mem::replace(&mut self.socket, Socket::Lost)
        {
            self.socket = Socket::Watched(watch(fd, interest)?);
        }
        match &self.socket {
            Socket::Watched(fd) => Ok(fd),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn unwatch(&mut self) {
        self.socket = match std::mem::replace(&mut self.socket, Socket::Lost) {
            Socket::Watched(fd) => Socket::Plain(fd.into_inner()),
            other => other,
        };
    }
}

#[expect(
    deprecated,
    reason = "its successor is `unsafe` because the number of what is watched must not change; \
              that of an OwnedFd does not"
)]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// Looks without taking.
const LOOK: RecvFlags = RecvFlags::DONTWAIT.union(RecvFlags::PEEK);

const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    fn pair() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Stream::new(ours.into()), theirs)
    }

    #[tokio::test]
    async fn an_answer_larger_than_the_sockets_buffer_arrives_whole() {
        let (mut ours, mut theirs) = pair();
        let bytes: Vec<u8> = (0..=255).cycle().take(2 << 20).collect();
        let expected = bytes.clone();
        let reader = std::thread::spawn(move || {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).unwrap();
            read
        });
        ours.write_all(&bytes).await.unwrap();
        assert!(matches!(ours.socket, Socket::Watched(_)));
        drop(ours);
        assert_eq!(reader.join().unwrap(), expected);
    }

    #[tokio::test]
    async fn requests_in_pieces_are_read_as_they_come_and_the_end_is_seen() {
        let (mut ours, mut theirs) = pair();
        let mut bytes = Vec::with_capacity(4);
        for piece in [&b"abcd"[..], b"ef"] {
            theirs.write_all(piece).unwrap();
            bytes.clear();
            assert_eq!(ours.read(&mut bytes).await.unwrap(), piece.len());
            assert_eq!(bytes, piece);
        }
        theirs.write_all(b"rest").unwrap();
        ours.drain();
        drop(theirs);
        assert_eq!(ours.read(&mut bytes).await.unwrap(), 0);
        assert!(ours.write_all(b"x").await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_waits_for_its_answer_is_not_told_that_it_may_write() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"ask").unwrap();
        let mut bytes = Vec::with_capacity(32);
        assert_eq!(ours.read(&mut bytes).await.unwrap(), 3);
        let unread = |stream: &Stream| rustix::io::ioctl_fionread(stream.fd().unwrap()).unwrap();
        assert_eq!(unread(&ours), 3, "looked at, not taken");
        theirs.write_all(b"next").unwrap();
        assert_eq!(ours.read(&mut bytes).await.unwrap(), 4);
        assert_eq!((bytes.as_slice(), unread(&ours)), (&b"asknext"[..], 0), "nothing twice");
        theirs.write_all(b"half").unwrap();
        ours.read(&mut bytes).await.unwrap();
        let mut waits = Box::pin(ours.read(&mut bytes));
        let pause = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(pause, &mut waits).await.is_err());
        drop(waits);
        assert_eq!(unread(&ours), 0, "while it waits nothing is left that would reset the peer");
    }

    #[tokio::test]
    async fn a_peer_that_goes_is_noticed_and_one_that_has_no_more_to_say_is_not() {
        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"next").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let pause = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(pause, ours.hung_up()).await.is_err());
        let mut bytes = Vec::with_capacity(8);
        assert_eq!(ours.read(&mut bytes).await.unwrap(), 4, "and nothing is lost");
        let (mut ours, theirs) = pair();
        drop(theirs);
        ours.hung_up().await;
    }

    #[tokio::test]
    async fn connections_are_accepted_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listener = Listener::new(listener.into()).unwrap();
        let _both = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        for _ in 0..2 {
            listener.accept().await.unwrap();
        }
    }
}
