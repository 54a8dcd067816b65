//! A client that writes and reads raw bytes over TLS.

use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::time::Duration;

use tls::{ClientStream, Connector, Trust};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::gate::Gate;

/// Longest wait for bytes that must come; a failing test ends by it.
const PATIENCE: Duration = Duration::from_secs(10);

/// One TLS connection to the gate.
pub(crate) struct Client {
    runtime: Runtime,
    stream: ClientStream<TcpStream>,
}

/// One answer as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The one value of a header; panics when it is repeated.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |(have, _): &&(String, String)| have.eq_ignore_ascii_case(name);
        let mut values = self.headers.iter().filter(named);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

impl Client {
    pub(crate) fn connect(gate: &Gate) -> Self {
        Self::try_after(gate, b"").unwrap()
    }

    /// Sends bytes before the TLS handshake: a PROXY header.
    pub(crate) fn try_after(gate: &Gate, before: &[u8]) -> Result<Self, tls::HandshakeError> {
        Self::over(gate, None, before)
    }

    /// From another address of this machine.
    pub(crate) fn from(gate: &Gate, from: SocketAddr) -> Result<Self, tls::HandshakeError> {
        Self::over(gate, Some(from), b"")
    }

    /// Both of them.
    pub(crate) fn from_after(
        gate: &Gate,
        from: SocketAddr,
        before: &[u8],
    ) -> Result<Self, tls::HandshakeError> {
        Self::over(gate, Some(from), before)
    }

    fn over(
        gate: &Gate,
        from: Option<SocketAddr>,
        before: &[u8],
    ) -> Result<Self, tls::HandshakeError> {
        let runtime = runtime();
        let trust = Trust::Authority(gate.authority.clone().into_bytes());
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            if let Some(from) = from {
                socket.bind(from).unwrap();
            }
            let mut tcp = socket.connect(gate.address).await.unwrap();
            tcp.write_all(before).await.unwrap();
            let connector = Connector::new(&trust).unwrap();
            let handshake = connector.connect("127.0.0.1", tcp);
            tokio::time::timeout(PATIENCE, handshake).await.expect("handshake in time")
        })?;
        Ok(Self { runtime, stream })
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let Self { runtime, stream } = self;
        runtime.block_on(async {
            stream.write_all(bytes.as_ref()).await.unwrap();
            stream.flush().await.unwrap();
        });
    }

    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request);
        self.answer()
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: pve1:8006\r\n\r\n"))
    }

    /// The next answer, its body delimited by length, chunks or the end.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.exactly(1));
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap().to_owned();
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        };
        let mut answer = Answer { line, headers: lines.map(pair).collect(), body: String::new() };
        let length = answer.header("content-length").map(|length| length.parse().unwrap());
        let body = match length {
            Some(length) => self.exactly(length),
            None if ["101", "304"].contains(&answer.status()) => Vec::new(),
            None if answer.header("transfer-encoding") == Some("chunked") => self.chunks(),
            None => self.rest(),
        };
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        let Self { runtime, stream } = self;
        let mut bytes = vec![0; length];
        let read = async {
            let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes));
            read.await.expect("bytes in time").expect("bytes before the end")
        };
        runtime.block_on(read);
        bytes
    }

    /// Everything up to the end, which must come.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let Self { runtime, stream } = self;
        let mut bytes = Vec::new();
        let read = async {
            let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes));
            // The end may be a reset or lack the TLS goodbye; what counts is what came before.
            let _ = read.await.expect("an end in time");
        };
        runtime.block_on(read);
        bytes
    }

    pub(crate) fn shutdown(&mut self) {
        let Self { runtime, stream } = self;
        runtime.block_on(stream.shutdown()).unwrap();
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                size.extend(self.exactly(1));
            }
            let size = std::str::from_utf8(&size).unwrap().trim_end();
            let size = usize::from_str_radix(size, 16).unwrap();
            let chunk = self.exactly(size + 2);
            body.extend(&chunk[..size]);
            if size == 0 {
                return body;
            }
        }
    }
}

/// What comes back to bytes sent in the clear, up to the end.
pub(crate) fn clear_text(gate: &Gate, bytes: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = StdTcpStream::connect(gate.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
