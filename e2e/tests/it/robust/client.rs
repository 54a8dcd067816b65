//! A client of the gate that writes and reads bytes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tls::{ClientStream, Connector, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::process::Files;

/// Longest wait for bytes that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Client {
    runtime: Runtime,
    stream: ClientStream<TcpStream>,
}

/// One answer with its length announced.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(files: &Files) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connector = Connector::new(&Trust::Authority(files.authority.clone().into_bytes()))?;
        let stream = runtime.block_on(async {
            let tcp = timeout(PATIENCE, TcpStream::connect(files.address)).await??;
            anyhow::Ok(timeout(PATIENCE, connector.connect("127.0.0.1", tcp)).await??)
        })?;
        Ok(Self { runtime, stream })
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: &str) -> Result<Answer> {
        self.write(request.as_bytes(), PATIENCE)?.then_some(()).context("a request is taken")?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.exactly(1)?);
        }
        let head = String::from_utf8(head)?;
        let status = head.split(' ').nth(1).context("a status")?.parse()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        let body = String::from_utf8(self.exactly(length.unwrap_or_default())?)?;
        Ok(Answer { status, head, body })
    }

    /// Whether the bytes were taken within the time.
    pub(crate) fn write(&mut self, bytes: &[u8], patience: Duration) -> Result<bool> {
        let Self { runtime, stream } = self;
        runtime.block_on(async {
            let written = timeout(patience, async {
                stream.write_all(bytes).await?;
                stream.flush().await
            });
            match written.await {
                Ok(written) => written.map(|()| true).context("writing"),
                Err(_) => Ok(false),
            }
        })
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        let Self { runtime, stream } = self;
        let mut bytes = vec![0; length];
        runtime.block_on(async {
            match timeout(PATIENCE, stream.read_exact(&mut bytes)).await {
                Ok(read) => drop(read.context("reading")?),
                Err(_) => bail!("nothing came"),
            }
            Ok(bytes)
        })
    }
}
