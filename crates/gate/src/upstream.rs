//! The way to Proxmox VE: connections kept and reused within its rules, one retry where
//! repeating is safe.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::timeout;

use crate::body::RequestBody;
use crate::credential::CSRF_HEADER;
use crate::destination::Destination;
use crate::idle::{Idle, Kept};
use crate::limits::Limits;
use crate::link::{Link, LinkBody, Unanswered};
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

    fn broken(error: &hyper::Error) -> Self {
        let cause = std::error::Error::source(error);
        Self::Broken(cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
    }
}

impl Upstream {
    pub(crate) fn new(destination: Destination, limits: Limits, metrics: Metrics) -> Self {
        Self { destination, limits, metrics, idle: Rc::default() }
    }

    /// An ordinary call. On a kept connection that turns out to be closed it is repeated once
    /// on a fresh one, if it is a GET or nothing of it had been written: pveproxy may close
    /// between two requests at any time, and a write must not happen twice.
    pub(crate) async fn call(
        &self,
        outbound: &Outbound<'_>,
        body: &Bytes,
    ) -> Result<Response<LinkBody>, UpstreamError> {
        let request = || outbound.request(RequestBody::whole(body.clone()));
        if let Some(mut link) = self.take_idle().await {
            match self.exchange(&mut link, request(), None).await? {
                Ok(answer) => return Ok(self.answer(link, answer)),
                Err(failed) if failed.unsent || outbound.parts.method == Method::GET => {
                    self.metrics.upstream("retry");
                }
                Err(failed) => return Err(UpstreamError::broken(&failed.error)),
            }
        }
        let mut link = self.connect().await?;
        match self.exchange(&mut link, request(), None).await? {
            Ok(answer) => Ok(self.answer(link, answer)),
            Err(failed) => Err(UpstreamError::broken(&failed.error)),
        }
    }

    /// An upload: it can not be repeated, so its connection is a fresh one.
    pub(crate) async fn upload(
        &self,
        outbound: &Outbound<'_>,
        body: Incoming,
    ) -> Result<Response<LinkBody>, UpstreamError> {
        let mut link = self.connect().await?;
        let taken = Rc::new(Cell::new(0));
        let body = RequestBody::stream(body, self.limits.body_idle, Rc::clone(&taken));
        let request = outbound.request(body);
        match self.exchange(&mut link, request, Some(&taken)).await? {
            Ok(answer) => Ok(self.answer(link, answer)),
            Err(failed) => Err(UpstreamError::broken(&failed.error)),
        }
    }

    /// A websocket, on a connection of its own.
    pub(crate) async fn websocket(
        &self,
        outbound: &Outbound<'_>,
    ) -> Result<Inbound, UpstreamError> {
        let mut link = self.connect().await?;
        let request = outbound.request(RequestBody::whole(Bytes::new()));
        match self.exchange(&mut link, request, None).await? {
            Ok(answer) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let (socket, early) = link.into_tunnel().await;
                Ok(Inbound::Tunnel(answer.map(drop), socket, early))
            }
            Ok(answer) => Ok(Inbound::Answer(self.answer(link, answer))),
            Err(failed) => Err(UpstreamError::broken(&failed.error)),
        }
    }

    /// Closes kept connections that upstream is about to close.
    pub(crate) fn sweep(&self) {
        self.idle.borrow_mut().sweep();
    }

    /// The exchange within its time, which for an upload begins anew as long as bytes go out.
    async fn exchange(
        &self,
        link: &mut Link,
        request: Request<RequestBody>,
        taken: Option<&Cell<u64>>,
    ) -> Result<Result<Response<Incoming>, Unanswered>, UpstreamError> {
        let limit = self.limits.upstream_response;
        let mut exchange = std::pin::pin!(link.exchange(request));
        loop {
            let before = taken.map(Cell::get);
            match timeout(limit, exchange.as_mut()).await {
                Ok(outcome) => return Ok(outcome),
                Err(_) if taken.map(Cell::get) != before => {}
                Err(_) => return Err(UpstreamError::Timeout(limit.as_secs())),
            }
        }
    }

    fn answer(&self, link: Box<Link>, answer: Response<Incoming>) -> Response<LinkBody> {
        let (head, incoming) = answer.into_parts();
        let body = LinkBody::new(
            link,
            incoming,
            &head.headers,
            Rc::clone(&self.idle),
            self.limits.upstream_body_idle,
        );
        Response::from_parts(head, body)
    }

    async fn take_idle(&self) -> Option<Box<Link>> {
        loop {
            let kept = self.idle.borrow_mut().take()?;
            let link = match kept {
                Kept::Link(link) => Ok(link),
                Kept::Socket(socket, sent) => Link::open(socket, sent).await,
            };
            if let Ok(mut link) = link
                && link.is_usable()
            {
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
        let link = Link::open(socket, 0).await;
        link.map_err(|error| UpstreamError::broken(&error))
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

    fn request(&self, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = Uri::from(self.target.clone());
        *request.headers_mut() = self.headers.clone();
        request
    }
}
