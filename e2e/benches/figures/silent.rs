//! What a lawful client notices of a thousand slow and a thousand silent ones.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tls::{Connector, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::server::Server;

/// Clients of each kind.
const EACH: u16 = 1000;
/// They come from so many addresses of loopback, below each address's quota.
const ADDRESSES: u16 = 50;
/// Requests of the lawful client, one after the other, every tenth on a new connection.
const REQUESTS: usize = 500;
const PER_CONNECTION: usize = 10;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The 99th percentile of a lawful client's requests in milliseconds, handshakes included.
pub(crate) fn lawful_p99(program: &Path) -> Result<Vec<f64>> {
    let mut command = Command::new(program);
    command.args(["demo", "--listen", "127.0.0.1:0", "--format", "json"]);
    let server = Server::start(&mut command)?;
    let text = |key: &str| {
        server.line.get(key).and_then(serde_json::Value::as_str).context("the ready line")
    };
    let address: SocketAddr = text("gate")?.trim_start_matches("https://").parse()?;
    let connector = Connector::new(&Trust::Authority(std::fs::read(text("ca")?)?))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut flood = Vec::with_capacity(usize::from(EACH));
        let mut slow = Vec::with_capacity(usize::from(EACH));
        for number in 0..EACH {
            flood.push(connect(address, number).await?);
            let stream = connect(address, number).await?;
            let stream = timeout(PATIENCE, connector.connect("127.0.0.1", stream)).await;
            let mut stream = stream.context("a slow client's handshake")??;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await?;
            stream.flush().await?;
            slow.push(stream);
        }
        let mut took = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS / PER_CONNECTION {
            lawful(&connector, address, &mut took).await?;
        }
        took.sort_by(f64::total_cmp);
        let p99 = took.get(took.len() * 99 / 100).copied().context("no request")?;
        Ok(vec![p99])
    })
}

async fn connect(address: SocketAddr, number: u16) -> Result<TcpStream> {
    let [_, low] = (number % ADDRESSES).to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 9, low + 1], 0).into())?;
    Ok(timeout(PATIENCE, socket.connect(address)).await.context("a connection")??)
}

/// Ten requests on one connection; the first pays for the handshake.
async fn lawful(connector: &Connector, address: SocketAddr, took: &mut Vec<f64>) -> Result<()> {
    let mut begun = Instant::now();
    let stream = TcpStream::connect(address).await?;
    let mut stream = timeout(PATIENCE, connector.connect("127.0.0.1", stream)).await??;
    let request = "GET /api2/json/access/domains HTTP/1.1\r\nHost: a\r\n\r\n";
    for _ in 0..PER_CONNECTION {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await??;
            ensure!(read > 0, "a lawful client was cut off");
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        begun = Instant::now();
    }
    Ok(())
}

/// Whether the body that Content-Length announces is there.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    length.is_some_and(|length| body.len() >= length)
}
