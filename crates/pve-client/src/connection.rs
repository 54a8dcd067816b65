//! One HTTP/1.1 connection, opened by us and driven by whoever uses it.
//!
//! No task runs in the background: a call polls the connection while it waits, an idle one in the
//! pool is not polled at all, and a call that is given up takes its connection with it.

use std::error::Error as _;
use std::future::{Future, poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tls::Connector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::endpoint::{Endpoint, loopback};
use crate::error::ClientError;
use crate::limits::{ADDRESSES_MAX, Limits};
use crate::reply::{Raw, reason};

type Driver = http1::Connection<TokioIo<Box<dyn Transport>>, Full<Bytes>>;

/// TCP, or TLS over it.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<Driver>>,
    ended: bool,
    pub(crate) idle_since: Instant,
}

/// Why an exchange failed, by what may be done about it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Not a byte left: it can be sent again whatever it is.
    Unsent,
    /// The connection broke before an answer: only what is harmless twice can be sent again.
    Lost,
    /// Not to be repeated.
    Final(ClientError),
}

impl Connection {
    /// Connects to the first address that answers. `connector` is `None` for plain HTTP.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        connector: Option<&Connector>,
        limits: &Limits,
    ) -> Result<Self, ClientError> {
        let stream = timeout(limits.connect, reach(endpoint, connector.is_none()))
            .await
            .map_err(|_| ClientError::Timeout { what: "connecting", after: limits.connect })?
            .map_err(|source| ClientError::Connect { addr: endpoint.authority(), source })?;
        let transport: Box<dyn Transport> = match connector {
            None => Box::new(stream),
            Some(connector) => Box::new(
                timeout(limits.handshake, connector.connect(endpoint.host(), stream))
                    .await
                    .map_err(|_| ClientError::Timeout {
                        what: "the TLS handshake",
                        after: limits.handshake,
                    })?
                    .map_err(ClientError::Tls)?,
            ),
        };
        let (sender, driver) =
            http1::handshake(TokioIo::new(transport)).await.map_err(|error| protocol(&error))?;
        Ok(Self { sender, driver: Box::pin(driver), ended: false, idle_since: Instant::now() })
    }

    /// Whether a connection that lay idle can be used: the server may have closed it meanwhile.
    pub(crate) async fn is_usable(&mut self) -> bool {
        // Lets the runtime collect what arrived; without it the close is only seen after sending.
        tokio::task::yield_now().await;
        drive(&mut self.driver, &mut self.ended, ready(())).await;
        !self.ended && self.sender.is_ready()
    }

    /// Sends a request and reads the answer, its body up to `limit` bytes.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: usize,
    ) -> Result<Raw, Failure> {
        let sent = self.sender.try_send_request(request);
        let work = async {
            match sent.await {
                Ok(response) => read(response, limit).await.map_err(Failure::Final),
                Err(error) if error.message().is_some() => Err(Failure::Unsent),
                Err(error) => Err(lost(error.error())),
            }
        };
        drive(&mut self.driver, &mut self.ended, work).await
    }
}

async fn reach(endpoint: &Endpoint, plain: bool) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses = lookup_host((endpoint.host(), endpoint.port())).await?;
    for address in addresses.take(ADDRESSES_MAX) {
        if plain && !loopback(address.ip()) {
            let text = format!("http:// is possible to loopback only, and this is {address}");
            last = io::Error::new(io::ErrorKind::PermissionDenied, text);
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Polls `work` to its end and the connection along with it. The connection's own end is no end of
/// `work`: what was read before is still to be handed over.
async fn drive<T>(
    driver: &mut Pin<Box<Driver>>,
    ended: &mut bool,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if !*ended && let Poll::Ready(_) = driver.as_mut().poll(context) {
            *ended = true;
        }
        work.as_mut().poll(context)
    })
    .await
}

async fn read(response: Response<Incoming>, limit: usize) -> Result<Raw, ClientError> {
    let (parts, mut incoming) = response.into_parts();
    let reason = reason(parts.status, &parts.extensions);
    let mut raw = Raw {
        status: parts.status,
        reason,
        headers: parts.headers,
        body: Bytes::new(),
        cut: false,
    };
    // The reason says it all, and PVE sends these without a length on connections it keeps open
    // for five seconds more.
    if matches!(raw.status.as_u16(), 300..=399 | 401 | 403) {
        return Ok(raw);
    }
    let too_large = || ClientError::TooLarge { what: "the answer", limit };
    if incoming.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let bounded = raw.headers.contains_key(header::CONTENT_LENGTH)
        || raw.headers.contains_key(header::TRANSFER_ENCODING);
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let data = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(_trailers)) => continue,
            Err(error) if !bounded && is_cut(&error) => {
                raw.cut = true;
                break;
            }
            Err(error) => return Err(protocol(&error)),
        };
        if body.len() + data.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&data);
    }
    raw.body = body.freeze();
    Ok(raw)
}

/// TLS ended without close_notify.
fn is_cut(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

fn lost(error: &hyper::Error) -> Failure {
    let broken = error.source().is_some_and(<dyn std::error::Error>::is::<io::Error>);
    if broken || error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Failure::Lost
    } else {
        Failure::Final(protocol(error))
    }
}

fn protocol(error: &hyper::Error) -> ClientError {
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    ClientError::Protocol(format!("not a readable HTTP answer: {error}{cause}"))
}
