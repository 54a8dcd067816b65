//! The control API over HTTP: one request, one answer of JSON, end of the connection.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::handle::Control;
use super::listener::{Bound, ControlListener};
use super::request::{Refusal, admit};
use super::routes;
use crate::limits::{CONTROL_CONNECTIONS, IDLE};
use crate::shared::Shared;
use crate::wire::{Head, Parsed, read_head};

/// After a failed accept: out of descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(20);

enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener, std::path::PathBuf),
}

/// Both kinds of connections.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Answers until the mock stops; a socket's file goes with it.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: ControlListener,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = match listen(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the control listener can not be used"),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONTROL_CONNECTIONS => {
                match accepted {
                    Ok(Some(stream)) => {
                        let control = Control::new(Arc::clone(&shared));
                        connections.spawn(async move {
                            // A client that is gone needs no answer.
                            let _ = timeout(2 * IDLE, converse(&control, stream)).await;
                        });
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "accept of the control API");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }
    if let Listener::Unix(_, path) = &listener {
        let _ = std::fs::remove_file(path);
    }
}

fn listen(listener: ControlListener) -> std::io::Result<Listener> {
    Ok(match listener.0 {
        Bound::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            Listener::Tcp(tokio::net::TcpListener::from_std(listener)?)
        }
        Bound::Unix(listener, path) => {
            listener.set_nonblocking(true)?;
            Listener::Unix(tokio::net::UnixListener::from_std(listener)?, path)
        }
    })
}

impl Listener {
    /// The next client; `None` when it is not let in.
    async fn accept(&self) -> std::io::Result<Option<Box<dyn Stream>>> {
        match self {
            Self::Tcp(listener) => Ok(Some(Box::new(listener.accept().await?.0))),
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?.uid();
                let is_own = peer == geteuid().as_raw() || peer == 0;
                Ok(if is_own { Some(Box::new(stream)) } else { None })
            }
        }
    }
}

async fn converse(control: &Control, mut stream: Box<dyn Stream>) -> std::io::Result<()> {
    let answer = match read(&mut stream).await {
        Ok(Some((head, body))) => answer(control, &head, &body).await,
        Ok(None) => return Ok(()),
        Err(refusal) => Err(refusal),
    };
    let (status, value) = match answer {
        Ok(value) => (200, value),
        Err((status, text)) => (status, json!({ "error": text })),
    };
    let body = format!("{value}\n");
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        if status == 200 { "OK" } else { "Refused" },
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

async fn answer(control: &Control, head: &Head, body: &[u8]) -> Result<Value, Refusal> {
    let path = head.path_and_query().0;
    let answer = routes::call(control, &head.method, path, body)?;
    if let Some(receipt) = answer.receipt {
        receipt.wait().await.map_err(|not_kept| (500, not_kept.to_string()))?;
    }
    Ok(answer.value)
}

/// A head and its body; `None` when the client leaves before.
async fn read(stream: &mut Box<dyn Stream>) -> Result<Option<(Head, Vec<u8>)>, Refusal> {
    let mut buffer = Vec::new();
    let (head, consumed) = loop {
        match read_head(&buffer) {
            Parsed::Head { head, consumed } => break (head, consumed),
            Parsed::Incomplete => {}
            Parsed::Refused(_) | Parsed::Silence => {
                return Err((400, "this is no request".to_owned()));
            }
        }
        if !more(stream, &mut buffer).await {
            return Ok(None);
        }
    };
    let length = admit(&head)?;
    buffer.drain(..consumed);
    while buffer.len() < length {
        if !more(stream, &mut buffer).await {
            return Ok(None);
        }
    }
    buffer.truncate(length);
    Ok(Some((head, buffer)))
}

async fn more(stream: &mut Box<dyn Stream>, buffer: &mut Vec<u8>) -> bool {
    matches!(timeout(IDLE, stream.read_buf(buffer)).await, Ok(Ok(1..)))
}
