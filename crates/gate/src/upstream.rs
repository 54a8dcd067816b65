//! The way to Proxmox VE: connections kept and reused within its rules, one retry where
//! repeating is safe.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use thiserror::Error;
use tokio::time::timeout;

use crate::body::Source;
use crate::credential::CSRF_HEADER;
use crate::destination::Destination;
use crate::http1::{ResponseHead, write_headers};
use crate::idle::Idle;
use crate::limits::Limits;
use crate::link::{Link, LinkBody, Message, Unanswered, Upload};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::socket::Socket;

/// The address pvedaemon takes for the client's.
const PVE_CLIENT_IP: HeaderName = HeaderName::from_static("pveclientip");

/// One worker's way to upstream.
pub(crate) struct Upstream {
    destination: Destination,
    limits: Limits,
    metrics: Metrics,
    idle: Rc<RefCell<Idle>>,
}

/// What is asked of upstream, headers already rebuilt.
pub(crate) struct Outbound<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) target: &'a PathAndQuery,
    pub(crate) headers: HeaderMap,
}

/// What a websocket request came to.
pub(crate) enum Inbound {
    Answer(Response<LinkBody>),
    /// 101: the head, the stream, and what upstream already sent on it.
    Tunnel(Response<()>, Socket, Bytes),
}

/// Why no answer came. The text is for the log; the client gets [`UpstreamError::refusal`].
#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    #[error("connecting to Proxmox VE: {0}")]
    Connect(String),
    #[error("Proxmox VE did not answer within {0} s")]
    Timeout(u64),
    #[error("the exchange with Proxmox VE failed: {0}")]
    Broken(String),
}

impl UpstreamError {
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Connect(_) => Refusal::UpstreamUnreachable,
            Self::Timeout(_) => Refusal::UpstreamTimeout,
            Self::Broken(_) => Refusal::UpstreamBroken,
        }
    }
}

impl Upstream {
    pub(crate) fn new(destination: Destination, limits: Limits, metrics: Metrics) -> Self {
        let idle = Rc::new(RefCell::new(Idle::new(metrics.clone())));
        Self { destination, limits, metrics, idle }
    }

    /// An ordinary call. On a kept connection that turns out to be closed it is repeated once
    /// on a fresh one, if it is a GET or nothing of it had been written: pveproxy may close
    /// between two requests at any time, and a write must not happen twice.
    pub(crate) async fn call(
        &self,
        outbound: &Outbound<'_>,
        body: &Bytes,
    ) -> Result<Response<LinkBody>, UpstreamError> {
        let bytes = outbound.message(Some(body.len() as u64), body);
        let message = || Message { bytes: bytes.clone(), upload: None };
        if let Some(mut link) = self.take_idle() {
            match self.exchange(&mut link, message()).await? {
                Ok(head) => return Ok(self.answer(link, head)),
                Err(failed) if failed.unsent || outbound.parts.method == Method::GET => {
                    self.metrics.upstream("retry");
                }
                Err(failed) => return Err(UpstreamError::Broken(failed.error.to_string())),
            }
        }
        let mut link = self.connect().await?;
        match self.exchange(&mut link, message()).await? {
            Ok(head) => Ok(self.answer(link, head)),
            Err(failed) => Err(UpstreamError::Broken(failed.error.to_string())),
        }
    }

    /// An upload: it can not be repeated, so its connection is a fresh one.
    pub(crate) async fn upload(
        &self,
        outbound: &Outbound<'_>,
        source: &mut dyn Source,
    ) -> Result<Response<LinkBody>, UpstreamError> {
        let mut link = self.connect().await?;
        let bytes = outbound.message(source.left(), &Bytes::new());
        let upload = Upload::new(source, self.limits.body_idle);
        let message = Message { bytes, upload: Some(upload) };
        match self.exchange(&mut link, message).await? {
            Ok(head) => Ok(self.answer(link, head)),
            Err(failed) => Err(UpstreamError::Broken(failed.error.to_string())),
        }
    }

    /// A websocket, on a connection of its own.
    pub(crate) async fn websocket(
        &self,
        outbound: &Outbound<'_>,
    ) -> Result<Inbound, UpstreamError> {
        let mut link = self.connect().await?;
        let message = Message { bytes: outbound.message(None, &Bytes::new()), upload: None };
        match self.exchange(&mut link, message).await? {
            Ok(head) if head.parts.status == StatusCode::SWITCHING_PROTOCOLS => {
                let (socket, early) = link.into_tunnel();
                Ok(Inbound::Tunnel(Response::from_parts(head.parts, ()), socket, early))
            }
            Ok(head) => Ok(Inbound::Answer(self.answer(link, head))),
            Err(failed) => Err(UpstreamError::Broken(failed.error.to_string())),
        }
    }

    /// Closes kept connections that upstream is about to close.
    pub(crate) fn sweep(&self) {
        self.idle.borrow_mut().sweep();
    }

    async fn exchange(
        &self,
        link: &mut Link,
        message: Message<'_>,
    ) -> Result<Result<ResponseHead, Unanswered>, UpstreamError> {
        let limit = self.limits.upstream_response;
        link.exchange(message, limit).await.ok_or(UpstreamError::Timeout(limit.as_secs()))
    }

    fn answer(&self, link: Box<Link>, head: ResponseHead) -> Response<LinkBody> {
        let idle = Rc::clone(&self.idle);
        let limit = self.limits.upstream_body_idle;
        let body = LinkBody::new(link, head.framing, head.stays_open, idle, limit);
        Response::from_parts(head.parts, body)
    }

    fn take_idle(&self) -> Option<Box<Link>> {
        loop {
            let mut link = self.idle.borrow_mut().take()?;
            if link.is_usable() {
                return Some(link);
            }
        }
    }

    async fn connect(&self) -> Result<Box<Link>, UpstreamError> {
        self.metrics.upstream("connect");
        let limit = self.limits.upstream_connect;
        let socket = match timeout(limit, self.destination.connect()).await {
            Ok(socket) => socket.map_err(|error| UpstreamError::Connect(error.to_string()))?,
            Err(_) => {
                let text = format!("no answer within {} s", limit.as_secs());
                return Err(UpstreamError::Connect(text));
            }
        };
        Ok(Link::new(socket))
    }
}

impl Outbound<'_> {
    /// As pvedaemon gets it: with the client's address, which it believes and logs, and without
    /// any credential. The calls that log somebody in need none, and it would check no CSRF
    /// token of one.
    pub(crate) fn for_daemon(&self, client: IpAddr) -> Self {
        let mut headers = self.headers.clone();
        for name in [&COOKIE, &AUTHORIZATION, &CSRF_HEADER] {
            headers.remove(name);
        }
        if let Ok(value) = HeaderValue::from_str(&client.to_string()) {
            headers.insert(PVE_CLIENT_IP, value);
        }
        Self { parts: self.parts, target: self.target, headers }
    }

    /// The request as it is written: head, and `body` behind it. A length is announced where
    /// there is a body, and where PVE's own clients announce an empty one.
    fn message(&self, length: Option<u64>, body: &Bytes) -> Bytes {
        let mut out = Vec::with_capacity(1024 + body.len());
        out.extend_from_slice(self.parts.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.target.as_str().as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        write_headers(&mut out, &self.headers);
        let announces = matches!(self.parts.method, Method::POST | Method::PUT);
        if let Some(length) = length.filter(|length| announces || *length > 0) {
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(length.to_string().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        Bytes::from(out)
    }
}
