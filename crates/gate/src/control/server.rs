//! The listening side, in a thread and runtime of its own: an order never waits for a request
//! and no request for an order.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::process::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, warn};

use super::Request;
use super::answer::answer;
use crate::audit::By;
use crate::lifecycle::Phase;
use crate::limits::{ACCEPT_PAUSE, CONTROL_CONNECTIONS, CONTROL_LINE, CONTROL_PATIENCE};
use crate::takeover::HandOver;
use crate::worker::Shared;

/// The socket at work. It ends with the gate; dropping this waits for that.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    /// The socket's inode: at this path there may be a successor's by now.
    inode: u64,
    thread: Option<JoinHandle<()>>,
}

/// Begins to listen, beside `path` until [`Control::show`]. What lies at either is of a gate that
/// has ended or is about to: the state directory is locked by this one.
pub(crate) fn serve(path: &Path, shared: Arc<Shared>, hand_over: HandOver) -> io::Result<Control> {
    let beside = beside(path);
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        UnixListener::from_std(listener)?
    };
    let thread = std::thread::Builder::new().name("gate-control".to_owned());
    let inode = std::fs::symlink_metadata(&beside)?.ino();
    let hand_over = Arc::new(hand_over);
    let thread = thread.spawn(move || runtime.block_on(run(listener, shared, hand_over)))?;
    Ok(Control { path: path.to_owned(), inode, thread: Some(thread) })
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

impl Control {
    /// From here on, orders come here. In one step, so that there is always a gate that takes them.
    pub(crate) fn show(&self) {
        if let Err(error) = std::fs::rename(beside(&self.path), &self.path) {
            error!(%error, "the control socket is not in its place; orders do not arrive");
        }
    }

    /// Waits for the end, which comes when the gate drains.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
            let now = std::fs::symlink_metadata(&self.path);
            if now.is_ok_and(|now| now.ino() == self.inode) {
                let _ = std::fs::remove_file(&self.path);
            }
        }
    }
}

async fn run(listener: UnixListener, shared: Arc<Shared>, hand_over: Arc<HandOver>) {
    let mut phase = shared.phase.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // An error is a gate that is gone.
            _ = phase.wait_for(|phase| *phase == Phase::Ended) => break,
            accepted = listener.accept(), if connections.len() < CONTROL_CONNECTIONS => {
                match accepted {
                    Ok((stream, _)) => {
                        let shared = Arc::clone(&shared);
                        let hand_over = Arc::clone(&hand_over);
                        connections.spawn(async move {
                            let served = timeout(CONTROL_PATIENCE, serve_one(stream, &shared));
                            if let Ok(Ok(Some(stream))) = served.await
                                && let Err(error) = hand_over.serve(stream, &shared).await
                            {
                                warn!(%error, "nobody has taken over; this gate goes on");
                            }
                        });
                    }
                    Err(error) => {
                        warn!(%error, "accept on the control socket failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    // The one that has begun the end by taking over is served to its own.
    if shared.is_taken_over() {
        while connections.join_next().await.is_some() {}
    }
    connections.shutdown().await;
}

/// One request, one answer. Gives the stream of a successor back, which has more to say.
async fn serve_one(mut stream: UnixStream, shared: &Shared) -> io::Result<Option<UnixStream>> {
    let peer = identity::peer::credentials(&stream).map_err(io::Error::other)?;
    if peer.uid != 0 && peer.uid != geteuid().as_raw() {
        warn!(uid = peer.uid, pid = peer.pid, "refused on the control socket");
        return Ok(None);
    }
    let mut line = Vec::new();
    BufReader::new((&mut stream).take(CONTROL_LINE)).read_until(b'\n', &mut line).await?;
    if matches!(serde_json::from_slice(&line), Ok(Request::Takeover)) {
        return Ok(Some(stream));
    }
    let by = By::Operator { uid: peer.uid, pid: peer.pid };
    let mut answer = answer(shared, &line, by).await.to_string();
    answer.push('\n');
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(None)
}
