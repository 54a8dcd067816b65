//! The side of the gate that runs.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use state::Writer;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{error, info};

use super::{LISTENERS, Word};
use crate::limits::{CONTROL_LINE, HANDOVER_PAUSE, HANDOVER_QUIET, HANDOVER_WAIT};
use crate::listeners::Listening;
use crate::login::Journal;
use crate::worker::Shared;

/// Whether consoles stay when the workers stop: somebody else serves all others.
pub(crate) type Keep = watch::Sender<bool>;

/// What has to be let go of.
pub(crate) struct HandOver {
    pub(crate) drain: Weak<watch::Sender<bool>>,
    pub(crate) keep: Weak<Keep>,
    pub(crate) listening: Weak<Listening>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) journal: Arc<Journal>,
    /// Where the one that has taken over answers.
    pub(crate) socket: PathBuf,
}

impl HandOver {
    /// Serves a successor that has asked for the listeners, and then asks it about the consoles
    /// that stay, to the end of the last. An error before the state was asked for changes nothing.
    pub(crate) async fn serve(&self, mut stream: UnixStream, shared: &Shared) -> io::Result<()> {
        let open = shared.listening.borrow().clone();
        let fds: Vec<BorrowedFd<'_>> = open.iter().map(|one| one.as_fd()).take(LISTENERS).collect();
        send(&stream, b"{\"ok\":{}}\n", &fds).await?;
        if word(&mut stream).await? != Word::Release {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (Some(drain), Some(keep), Some(listening)) =
            (self.drain.upgrade(), self.keep.upgrade(), self.listening.upgrade())
        else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        shared.taken_over.store(true, Ordering::Relaxed);
        keep.send_replace(true);
        listening.close();
        drain.send_replace(true);
        let quiet = async {
            while shared.busy() > 0 {
                sleep(HANDOVER_PAUSE).await;
            }
        };
        let quiet = timeout(HANDOVER_QUIET, quiet).await.is_ok();
        let (writer, journal) = (Arc::clone(&self.writer), Arc::clone(&self.journal));
        let closed = tokio::task::spawn_blocking(move || {
            drop(writer.shutdown());
            journal.close();
        });
        closed.await.map_err(io::Error::other)?;
        stream.write_all(b"{\"ok\":{}}\n").await?;
        match word(&mut stream).await {
            Ok(Word::Done) => {
                info!(quiet, "another process has taken over; consoles stay here");
                shared.follow(&self.socket).await;
            }
            _ => {
                error!("the process that took over has not come up; this one can not go on either");
                keep.send_replace(false);
            }
        }
        Ok(())
    }
}

async fn word(stream: &mut UnixStream) -> io::Result<Word> {
    let mut line = Vec::new();
    let read =
        async { BufReader::new(stream.take(CONTROL_LINE)).read_until(b'\n', &mut line).await };
    timeout(HANDOVER_WAIT, read).await??;
    Ok(serde_json::from_slice(&line)?)
}

/// One message with descriptors.
async fn send(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    loop {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let flags = SendFlags::NOSIGNAL;
            Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, flags)?)
        });
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent.map(drop),
        }
    }
}
