//! A peer's connection, as cheap as it can be had.
//!
//! The runtime's own streams ask the kernel to tell them when they may write again. It then wakes
//! this process each time a peer has read an answer, for nothing. Here writing is asked for only
//! by a connection whose answer did not fit the socket's buffer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

/// A socket that listens.
pub(super) struct Listener(AsyncFd<OwnedFd>);

/// A connection. `None` only while its registration is changed, and when that failed.
pub(crate) struct Stream(Option<AsyncFd<OwnedFd>>);

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
    pub(super) fn new(stream: OwnedFd) -> io::Result<Self> {
        watch(stream, Interest::READABLE).map(|fd| Self(Some(fd)))
    }

    /// Appends what arrives next, as much as `bytes` has room for; 0 when the peer has ended.
    pub(super) async fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let fd = self.fd()?;
        loop {
            let mut guard = fd.readable().await?;
            let room = bytes.capacity() - bytes.len();
            match recv(fd, rustix::buffer::spare_capacity(bytes), RecvFlags::DONTWAIT) {
                Ok((read, _)) => {
                    if (1..room).contains(&read) {
                        // There was no more: the kernel tells of the next byte.
                        guard.clear_ready();
                    }
                    return Ok(read);
                }
                Err(errno) => again(errno, &mut guard)?,
            }
        }
    }

    /// Writes all of it.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut at = match send(self.fd()?, bytes, SEND) {
            Ok(sent) => sent,
            Err(Errno::WOULDBLOCK | Errno::INTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        if at == bytes.len() {
            return Ok(());
        }
        self.tell_when_writable()?;
        let fd = self.fd()?;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let mut guard = fd.writable().await?;
            match send(fd, rest, SEND) {
                Ok(sent) => at += sent,
                Err(errno) => again(errno, &mut guard)?,
            }
        }
        Ok(())
    }

    /// Takes what else has arrived, up to a limit: a socket closed over unread bytes resets its
    /// peer.
    pub(super) fn drain(&self) {
        const READS: usize = 8;
        let Ok(fd) = self.fd() else { return };
        let mut rest = [0_u8; 8 * 1024];
        for _ in 0..READS {
            match recv(fd, &mut rest, RecvFlags::DONTWAIT) {
                Ok((1.., _)) => {}
                _ => return,
            }
        }
    }

    /// Once for a connection.
    fn tell_when_writable(&mut self) -> io::Result<()> {
        let fd = self.0.take().ok_or(io::ErrorKind::NotConnected)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.0 = Some(watch(fd.into_inner(), both)?);
        Ok(())
    }

    fn fd(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

#[expect(
    deprecated,
    reason = "its successor is `unsafe` because the number of what is watched must not change; \
              that of an OwnedFd does not"
)]
fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Whether to wait and try again.
fn again(errno: Errno, guard: &mut AsyncFdReadyGuard<'_, OwnedFd>) -> io::Result<()> {
    match errno {
        Errno::WOULDBLOCK => guard.clear_ready(),
        Errno::INTR => {}
        errno => return Err(errno.into()),
    }
    Ok(())
}

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
        (Stream::new(ours.into()).unwrap(), theirs)
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
        assert!(ours.0.is_some());
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
