//! Clients of the gate over TLS.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tls::{ClientStream, Connector};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Offered to a websocket that nobody reads: this much, until nothing was taken for this long.
const OFFERED: usize = 1 << 30;
const UNTAKEN: Duration = Duration::from_millis(500);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
const TICKET: &str = "Cookie: PVEAuthCookie=PVE%3Aroot@pam%3A6B00CE46%3A%3A";
const BODY: &str = "username=root%40pam&password=secret";

/// What a connection does again and again.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Path, and further header lines.
    Get(&'static str, &'static str),
    Login,
    /// A connection for each.
    Handshake,
    /// A frame of so many bytes there and back.
    Echo(usize),
    /// A websocket whose other end reads nothing.
    Stalled,
}

/// Of whom.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) connector: Connector,
    pub(super) kind: Kind,
}

/// What came of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) count: u32,
    /// Of the body of the last answer.
    pub(super) bytes: usize,
}

/// Connections that stay.
pub(super) struct Idle {
    streams: Vec<ClientStream<TcpStream>>,
    runtime: Runtime,
}

impl Idle {
    /// Offers [`OFFERED`] on each, in frames of 16 KiB; the bytes that were taken in all.
    pub(super) fn offer(&mut self) -> Result<usize> {
        let frame = frame(16 * 1024);
        let mut taken = 0;
        self.runtime.block_on(async {
            for stream in &mut self.streams {
                for _ in 0..OFFERED / frame.len() {
                    let Ok(sent) = timeout(UNTAKEN, stream.write_all(&frame)).await else { break };
                    sent?;
                    taken += frame.len();
                }
            }
            Ok(taken)
        })
    }
}

impl Load {
    /// So many connections for so long.
    pub(super) fn run(&self, connections: usize, span: Duration) -> Result<Done> {
        runtime()?.block_on(async {
            let until = Instant::now() + span;
            let mut clients = JoinSet::new();
            for _ in 0..connections {
                let load = self.clone();
                clients.spawn(async move { load.client(until).await });
            }
            let mut sum = Done::default();
            while let Some(done) = clients.join_next().await {
                let done = done??;
                sum = Done { count: sum.count + done.count, bytes: done.bytes };
            }
            Ok(sum)
        })
    }

    /// One answer over a new connection.
    pub(super) fn once(&self) -> Result<()> {
        runtime()?.block_on(async { self.client(Instant::now()).await.map(drop) })
    }

    pub(super) fn idle(&self, connections: usize) -> Result<Idle> {
        let runtime = runtime()?;
        let streams = runtime.block_on(async {
            let mut streams = Vec::with_capacity(connections);
            for _ in 0..connections {
                let mut stream = self.connect().await?;
                self.ask(&mut stream, &self.request(), &mut Vec::new()).await?;
                streams.push(stream);
            }
            anyhow::Ok(streams)
        })?;
        Ok(Idle { streams, runtime })
    }

    /// At least one round.
    async fn client(&self, until: Instant) -> Result<Done> {
        let mut done = Done::default();
        let mut stream = self.connect().await?;
        let mut buffer = Vec::with_capacity(256 * 1024);
        let request = self.request();
        if matches!(self.kind, Kind::Echo(_)) {
            buffer.clear();
            self.ask(&mut stream, &request, &mut buffer).await?;
        }
        loop {
            match self.kind {
                Kind::Handshake => drop(self.connect().await?),
                Kind::Echo(size) => {
                    let frame = frame(size);
                    stream.write_all(&frame).await?;
                    stream.flush().await?;
                    buffer.resize(frame.len(), 0);
                    timeout(PATIENCE, stream.read_exact(&mut buffer)).await??;
                }
                Kind::Get(..) | Kind::Login | Kind::Stalled => {
                    buffer.clear();
                    done.bytes = self.ask(&mut stream, &request, &mut buffer).await?;
                }
            }
            done.count += 1;
            if Instant::now() >= until {
                return Ok(done);
            }
        }
    }

    async fn connect(&self) -> Result<ClientStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        Ok(timeout(PATIENCE, self.connector.connect("127.0.0.1", tcp)).await??)
    }

    fn request(&self) -> String {
        let ticket = format!("{TICKET}{}\r\n", "B".repeat(344));
        let host = self.address;
        let node = if matches!(self.kind, Kind::Stalled) { "stalled" } else { "a" };
        match self.kind {
            Kind::Get(path, lines) => {
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{ticket}{lines}\r\n")
            }
            Kind::Login => format!(
                "POST /api2/json/access/ticket HTTP/1.1\r\nHost: {host}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{BODY}",
                BODY.len()
            ),
            Kind::Handshake | Kind::Echo(_) | Kind::Stalled => format!(
                "GET /api2/json/nodes/{node}/qemu/100/vncwebsocket?port=5900&vncticket=x HTTP/1.1\r\n\
                 Host: {host}\r\n{ticket}Connection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ),
        }
    }

    /// Reads one answer; the bytes of its body.
    async fn ask(
        &self,
        stream: &mut ClientStream<TcpStream>,
        request: &str,
        buffer: &mut Vec<u8>,
    ) -> Result<usize> {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut searched = 0;
        let end = loop {
            let rest = buffer.get(searched..).unwrap_or_default();
            if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break searched + end + 4;
            }
            searched = buffer.len().saturating_sub(3);
            more(stream, buffer).await?;
        };
        let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default())?;
        let status = head.split(' ').nth(1).context("a status")?;
        ensure!(matches!(status, "200" | "101"), "{head}");
        let header = |wanted: &str| {
            let pairs = head.lines().filter_map(|line| line.split_once(": "));
            let mut pairs = pairs.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            pairs.next().map(|(_, value)| value.to_owned())
        };
        if status == "101" {
            return Ok(0);
        }
        if let Some(length) = header("content-length") {
            let length: usize = length.parse()?;
            while buffer.len() < end + length {
                more(stream, buffer).await?;
            }
            return Ok(length);
        }
        ensure!(header("transfer-encoding").is_some(), "no end: {head}");
        while !buffer.ends_with(b"\r\n0\r\n\r\n") {
            more(stream, buffer).await?;
        }
        Ok(buffer.len() - end)
    }
}

async fn more(stream: &mut ClientStream<TcpStream>, buffer: &mut Vec<u8>) -> Result<()> {
    match timeout(PATIENCE, stream.read_buf(buffer)).await?? {
        0 => bail!("closed within an answer"),
        _ => Ok(()),
    }
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A masked binary frame, its mask all zeros.
fn frame(size: usize) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u8::try_from(size).ok().filter(|short| *short < 126) {
        Some(short) => frame.push(0x80 | short),
        None => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(size).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.resize(frame.len() + size, b'x');
    frame
}
