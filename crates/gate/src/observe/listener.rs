//! The socket for metrics, in a thread and runtime of its own: reading them delays no request.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use telemetry::metrics::{CONTENT_TYPE, Registry};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::{Health, MetricsAddress};
use crate::lifecycle::Phase;
use crate::limits::{ACCEPT_PAUSE, HEAD_BYTES, METRICS_CONNECTIONS, METRICS_PATIENCE};
use crate::worker::Shared;

/// The socket at work. It ends with the gate; dropping this waits for that.
#[derive(Debug)]
pub(crate) struct Observer {
    /// Where it listens, with the port taken.
    pub(crate) at: MetricsAddress,
    thread: Option<JoinHandle<()>>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What is read and of whom.
struct Source {
    shared: Arc<Shared>,
    registry: Registry,
}

/// Begins to listen, and answers while the gate serves.
pub(crate) fn serve(
    at: &MetricsAddress,
    shared: Arc<Shared>,
    registry: Registry,
) -> io::Result<Observer> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (listener, at) = {
        let _inside = runtime.enter();
        bind(at)?
    };
    let source = Arc::new(Source { shared, registry });
    let thread = std::thread::Builder::new().name("gate-metrics".to_owned());
    let place = at.clone();
    let thread = thread.spawn(move || runtime.block_on(run(listener, &place, &source)))?;
    Ok(Observer { at, thread: Some(thread) })
}

fn bind(at: &MetricsAddress) -> io::Result<(Listener, MetricsAddress)> {
    match at {
        MetricsAddress::Tcp(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let at = MetricsAddress::Tcp(listener.local_addr()?);
            Ok((Listener::Tcp(TcpListener::from_std(listener)?), at))
        }
        MetricsAddress::Unix(path) => {
            remove_socket(path)?;
            let listener = std::os::unix::net::UnixListener::bind(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
            listener.set_nonblocking(true)?;
            Ok((Listener::Unix(UnixListener::from_std(listener)?), at.clone()))
        }
    }
}

/// Takes away the socket of a gate that has ended; anything else is somebody's.
fn remove_socket(path: &PathBuf) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is another file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl Observer {
    /// Waits for the end, which comes when the gate has stopped.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves while the gate does. Held, it lets go of its place, which is a successor's then; should
/// the gate go on, it takes it again.
async fn run(first: Listener, at: &MetricsAddress, source: &Arc<Source>) {
    let mut phase = source.shared.phase.clone();
    let mut bound = Some(first);
    loop {
        match phase.wait_for(|phase| *phase != Phase::Held).await.map(|phase| *phase) {
            Ok(Phase::Serving) => {}
            // Ended before it served, or an error: a gate that is gone.
            _ => return bound.into_iter().for_each(|listener| leave(listener, at)),
        }
        let listener = match bound.take().map_or_else(|| bind(at), |one| Ok((one, at.clone()))) {
            Ok((listener, _)) => listener,
            Err(error) => {
                warn!(%error, "the socket for metrics can not be bound again yet");
                tokio::time::sleep(METRICS_PATIENCE).await;
                continue;
            }
        };
        source.shared.observed.store(true, Ordering::Relaxed);
        serve_while(&mut phase, &listener, source).await;
        // An error is a gate that is gone. One that is held leaves the socket to its successor,
        // who is told so below.
        let ended = phase.has_changed().is_err() || *phase.borrow() == Phase::Ended;
        match ended {
            true => leave(listener, at),
            false => drop(listener),
        }
        source.shared.observed.store(false, Ordering::Relaxed);
        if ended {
            return;
        }
    }
}

/// Closes the socket, and takes its file away.
fn leave(listener: Listener, at: &MetricsAddress) {
    drop(listener);
    if let MetricsAddress::Unix(path) = at {
        let _ = std::fs::remove_file(path);
    }
}

async fn serve_while(
    phase: &mut watch::Receiver<Phase>,
    listener: &Listener,
    source: &Arc<Source>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Serving) => break,
            accepted = accept(listener), if connections.len() < METRICS_CONNECTIONS => {
                match accepted {
                    Ok(stream) => {
                        connections.spawn(serve_one(stream, Arc::clone(source)));
                    }
                    Err(error) => {
                        warn!(%error, "accept on the socket for metrics failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

async fn accept(listener: &Listener) -> io::Result<Box<dyn Stream>> {
    Ok(match listener {
        Listener::Tcp(listener) => Box::new(listener.accept().await?.0),
        Listener::Unix(listener) => Box::new(listener.accept().await?.0),
    })
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One request, one answer. A reader that has left or is too slow has had its chance.
async fn serve_one(mut stream: Box<dyn Stream>, source: Arc<Source>) {
    let served = timeout(METRICS_PATIENCE, async {
        let mut head = Vec::new();
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            if head.len() > HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
                return io::Result::Ok(());
            }
        }
        stream.write_all(&answer(&head, &source)).await?;
        stream.shutdown().await
    });
    let _ = served.await;
}

fn answer(head: &[u8], source: &Source) -> Vec<u8> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let asked = lines.next().unwrap_or_default();
    let hosts = lines.filter_map(|line| line.split_once(':'));
    let mut hosts = hosts.filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let (status, kind, body) = if hosts.any(|(_, host)| !is_loopback(host.trim())) {
        // A page that calls this machine by a name of its own (DNS rebinding).
        ("421 Misdirected Request", "text/plain", "ask for localhost\n".to_owned())
    } else if asked.starts_with("GET /metrics ") {
        read_standing(&source.shared);
        ("200 OK", CONTENT_TYPE, source.registry.encode())
    } else if asked.starts_with("GET /health ") {
        let draining = *source.shared.phase.borrow() != Phase::Serving;
        let health = Health::of(&source.shared, draining);
        let status = if health.is_ready() { "200 OK" } else { "503 Service Unavailable" };
        (status, "application/json", format!("{}\n", health.json()))
    } else {
        ("404 Not Found", "text/plain", "ask for /metrics or /health\n".to_owned())
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What is not counted as it happens.
fn read_standing(shared: &Shared) {
    let metrics = &shared.metrics;
    metrics.standing("sessions", shared.sessions.count() as u64);
    metrics.standing("ticket_keys", shared.tickets.keys());
    if let Some(joint) = &shared.joint {
        metrics.standing("store_silence_seconds", joint.feed.silence().as_secs());
        metrics.standing("store_losses", joint.feed.losses());
    }
    if let Some(status) = shared.logins.status().as_object() {
        for (name, number) in status {
            metrics.standing(name, number.as_u64().unwrap_or_default());
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse::<SocketAddr>().map(|at| at.ip());
    let address = address.or_else(|_| host.trim_matches(['[', ']']).parse::<IpAddr>());
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    address.map_or(name.eq_ignore_ascii_case("localhost"), |at| at.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn names_of_this_machine() {
        for good in
            ["localhost", "LOCALHOST:9108", "127.0.0.1:9108", "127.0.0.1", "[::1]", "[::1]:1"]
        {
            assert!(is_loopback(good), "{good}");
        }
        for bad in ["evil.example:9108", "192.0.2.1", "", "localhost.evil.example"] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
