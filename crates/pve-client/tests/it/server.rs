//! A server that parses just enough HTTP/1.1 and writes exactly the bytes it is told to.

use std::sync::{Arc, Mutex};

use pve_client::Endpoint;
use tls::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Which connection, counted from 0.
    pub(crate) connection: usize,
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What the server does with a request.
pub(crate) enum Answer {
    /// Writes these bytes and keeps the connection.
    Keep(String),
    /// Writes these bytes and closes.
    Close(String),
    /// As `Close`, and under TLS without close_notify.
    Cut(String),
    /// Writes these bytes and then nothing.
    Hang(String),
}

/// A JSON answer as PVE writes it.
pub(crate) fn json(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nCache-Control: max-age=0\r\nServer: pve-api-daemon/3.0\r\n\
         Content-Length: {}\r\nContent-Type: application/json;charset=UTF-8\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn data(data: &str) -> Answer {
    Answer::Keep(json("200 OK", &format!("{{\"data\":{data}}}")))
}

/// Dropping it ends its connections.
pub(crate) struct Server {
    port: u16,
    tls: bool,
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::with_tls(None, answer).await
    }

    pub(crate) async fn with_tls(
        acceptor: Option<Acceptor>,
        answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let (log, tls) = (Arc::clone(&seen), acceptor.is_some());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    match acceptor {
                        None => serve(stream, number, &log, &*answer).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, number, &log, &*answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, tls, seen, _tasks: tasks }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port).parse().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests to this path, whatever the query.
    pub(crate) fn count(&self, target: &str) -> usize {
        let asked = |seen: &&Seen| {
            let path = seen.line.split([' ', '?']).nth(1);
            path == Some(target)
        };
        self.seen().iter().filter(asked).count()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    log: &Mutex<Vec<Seen>>,
    answer: &(dyn Fn(&Seen) -> Answer + Send + Sync),
) {
    while let Some(seen) = read(&mut stream, connection).await {
        log.lock().unwrap().push(seen.clone());
        match answer(&seen) {
            Answer::Keep(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Answer::Close(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.shutdown().await;
                return;
            }
            Answer::Cut(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.flush().await;
                return;
            }
            Answer::Hang(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), connection: usize) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    };
    let mut seen =
        Seen { connection, line, headers: lines.map(pair).collect(), body: String::new() };
    let length = seen.header("content-length").map_or(0, |value| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    seen.body = String::from_utf8(body).unwrap();
    Some(seen)
}
