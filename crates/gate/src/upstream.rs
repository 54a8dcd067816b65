//! The way to Proxmox VE: connections kept and reused within its rules, one retry where
//! repeating is safe.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use telemetry::Clock;
use thiserror::Error;
use tokio::time::timeout;

use crate::body::Source;
use crate::breaker::Breaker;
use crate::destination::Destination;
use crate::head::Answer;
use crate::http1::ResponseHead;
use crate::hygiene::HeadLines;
use crate::idle::Idle;
use crate::limits::Limits;
use crate::link::{Link, LinkBody, Message, Unanswered, Upload};
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::scratch::Buffer;
use crate::socket::Socket;

/// Bytes of a head beside method, target and header lines: version, length and blank line.
const BESIDE: usize = 64;

/// One worker's way to upstream.
pub(crate) struct Upstream {
    /// In the order in which they are tried, at least one.
    ways: Vec<Way>,
    limits: Limits,
    metrics: Metrics,
    clock: Clock,
}

/// A destination, and whether it is worth a try: shared by all workers.
#[derive(Clone)]
pub(crate) struct Goal {
    pub(crate) destination: Destination,
    pub(crate) breaker: Arc<Breaker>,
}

/// One worker's way to a destination.
struct Way {
    goal: Goal,
    idle: Rc<RefCell<Idle>>,
}

/// Why a way led nowhere.
struct Failed {
    error: UpstreamError,
    /// Nothing has happened there, or nothing that may not happen twice.
    may_move: bool,
}

/// What is asked of upstream, header lines already rebuilt.
pub(crate) struct Outbound<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a PathAndQuery,
    pub(crate) lines: HeadLines,
}

/// What a websocket request came to.
pub(crate) enum Inbound {
    Answer(Answer<LinkBody>),
    /// 101: the head, the stream, and what upstream already sent on it.
    Tunnel(Answer<()>, Socket, Bytes),
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
    pub(crate) fn new(goals: Vec<Goal>, limits: Limits, metrics: Metrics, clock: Clock) -> Self {
        let way = |goal| {
            let idle = Rc::new(RefCell::new(Idle::new(metrics.clone())));
            Way { goal, idle }
        };
        let ways = goals.into_iter().map(way).collect();
        Self { ways, limits, metrics, clock }
    }

    /// An ordinary call. On a kept connection that turns out to be closed it is repeated once
    /// on a fresh one, if it is a GET or nothing of it had been written: pveproxy may close
    /// between two requests at any time, and a write must not happen twice. By the same rule it
    /// goes to the next destination.
    pub(crate) async fn call(
        &self,
        outbound: &Outbound<'_>,
        body: &Bytes,
    ) -> Result<Answer<LinkBody>, UpstreamError> {
        let bytes = outbound.message(Some(body.len() as u64), body);
        let safe = *outbound.method == Method::GET;
        let mut last = None;
        for way in self.worth_a_try() {
            match self.call_on(way, &bytes, safe).await {
                Ok(answer) => return Ok(answer),
                Err(failed) if failed.may_move => last = Some(failed.error),
                Err(failed) => return Err(failed.error),
            }
        }
        Err(last.unwrap_or_else(none_left))
    }

    async fn call_on(
        &self,
        way: &Way,
        bytes: &[u8],
        safe: bool,
    ) -> Result<Answer<LinkBody>, Failed> {
        let message = || Message { bytes, upload: None };
        let given_up = |error| Failed { error, may_move: false };
        if let Some(mut link) = way.take_idle() {
            match self.exchange(way, &mut link, message()).await.map_err(given_up)? {
                Ok(head) => return Ok(self.answer(way, link, head)),
                Err(failed) if failed.unsent || safe => self.metrics.upstream("retry"),
                Err(failed) => return Err(given_up(broken(&failed))),
            }
        }
        let link = Box::pin(self.connect(way)).await;
        let mut link = link.map_err(|error| Failed { error, may_move: true })?;
        match self.exchange(way, &mut link, message()).await.map_err(given_up)? {
            Ok(head) => Ok(self.answer(way, link, head)),
            Err(failed) => {
                way.goal.breaker.failed(self.clock.monotonic());
                Err(Failed { error: broken(&failed), may_move: failed.unsent || safe })
            }
        }
    }

