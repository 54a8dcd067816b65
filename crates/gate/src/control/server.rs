//! The listening side, in a thread and runtime of its own: an order never waits for a request
//! and no request for an order.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::process::geteuid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::answer::answer;
use crate::limits::{ACCEPT_PAUSE, CONTROL_CONNECTIONS, CONTROL_LINE, CONTROL_PATIENCE};
use crate::worker::Shared;

/// The socket at work. It ends with the gate; dropping this waits for that.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// Begins to listen at `path`. A socket that lies there is of a gate that has ended: the state
/// directory is locked by this one.
pub(crate) fn serve(
    path: &Path,
    shared: Arc<Shared>,
    drain: watch::Receiver<bool>,
) -> io::Result<Control> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        UnixListener::from_std(listener)?
    };
    let thread = std::thread::Builder::new().name("gate-control".to_owned());
    let thread = thread.spawn(move || runtime.block_on(run(listener, shared, drain)))?;
    Ok(Control { path: path.to_owned(), thread: Some(thread) })
}

impl Control {
    /// Waits for the end, which comes when the gate drains.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn run(listener: UnixListener, shared: Arc<Shared>, mut drain: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // An error is a gate that is gone.
            _ = drain.wait_for(|drain| *drain) => break,
            accepted = listener.accept(), if connections.len() < CONTROL_CONNECTIONS => {
                match accepted {
                    Ok((stream, _)) => {
                        let shared = Arc::clone(&shared);
                        connections.spawn(async move {
                            let served = timeout(CONTROL_PATIENCE, serve_one(stream, &shared));
                            let _ = served.await;
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
    connections.shutdown().await;
}

/// One request, one answer.
async fn serve_one(stream: UnixStream, shared: &Shared) -> io::Result<()> {
    let peer = identity::peer::credentials(&stream).map_err(io::Error::other)?;
    if peer.uid != 0 && peer.uid != geteuid().as_raw() {
        warn!(uid = peer.uid, pid = peer.pid, "refused on the control socket");
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    BufReader::new(read.take(CONTROL_LINE)).read_until(b'\n', &mut line).await?;
    let mut answer = answer(shared, &line).await.to_string();
    answer.push('\n');
    write.write_all(answer.as_bytes()).await?;
    write.shutdown().await
}
