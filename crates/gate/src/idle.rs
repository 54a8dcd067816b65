//! Connections to Proxmox VE that wait for their next request.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::limits::{UPSTREAM_IDLE, UPSTREAM_IDLE_CONNECTIONS};
use crate::link::Link;
use crate::metrics::Metrics;

/// The idle connections of one worker, the longest idle first.
pub(crate) struct Idle {
    waiting: VecDeque<(Box<Link>, Instant)>,
    metrics: Metrics,
}

impl Idle {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { waiting: VecDeque::new(), metrics }
    }

    /// Keeps a connection; beyond the limit the one that was idle longest is closed.
    pub(crate) fn put(&mut self, link: Box<Link>) {
        if self.waiting.len() >= UPSTREAM_IDLE_CONNECTIONS {
            self.waiting.pop_front();
            self.metrics.idle().dec();
            self.metrics.limit("upstream_idle");
        }
        self.waiting.push_back((link, Instant::now()));
        self.metrics.idle().inc();
    }

    /// The connection used last, so that those a burst has opened age and go.
    pub(crate) fn take(&mut self) -> Option<Box<Link>> {
        let (link, since) = self.waiting.pop_back()?;
        self.metrics.idle().dec();
        if since.elapsed() < UPSTREAM_IDLE {
            return Some(link);
        }
        // What is left is older still.
        while self.waiting.pop_front().is_some() {
            self.metrics.idle().dec();
        }
        None
    }

    /// Closes what upstream is about to close.
    pub(crate) fn sweep(&mut self) {
        while let Some((_, since)) = self.waiting.front()
            && since.elapsed() >= UPSTREAM_IDLE
        {
            self.waiting.pop_front();
            self.metrics.idle().dec();
        }
    }
}
