//! A load of GET requests over plain HTTP/1.1 with keep-alive.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 16;

/// What is asked, of whom.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    /// Further header lines, each with its line end.
    pub(crate) headers: String,
}

impl Load {
    /// Answers a second over `span`. Any status but 200 is an error.
    pub(crate) fn run(&self, span: Duration) -> Result<f64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let started = Instant::now();
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..CONNECTIONS {
                let request = self.request();
                let address = self.address;
                clients.spawn(async move { client(address, &request, started, span).await });
            }
            let mut answers = 0;
            while let Some(client) = clients.join_next().await {
                answers += client??;
            }
            Ok(f64::from(answers) / started.elapsed().as_secs_f64())
        })
    }

    /// The body of one answer over a new connection.
    pub(crate) fn once(&self) -> Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(&self.request()).await?;
            let mut buffer = Vec::new();
            answer(&mut stream, &mut buffer).await?;
            let head = buffer.windows(4).position(|window| window == b"\r\n\r\n");
            Ok(buffer.split_off(head.context("no head")? + 4))
        })
    }

    fn request(&self) -> Vec<u8> {
        format!("GET {} HTTP/1.1\r\nHost: {}\r\n{}\r\n", self.path, self.address, self.headers)
            .into_bytes()
    }
}

async fn client(
    address: SocketAddr,
    request: &[u8],
    started: Instant,
    span: Duration,
) -> Result<u32> {
    let mut answers = 0;
    let mut buffer = Vec::with_capacity(256 * 1024);
    while started.elapsed() < span {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        // A server that limits requests per connection closes; the next one is opened then.
        while started.elapsed() < span {
            stream.write_all(request).await?;
            buffer.clear();
            let keep = answer(&mut stream, &mut buffer).await?;
            answers += 1;
            if !keep {
                break;
            }
        }
    }
    Ok(answers)
}

/// Reads one answer; whether the connection stays open.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<bool> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("closed before an answer");
        }
    };
    let head = std::str::from_utf8(buffer.get(..end).unwrap_or_default())?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("answered {:?}", head.lines().next().unwrap_or_default());
    }
    let length: usize = header(head, "content-length").context("no length")?.parse()?;
    let keep = header(head, "connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            bail!("closed within an answer");
        }
    }
    Ok(keep)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).last()
}
