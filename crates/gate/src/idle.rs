//! Connections to Proxmox VE that wait for their next request.

use std::collections::VecDeque;

use crate::limits::{UPSTREAM_IDLE, UPSTREAM_IDLE_CONNECTIONS};
use crate::link::Link;
use crate::metrics::Metrics;

/// The idle connections of one worker, the longest idle first. Their age is counted in sweeps,
/// which come once a second: a clock read twice for each request would cost more than it tells.
pub(crate) struct Idle {
    waiting: VecDeque<(Box<Link>, u64)>,
    sweeps: u64,
    metrics: Metrics,
}

impl Idle {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { waiting: VecDeque::new(), sweeps: 0, metrics }
    }

    /// Keeps a connection; beyond the limit the one that was idle longest is closed.
    pub(crate) fn put(&mut self, link: Box<Link>) {
        if self.waiting.len() >= UPSTREAM_IDLE_CONNECTIONS {
            self.waiting.pop_front();
            self.metrics.idle().dec();
            self.metrics.limit("upstream_idle");
        }
        self.waiting.push_back((link, self.sweeps));
        self.metrics.idle().inc();
    }

    /// The connection used last, so that those a burst has opened age and go.
    pub(crate) fn take(&mut self) -> Option<Box<Link>> {
        let (link, _) = self.waiting.pop_back()?;
        self.metrics.idle().dec();
        Some(link)
    }

    /// Closes what upstream is about to close.
    pub(crate) fn sweep(&mut self) {
        self.sweeps += 1;
        while let Some((_, since)) = self.waiting.front()
            && self.sweeps - since >= UPSTREAM_IDLE.as_secs()
        {
            self.waiting.pop_front();
            self.metrics.idle().dec();
        }
    }
}
