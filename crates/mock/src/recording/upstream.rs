//! A genuine node behind the mock: requests are passed on as they are, answers passed back and
//! recorded. It is a tool for the desk, not a proxy: one connection for each request, bodies read
//! whole, neither uploads nor websockets.

use pve_client::Endpoint;
use tls::{Connector, Trust};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{RECORD_ANSWER_BYTES, UPSTREAM_ANSWER, UPSTREAM_CONNECT};
use crate::wire::{Disposition, Head, Response};

/// Headers that are passed on. The rest is the connection's own business, or asks for a coding in
/// which the answer could not be searched for secrets.
const PASSED: [&str; 6] =
    ["Authorization", "Cookie", "CSRFPreventionToken", "Content-Type", "Accept", "User-Agent"];

/// Where requests go, and how that server is known.
#[derive(Debug, Clone)]
pub struct Upstream {
    endpoint: Endpoint,
    connector: Option<Connector>,
}

impl Upstream {
    /// `trust` is needed for `https`; plain HTTP is possible to loopback only, which `Endpoint`
    /// sees to.
    ///
    /// # Errors
    /// No usable trust.
    pub fn new(endpoint: Endpoint, trust: Option<&Trust>) -> Result<Self, tls::CertificateError> {
        let connector = trust.filter(|_| !endpoint.is_plain()).map(Connector::new).transpose()?;
        Ok(Self { endpoint, connector })
    }

    /// `https://host:port`, for the head of the recording.
    pub(crate) fn source(&self) -> String {
        let scheme = if self.endpoint.is_plain() { "http" } else { "https" };
        format!("{scheme}://{}", self.authority())
    }

    /// The node's answer, or what pveproxy says when it can not reach another node: 595 when there
    /// is no connection, 596 when there is no answer.
    pub(crate) async fn forward(&self, head: &Head, body: &[u8]) -> Response {
        let address = (self.endpoint.host(), self.endpoint.port());
        let stream = match timeout(UPSTREAM_CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Response::bare(595, &error.to_string()),
            Err(_) => return Response::bare(595, "Connection timed out"),
        };
        if self.endpoint.is_plain()
            && !stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
        {
            return Response::bare(595, "plain HTTP is possible to loopback only");
        }
        match &self.connector {
            None if !self.endpoint.is_plain() => Response::bare(596, "no trust for the upstream"),
            None => self.converse(stream, head, body).await,
            Some(connector) => {
                let host = self.endpoint.host();
                match timeout(UPSTREAM_CONNECT, connector.connect(host, stream)).await {
                    Ok(Ok(stream)) => self.converse(stream, head, body).await,
                    Ok(Err(error)) => Response::bare(596, &error.to_string()),
                    Err(_) => Response::bare(596, "Connection timed out"),
                }
            }
        }
    }

    async fn converse<S>(&self, stream: S, head: &Head, body: &[u8]) -> Response
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let talk = talk(stream, self.request(head, body.len()), body);
        match timeout(UPSTREAM_ANSWER, talk).await {
            Ok(Ok(answer)) => parse(&answer).unwrap_or_else(|why| Response::bare(596, why)),
            Ok(Err(error)) => Response::bare(596, &error.to_string()),
            Err(_) => Response::bare(596, "Connection timed out"),
        }
    }

    /// HTTP/1.0, so that the answer has no transfer coding and ends with the connection.
    fn request(&self, head: &Head, length: usize) -> String {
        let mut request = format!(
            "{} {} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n",
            head.method,
            head.target,
            self.authority()
        );
        for name in PASSED {
            if let Some(value) = head.header(name) {
                request += &format!("{name}: {value}\r\n");
            }
        }
        if length > 0 {
            request += &format!("Content-Length: {length}\r\n");
        }
        request + "\r\n"
    }

    fn authority(&self) -> String {
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

async fn talk<S>(mut stream: S, request: String, body: &[u8]) -> std::io::Result<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let limit = u64::try_from(RECORD_ANSWER_BYTES).unwrap_or(u64::MAX);
    let read = (&mut stream).take(limit + 1).read_to_end(&mut answer).await;
    if answer.len() > RECORD_ANSWER_BYTES {
        return Err(std::io::Error::other(format!("answer above {RECORD_ANSWER_BYTES} bytes")));
    }
    match read {
        Ok(_) => Ok(answer),
        // pveproxy ends TLS without a word; whether all has arrived, the length says.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(answer),
        Err(error) => Err(error),
    }
}

/// Status, reason, the headers that matter, and the body by its length.
pub(crate) fn parse(answer: &[u8]) -> Result<Response, &'static str> {
    let end =
        answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no head in the answer")?;
    let (head, rest) = answer.split_at(end);
    let mut body = rest.get(4..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
    let is_http = first.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = first.next().and_then(|code| code.parse().ok());
    let status = status.filter(|code| is_http && (200..=599).contains(code));
    let status: u16 = status.ok_or("no status line in the answer")?;
    let mut response = Response::bare(status, first.next().unwrap_or_default());
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { return Err("no header: a line") };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-type" => response.content_type = Some(value.into()),
            "content-disposition" => {
                response.disposition = Some(Box::new(Disposition(value.to_owned())));
            }
            "location" => response.location = Some(value.into()),
            "transfer-encoding" | "content-encoding" => {
                return Err("an answer in a coding that was not asked for");
            }
            "content-length" => {
                let length: usize = value.parse().map_err(|_| "no length of the answer")?;
                body = body.get(..length).ok_or("an answer cut short")?;
            }
            _ => {}
        }
    }
    response.body = body.to_vec();
    Ok(response)
}
