//! The side of the gate that runs.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use state::{Redb, Writer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::{Given, LISTENERS, Word};
use crate::control::SOCKET;
use crate::lifecycle::Lifecycle;
use crate::limits::{
    CONTROL_LINE, HANDOVER_BACK, HANDOVER_DONE, HANDOVER_PAUSE, HANDOVER_QUIET, HANDOVER_WAIT,
};
use crate::login::Journal;
use crate::worker::Shared;

/// What has to be let go of.
pub(crate) struct HandOver {
    /// Weak: dropping a gate ends it.
    lifecycle: Weak<Lifecycle>,
    /// The state directory, and who writes to it.
    state: PathBuf,
    own: Arc<Writer>,
    /// Who writes what several gates share, where they do. That needs no letting go.
    shared: Option<Arc<Writer>>,
    journal: Arc<Journal>,
    /// One successor at a time.
    one: Mutex<()>,
}

impl HandOver {
    pub(crate) fn new(
        lifecycle: &Arc<Lifecycle>,
        state: PathBuf,
        (own, shared): (Arc<Writer>, Option<Arc<Writer>>),
        journal: Arc<Journal>,
    ) -> Self {
        let lifecycle = Arc::downgrade(lifecycle);
        Self { lifecycle, state, own, shared, journal, one: Mutex::default() }
    }

    /// Serves a successor that has asked for the listeners, and then asks it about the consoles
    /// that stay, to the end of the last. After an error everything is here again.
    pub(crate) async fn serve(&self, mut stream: UnixStream, shared: &Shared) -> io::Result<()> {
        let Ok(_one) = self.one.try_lock() else {
            return refuse(&mut stream, "another process is about to take over").await;
        };
        let lifecycle = self.lifecycle.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let open = shared.listening.borrow().clone();
        let fds: Vec<BorrowedFd<'_>> = open.iter().map(|one| one.as_fd()).take(LISTENERS).collect();
        let given = Given { handed_in: lifecycle.listening().handed_in };
        send(&stream, &line(&json!({ "ok": given })), &fds).await?;
        expect(&mut stream, Word::Release, HANDOVER_WAIT).await?;
        if !lifecycle.hold() {
            return refuse(&mut stream, "this gate ends").await;
        }
        let quiet = self.let_go(shared).await;
        let given = async {
            stream.write_all(&line(&json!({ "ok": {} }))).await?;
            expect(&mut stream, Word::Done, HANDOVER_DONE).await
        };
        if let Err(error) = given.await {
            // One that lives still has to know before it accepts anybody.
            let told = refuse(&mut stream, "too late: the gate that ran goes on").await;
            drop((stream, told));
            self.take_back(&lifecycle).await;
            return Err(error);
        }
        shared.taken_over.store(true, Ordering::Relaxed);
        lifecycle.succeeded();
        info!(quiet, "another process has taken over; consoles stay here");
        // One that is gone by now has taken the place nevertheless.
        let _ = stream.write_all(&line(&json!({ "ok": {} }))).await;
        // A service manager has to hear of the new process before this one may end.
        let _ = timeout(HANDOVER_WAIT, stream.read_u8()).await;
        drop(lifecycle);
        shared.follow(&self.state.join(SOCKET)).await;
        Ok(())
    }

    /// Returns whether every request has ended in time.
    async fn let_go(&self, shared: &Shared) -> bool {
        let quiet = async {
            while shared.busy() > 0 || shared.observed.load(Ordering::Relaxed) {
                sleep(HANDOVER_PAUSE).await;
            }
        };
        let quiet = timeout(HANDOVER_QUIET, quiet).await.is_ok();
        if let Some(shared) = &self.shared
            && let Err(error) = shared.flush().await
        {
            error!(%error, "what other gates should know is not written yet");
        }
        let (own, journal) = (Arc::clone(&self.own), Arc::clone(&self.journal));
        let closed = tokio::task::spawn_blocking(move || {
            drop(own.shutdown());
            journal.close();
        });
        if let Err(error) = closed.await {
            error!(%error, "closing the state ended by a bug");
        }
        quiet
    }

    /// Goes on. A successor that was killed has let go of the state; one that hangs may have it
    /// for longer, and then the gate serves without what it has to write down: that is refused.
    async fn take_back(&self, lifecycle: &Lifecycle) {
        let begun = Instant::now();
        let mut complained = false;
        while let Err(why) = self.open().await {
            if !complained && begun.elapsed() >= HANDOVER_BACK {
                complained = true;
                error!(%why, "the state is not ours again yet; nothing is kept meanwhile");
                lifecycle.serve();
            }
            sleep(HANDOVER_PAUSE).await;
        }
        if complained {
            warn!("the state is ours again");
        }
        lifecycle.serve();
    }

    async fn open(&self) -> Result<(), String> {
        let (state, own) = (self.state.clone(), Arc::clone(&self.own));
        let journal = Arc::clone(&self.journal);
        let open = move || {
            let store = Redb::open(&state).map_err(|error| error.to_string())?;
            journal.reopen().map_err(|error| error.to_string())?;
            own.resume(Box::new(store)).map_err(|error| error.to_string())
        };
        tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

async fn refuse(stream: &mut UnixStream, why: &str) -> io::Result<()> {
    let answer = json!({ "error": { "kind": "refused", "message": why } });
    stream.write_all(&line(&answer)).await
}

async fn expect(stream: &mut UnixStream, wanted: Word, within: Duration) -> io::Result<()> {
    let mut line = Vec::new();
    let read =
        async { BufReader::new(stream.take(CONTROL_LINE)).read_until(b'\n', &mut line).await };
    timeout(within, read).await??;
    match line.is_empty() {
        true => Err(io::ErrorKind::UnexpectedEof.into()),
        false if serde_json::from_slice::<Word>(&line)? == wanted => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
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
