//! Connections to Proxmox VE that wait for their next request.

use std::collections::VecDeque;

use crate::limits::{UPSTREAM_IDLE, UPSTREAM_IDLE_CONNECTIONS};
use crate::link::Link;

/// The idle connections of one worker, the longest idle first. Their age is counted in sweeps,
/// which come once a second: a clock read twice for each request would cost more than it tells.
#[derive(Default)]
pub(crate) struct Idle {
    links: VecDeque<(Box<Link>, u64)>,
    sweeps: u64,
}

impl Idle {
    /// Keeps a connection; beyond the limit the one that was idle longest is closed.
    pub(crate) fn put(&mut self, link: Box<Link>) {
        if self.links.len() >= UPSTREAM_IDLE_CONNECTIONS {
            self.links.pop_front();
        }
        self.links.push_back((link, self.sweeps));
    }

    /// The connection used last, so that those a burst has opened age and go.
    pub(crate) fn take(&mut self) -> Option<Box<Link>> {
        self.links.pop_back().map(|(link, _)| link)
    }

    /// Closes what upstream is about to close.
    pub(crate) fn sweep(&mut self) {
        self.sweeps += 1;
        while let Some((_, since)) = self.links.front()
            && self.sweeps - since >= UPSTREAM_IDLE.as_secs()
        {
            self.links.pop_front();
        }
    }
}
