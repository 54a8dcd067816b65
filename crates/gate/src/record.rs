//! One line per request: who asked for what, what came of it, how long it took.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, Version};
use telemetry::CorrelationId;
use telemetry::access::Access;

use crate::edge::decode_path;
use crate::endpoint::Endpoint;
use crate::head::Parts;
use crate::refusal::Refusal;
use crate::worker::Worker;

/// What is known of one request. Written and counted when dropped, so that a request which
/// was cut off leaves its line too. The path is shown decoded and without its query: queries carry
/// console tickets.
pub(crate) struct Record {
    worker: Rc<Worker>,
    begun: Duration,
    unix: Duration,
    id: CorrelationId,
    client: SocketAddr,
    /// None when the head could not be read.
    request: Option<(Version, Method, Option<PathAndQuery>)>,
    endpoint: Endpoint,
    status: u16,
    bytes: u64,
    certificate: Option<Rc<str>>,
    rule: Option<&'static str>,
    cause: Option<String>,
}

impl Record {
    pub(crate) fn begin(worker: &Rc<Worker>, client: SocketAddr, request: Option<&Parts>) -> Self {
        worker.shared.metrics.begin();
        Self {
            begun: worker.shared.clock.monotonic(),
            unix: worker.shared.clock.unix(),
            worker: Rc::clone(worker),
            id: CorrelationId::random(),
            client,
            request: request.map(|parts| {
                (parts.version, parts.method.clone(), parts.uri.path_and_query().cloned())
            }),
            endpoint: Endpoint::Unknown,
            status: 0,
            bytes: 0,
            certificate: None,
            rule: None,
            cause: None,
        }
    }

    /// The name under which everything about this request is logged.
    pub(crate) fn id(&self) -> CorrelationId {
        self.id.clone()
    }

    /// The certificate that the connection's client has shown.
    pub(crate) fn set_certificate(&mut self, subject: Option<&Rc<str>>) {
        self.certificate = subject.map(Rc::clone);
    }

    /// What it asks for, to be counted under.
    pub(crate) fn set_endpoint(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
    }

    /// The answer's status.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// The gate answers by itself.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.status = refusal.status();
        self.rule = Some(refusal.rule());
        self.worker.shared.metrics.refusal(refusal.rule());
    }

    /// When the request came, on the monotonic clock.
    pub(crate) fn begun(&self) -> Duration {
        self.begun
    }

    /// When the request came, in seconds since 1970. Read once: the clock is among the dearer
    /// things that a request needs.
    pub(crate) fn unix_secs(&self) -> u64 {
        self.unix.as_secs()
    }

    /// What went wrong behind the gate, for the log only.
    pub(crate) fn failed(&mut self, cause: &impl fmt::Display) {
        self.cause = Some(cause.to_string());
    }

    /// So many bytes of body went to the client's connection.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let shared = &self.worker.shared;
        let took = shared.clock.monotonic().saturating_sub(self.begun);
        shared.metrics.request(self.endpoint, self.status, self.bytes, took);
        let Some(lines) = &self.worker.access else { return };
        let target = self.request.as_ref().and_then(|(_, _, target)| target.as_ref());
        // One that can not be decoded is not shown.
        let path = target.and_then(|target| decode_path(target.path()).ok()).unwrap_or_default();
        lines.borrow_mut().add(&Access {
            unix: self.unix + took,
            id: &self.id,
            client: self.client,
            user: None,
            http: self.request.as_ref().map(|(version, ..)| number(*version)),
            method: self.request.as_ref().map(|(_, method, _)| method.as_str()),
            path: &path,
            status: self.status,
            bytes: self.bytes,
            took,
            certificate: self.certificate.as_deref(),
            rule: self.rule,
            cause: self.cause.as_deref(),
        });
    }
}

fn number(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}
