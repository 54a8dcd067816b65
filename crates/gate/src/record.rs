//! One line per request: who asked for what, what came of it, how long it took.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Version};
use telemetry::{Clock, CorrelationId};
use tracing::info;

use crate::metrics::Metrics;
use crate::refusal::Refusal;

/// What is known of one request. Written and counted when dropped, so that a request which
/// was cut off leaves its line too. The path is decoded and without its query: queries carry
/// console tickets.
pub(crate) struct Record {
    clock: Clock,
    metrics: Metrics,
    begun: Duration,
    id: CorrelationId,
    client: SocketAddr,
    /// None when the head could not be read.
    request: Option<(Version, Method)>,
    path: String,
    status: u16,
    bytes: u64,
    rule: Option<&'static str>,
    cause: Option<String>,
}

impl Record {
    pub(crate) fn begin(
        clock: &Clock,
        metrics: &Metrics,
        client: SocketAddr,
        request: Option<(Version, &Method)>,
    ) -> Self {
        Self {
            begun: clock.monotonic(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            id: CorrelationId::random(),
            client,
            request: request.map(|(version, method)| (version, method.clone())),
            path: String::new(),
            status: 0,
            bytes: 0,
            rule: None,
            cause: None,
        }
    }

    /// The name under which everything about this request is logged.
    pub(crate) fn id(&self) -> CorrelationId {
        self.id.clone()
    }

    pub(crate) fn set_path(&mut self, path: &str) {
        path.clone_into(&mut self.path);
    }

    /// The answer's status.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    /// The gate answers by itself.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.status = refusal.status();
        self.rule = Some(refusal.rule());
        self.metrics.refusal(refusal.rule());
    }

    /// When the request came, on the monotonic clock.
    pub(crate) fn begun(&self) -> Duration {
        self.begun
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
        self.metrics.request(self.status, self.bytes);
        let took = self.clock.monotonic().saturating_sub(self.begun);
        info!(
            target: "gate::access",
            id = %self.id,
            client = %self.client,
            http = self.request.as_ref().map(|(version, _)| tracing::field::debug(version)),
            method = self.request.as_ref().map(|(_, method)| method.as_str()),
            path = %self.path,
            // 0: the client left before there was an answer
            status = self.status,
            bytes = self.bytes,
            us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            rule = self.rule,
            cause = self.cause.as_deref(),
            "request"
        );
    }
}
