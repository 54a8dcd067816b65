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

    /// The body of one answer.
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
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("closed before an answer");
        }
    };
    let text = String::from_utf8_lossy(buffer.get(..head).unwrap_or_default()).to_lowercase();
    if text.split(' ').nth(1) != Some("200") {
        bail!("answered {:?}", text.lines().next().unwrap_or_default());
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.context("no length")?.trim().parse()?;
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            bail!("closed within an answer");
        }
    }
    Ok(!text.contains("connection: close"))
}
