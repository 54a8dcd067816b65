//! Metrics over HTTP/1.0, for a scraper on loopback or a unix socket: one page, no parser.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::AddressFamily;
use telemetry::metrics::CONTENT_TYPE;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Shared;
use crate::limits::{METRICS_AT_ONCE, METRICS_HEAD, METRICS_WAIT};

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Serves until dropped.
pub(super) fn serve(
    shared: Arc<Shared>,
    socket: OwnedFd,
) -> std::io::Result<impl Future<Output = ()>> {
    let family = rustix::net::sockopt::socket_domain(&socket)?;
    let socket = if family == AddressFamily::UNIX {
        let socket = std::os::unix::net::UnixListener::from(socket);
        socket.set_nonblocking(true)?;
        Socket::Unix(UnixListener::from_std(socket)?)
    } else {
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true)?;
        Socket::Tcp(TcpListener::from_std(socket)?)
    };
    Ok(async move {
        let mut open = JoinSet::new();
        loop {
            if open.len() >= METRICS_AT_ONCE {
                open.join_next().await;
            }
            let shared = Arc::clone(&shared);
            match &socket {
                Socket::Tcp(socket) => {
                    if let Ok((stream, _)) = socket.accept().await {
                        open.spawn(timeout(METRICS_WAIT, answer(shared, stream)));
                    }
                }
                Socket::Unix(socket) => {
                    if let Ok((stream, _)) = socket.accept().await {
                        open.spawn(timeout(METRICS_WAIT, answer(shared, stream)));
                    }
                }
            }
            while open.try_join_next().is_some() {}
        }
    })
}

/// Errors end the connection; the scraper counts them.
async fn answer(shared: Arc<Shared>, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= METRICS_HEAD || !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    let is = |start: &str| head.starts_with(start.as_bytes());
    let (status, body) = if is("GET /metrics ") || is("GET /metrics?") {
        ("200 OK", shared.metrics.encode(shared.config().settings.pulse_metrics))
    } else if is("GET /health ") {
        ("200 OK", "ok\n".to_owned())
    } else {
        ("404 Not Found", "GET /metrics\n".to_owned())
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    if stream.write_all(head.as_bytes()).await.is_ok()
        && stream.write_all(body.as_bytes()).await.is_ok()
    {
        let _ = stream.shutdown().await;
    }
}
