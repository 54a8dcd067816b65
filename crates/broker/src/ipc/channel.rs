//! Packets with descriptors, and sealed memory files.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::limits::{MESSAGE, SEALED, SOCKETS};

/// Most descriptors of a packet: all sockets, metrics, one more.
const DESCRIPTORS: usize = SOCKETS + 3;

/// The first byte of a packet: what the rest is.
const PLAIN: u8 = b'p';
const IN_MEMORY: u8 = b'm';

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// One end, for a process that waits for several things.
#[derive(Debug)]
pub(crate) struct AsyncChannel(UnixStream);

/// Either end.
pub(crate) trait Sender {
    /// Sends one message with descriptors. A full channel is [`ChannelError::WouldBlock`] where it
    /// does not wait.
    fn send(&self, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError>;
}

/// A packet as it arrived.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) body: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Why a packet did not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("the other process has ended")]
    Closed,
    #[error("would wait")]
    WouldBlock,
    #[error("a message of {0} bytes is too long")]
    TooLarge(usize),
    #[error("a message of another form")]
    Malformed,
    #[error("a memory file that could still be changed")]
    NotSealed,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::AGAIN => Self::WouldBlock,
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            other => Self::Io(other.into()),
        }
    }
}

/// Two ends, closed on exec.
pub(crate) fn pair() -> io::Result<(Channel, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok((Channel(one), other))
}

impl Channel {
    #[cfg(test)]
    pub(crate) fn new(end: OwnedFd) -> Self {
        Self(end)
    }

    /// The end that a process was started with as its standard input.
    pub(crate) fn of_stdin() -> io::Result<Self> {
        Ok(Self(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?))
    }

    /// Takes the next message, waiting for it.
    pub(crate) fn receive(&self) -> Result<Received, ChannelError> {
        receive(self.as_fd())
    }
}

impl AsyncChannel {
    /// Within the runtime that will wait for its messages.
    pub(crate) fn new(end: impl Into<OwnedFd>) -> io::Result<Self> {
        // The runtime needs a descriptor it can wait for; that packets arrive instead of a stream
        // is no matter to it, as it never reads itself.
        let socket = StdStream::from(end.into());
        socket.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(socket)?))
    }

    /// Takes the next message. Nothing is lost when this is dropped while it waits.
    pub(crate) async fn receive(&self) -> Result<Received, ChannelError> {
        loop {
            let taken = self.0.try_io(Interest::READABLE, || match receive(self.as_fd()) {
                Err(ChannelError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
                taken => Ok(taken),
            });
            match taken {
                Ok(taken) => return taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.readable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Sends one message; a long one in a sealed memory file.
fn send(
    to: BorrowedFd<'_>,
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), ChannelError> {
    if body.len() <= MESSAGE {
        return send_packet(to, PLAIN, body, descriptors);
    }
    let memory = seal(body)?;
    let all: Vec<BorrowedFd<'_>> = descriptors.iter().copied().chain([memory.as_fd()]).collect();
    send_packet(to, IN_MEMORY, &[], &all)
}

fn receive(from: BorrowedFd<'_>) -> Result<Received, ChannelError> {
    let mut body = vec![0; MESSAGE + 1];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(&mut body)];
        recvmsg(from, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    if message.bytes == 0 {
        return Err(ChannelError::Closed);
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(ChannelError::Malformed);
    }
    body.truncate(message.bytes);
    match body.split_first() {
        Some((&PLAIN, rest)) => Ok(Received { body: rest.to_vec(), descriptors }),
        Some((&IN_MEMORY, [])) => {
            let memory = descriptors.pop().ok_or(ChannelError::Malformed)?;
            Ok(Received { body: unseal(memory)?, descriptors })
        }
        _ => Err(ChannelError::Malformed),
    }
}

fn send_packet(
    to: BorrowedFd<'_>,
    kind: u8,
    body: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), ChannelError> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(ChannelError::TooLarge(descriptors.len()));
    }
    let head = [kind];
    let parts = [IoSlice::new(&head), IoSlice::new(body)];
    rustix::io::retry_on_intr(|| sendmsg(to, &parts, &mut ancillary, SendFlags::NOSIGNAL))?;
    Ok(())
}

impl Sender for Channel {
    fn send(&self, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        send(self.as_fd(), body, descriptors)
    }
}

impl Sender for AsyncChannel {
    fn send(&self, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        send(self.as_fd(), body, descriptors)
    }
}

impl AsFd for AsyncChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

fn every_seal() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

fn seal(body: &[u8]) -> Result<OwnedFd, ChannelError> {
    if body.len() > SEALED {
        return Err(ChannelError::TooLarge(body.len()));
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("proxward-message", flags)?);
    file.write_all(body)?;
    fcntl_add_seals(&file, every_seal())?;
    Ok(file.into())
}

fn unseal(memory: OwnedFd) -> Result<Vec<u8>, ChannelError> {
    // An ordinary file has no seals to ask for.
    let seals = fcntl_get_seals(&memory).map_err(|_| ChannelError::NotSealed)?;
    if !seals.contains(every_seal()) {
        return Err(ChannelError::NotSealed);
    }
    let stat = rustix::fs::fstat(&memory)?;
    let length = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if length > SEALED {
        return Err(ChannelError::TooLarge(length));
    }
    let mut body = vec![0; length];
    let mut file = File::from(memory);
    file.rewind()?;
    file.read_exact(&mut body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_length_and_descriptors_pass() {
        let (one, other) = pair().unwrap();
        let other = Channel::new(other);
        let file = tempfile::tempfile().unwrap();
        for length in [0, 1, MESSAGE, MESSAGE + 1, 1_000_000] {
            let body = vec![7; length];
            one.send(&body, &[file.as_fd(), file.as_fd()]).unwrap();
            let received = other.receive().unwrap();
            assert_eq!((received.body, received.descriptors.len()), (body, 2));
        }
        assert!(matches!(one.send(&vec![0; SEALED + 1], &[]), Err(ChannelError::TooLarge(_))));
        drop(one);
        assert!(matches!(other.receive(), Err(ChannelError::Closed)));
    }

    #[test]
    fn a_memory_file_that_can_be_changed_is_refused() {
        let (one, other) = pair().unwrap();
        let other = Channel::new(other);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut open = File::from(memfd_create("x", flags).unwrap());
        open.write_all(b"harmless").unwrap();
        send_packet(one.as_fd(), IN_MEMORY, &[], &[open.as_fd()]).unwrap();
        assert!(matches!(other.receive(), Err(ChannelError::NotSealed)));
        fcntl_add_seals(&open, SealFlags::WRITE).unwrap();
        send_packet(one.as_fd(), IN_MEMORY, &[], &[open.as_fd()]).unwrap();
        assert!(matches!(other.receive(), Err(ChannelError::NotSealed)));
        let file = tempfile::tempfile().unwrap();
        send_packet(one.as_fd(), IN_MEMORY, &[], &[file.as_fd()]).unwrap();
        assert!(matches!(other.receive(), Err(ChannelError::NotSealed)));
        send_packet(one.as_fd(), IN_MEMORY, &[], &[]).unwrap();
        assert!(matches!(other.receive(), Err(ChannelError::Malformed)));
        send_packet(one.as_fd(), b'x', b"?", &[]).unwrap();
        assert!(matches!(other.receive(), Err(ChannelError::Malformed)));
    }

    #[test]
    fn non_blocking_says_so() {
        let (one, _other) = pair().unwrap();
        StdStream::from(one.0.try_clone().unwrap()).set_nonblocking(true).unwrap();
        assert!(matches!(one.receive(), Err(ChannelError::WouldBlock)));
    }
}