    /// An upload: it can not be repeated, so its connection is a fresh one.
    pub(crate) async fn upload(
        &self,
        outbound: &Outbound<'_>,
        source: &mut dyn Source,
    ) -> Result<Answer<LinkBody>, UpstreamError> {
        let (way, mut link) = Box::pin(self.connect_any()).await?;
        let bytes = outbound.message(source.left(), b"");
        let upload = Upload::new(source, self.limits.body_idle);
        let message = Message { bytes: &bytes, upload: Some(upload) };
        match self.exchange(way, &mut link, message).await? {
            Ok(head) => Ok(self.answer(way, link, head)),
            Err(failed) => Err(broken(&failed)),
        }
    }

    /// A websocket, on a connection of its own.
    pub(crate) async fn websocket(
        &self,
        outbound: &Outbound<'_>,
    ) -> Result<Inbound, UpstreamError> {
        let (way, mut link) = Box::pin(self.connect_any()).await?;
        let message = Message { bytes: &outbound.message(None, b""), upload: None };
        match self.exchange(way, &mut link, message).await? {
            Ok(head) if head.head.status == StatusCode::SWITCHING_PROTOCOLS => {
                let (socket, early) = link.into_tunnel();
                Ok(Inbound::Tunnel(Answer { head: head.head, body: () }, socket, early))
            }
            Ok(head) => Ok(Inbound::Answer(self.answer(way, link, head))),
            Err(failed) => Err(broken(&failed)),
        }
    }

    /// Closes kept connections that upstream is about to close.
    pub(crate) fn sweep(&self) {
        self.ways.iter().for_each(|way| way.idle.borrow_mut().sweep());
    }

    /// The ways to try, each asked for only when those before it have led nowhere. Where there is
    /// but one, it is tried.
    fn worth_a_try(&self) -> impl Iterator<Item = &Way> {
        let only = self.ways.len() == 1;
        self.ways.iter().filter(move |way| only || way.goal.breaker.admits(self.clock.monotonic()))
    }

    async fn exchange(
        &self,
        way: &Way,
        link: &mut Link,
        message: Message<'_>,
    ) -> Result<Result<ResponseHead, Unanswered>, UpstreamError> {
        let limit = self.limits.upstream_response.as_secs();
        let answered = link.exchange(message).await;
        match &answered {
            Some(Ok(_)) => way.goal.breaker.succeeded(),
            Some(Err(_)) => {}
            None => way.goal.breaker.failed(self.clock.monotonic()),
        }
        answered.ok_or(UpstreamError::Timeout(limit))
    }

    fn answer(&self, way: &Way, link: Box<Link>, head: ResponseHead) -> Answer<LinkBody> {
        let idle = Rc::clone(&way.idle);
        let limit = self.limits.upstream_body_idle;
        let body = LinkBody::new(link, head.framing, head.stays_open, idle, limit);
        Answer { head: head.head, body }
    }

    /// A fresh connection to the first that can be reached: nothing is repeated by that.
    async fn connect_any(&self) -> Result<(&Way, Box<Link>), UpstreamError> {
        let mut last = None;
        for way in self.worth_a_try() {
            match self.connect(way).await {
                Ok(link) => return Ok((way, link)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(none_left))
    }

    async fn connect(&self, way: &Way) -> Result<Box<Link>, UpstreamError> {
        self.metrics.upstream("connect");
        let limit = self.limits.upstream_connect;
        let connected = match timeout(limit, way.goal.destination.connect()).await {
            Ok(socket) => socket.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        };
        let link = |socket| Link::new(socket, self.limits.upstream_response);
        connected.map(link).map_err(|error| {
            way.goal.breaker.failed(self.clock.monotonic());
            UpstreamError::Connect(error)
        })
    }
}

impl Way {
    fn take_idle(&self) -> Option<Box<Link>> {
        loop {
            let mut link = self.idle.borrow_mut().take()?;
            if link.is_usable() {
                return Some(link);
            }
        }
    }
}

fn broken(failed: &Unanswered) -> UpstreamError {
    UpstreamError::Broken(failed.error.to_string())
}

fn none_left() -> UpstreamError {
    UpstreamError::Connect("every destination has failed lately".to_owned())
}

impl Outbound<'_> {
    /// The request as it is written: head, and `body` behind it. A length is announced where
    /// there is a body, and where PVE's own clients announce an empty one.
    fn message(&self, length: Option<u64>, body: &[u8]) -> Buffer {
        let (method, target) = (self.method.as_str(), self.target.as_str());
        let lines = self.lines.as_bytes();
        let room = method.len() + target.len() + lines.len() + BESIDE + body.len();
        let mut out = Buffer::new();
        out.reserve(room);
        for part in [method, " ", target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(lines);
        let announces = matches!(*self.method, Method::POST | Method::PUT);
        if let Some(length) = length.filter(|length| announces || *length > 0) {
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(length.to_string().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out
    }
}
