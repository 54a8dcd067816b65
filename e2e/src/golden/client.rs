//! A client that sends recorded bytes and reads what comes back, without an opinion on either.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for an answer; the servers under test never sleep this long.
const ANSWER: Duration = Duration::from_secs(8);
/// How long a connection that should stay open is watched for its end.
const STAYS_OPEN: Duration = Duration::from_millis(15);
/// How long a connection that should be closed may take for it.
const CLOSES: Duration = Duration::from_secs(2);

/// One answer as read from the wire.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status line.
    pub(super) line: String,
    /// Names and values in order.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What is left of the connection after the last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Open,
    Closed,
    /// More bytes have come.
    Data,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(super) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Opens a connection; `announce` is written before anything else (a PROXY header).
    pub(super) async fn open(
        address: SocketAddr,
        announce: &[u8],
        tls: Option<&tls::Connector>,
    ) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        stream.write_all(announce).await?;
        let stream: Box<dyn Stream> = match tls {
            Some(connector) => Box::new(connector.connect("127.0.0.1", stream).await?),
            None => Box::new(stream),
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        // A server may refuse and close before it has read all; its answer counts.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
        Ok(())
    }

    /// The next answer; `None` when the connection ends, or stays silent, without one.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        timeout(ANSWER, self.read_answer()).await.ok().flatten()
    }

    /// Watches the connection for as long as `expected` makes sensible.
    pub(super) async fn after(&mut self, expected: After) -> After {
        let patience = if expected == After::Open { STAYS_OPEN } else { CLOSES };
        let mut end = async || {
            while expected != After::Data || self.buffer.is_empty() {
                if !self.fill().await {
                    return After::Closed;
                }
            }
            After::Data
        };
        timeout(patience, end()).await.unwrap_or(After::Open)
    }

    /// The next websocket frame whole, or what there is of it when the connection ends or stays
    /// silent; nothing at the end of the connection.
    pub(super) async fn frame(&mut self) -> Option<Vec<u8>> {
        let read =
            async { while self.buffer.len() < frame_length(&self.buffer) && self.fill().await {} };
        let in_time = timeout(CLOSES, read).await.is_ok();
        let length = frame_length(&self.buffer).min(self.buffer.len());
        let frame: Vec<u8> = self.buffer.drain(..length).collect();
        (!in_time || !frame.is_empty()).then_some(frame)
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let line = lines.next()?.to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|(_, value)| value.parse::<usize>().ok());
        // Answers that never have a body (RFC 9112 section 6.3).
        let bodiless = matches!(line.split(' ').nth(1), Some("101" | "204" | "304"));
        let body = match length {
            _ if bodiless => Vec::new(),
            Some(length) => {
                while self.buffer.len() < length && self.fill().await {}
                self.buffer.drain(..length.min(self.buffer.len())).collect()
            }
            None => {
                while self.fill().await {}
                std::mem::take(&mut self.buffer)
            }
        };
        Some(Answer { line, headers, body })
    }

    async fn fill(&mut self) -> bool {
        self.buffer.reserve(16 * 1024);
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }
}

/// Bytes of the unmasked frame that begins so (RFC 6455 section 5.2), as far as can be told.
fn frame_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        [_, 126, ..] => 4,
        [_, 127, length @ ..] => match length.first_chunk::<8>() {
            Some(length) => {
                let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
                length.saturating_add(10)
            }
            None => 10,
        },
        [_, length, ..] => 2 + usize::from(*length),
        _ => 2,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
