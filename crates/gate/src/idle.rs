//! Connections to Proxmox VE that wait for their next request.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::limits::{UPSTREAM_IDLE, UPSTREAM_IDLE_CONNECTIONS};
use crate::link::Link;

/// The idle connections of one worker, the longest idle first.
#[derive(Default)]
pub(crate) struct Idle(VecDeque<(Box<Link>, Instant)>);

impl Idle {
    /// Keeps a connection; beyond the limit the one that was idle longest is closed.
    pub(crate) fn put(&mut self, link: Box<Link>) {
        if self.0.len() >= UPSTREAM_IDLE_CONNECTIONS {
            self.0.pop_front();
        }
        self.0.push_back((link, Instant::now()));
    }

    /// The connection used last, so that those a burst has opened age and go.
    pub(crate) fn take(&mut self) -> Option<Box<Link>> {
        let (link, since) = self.0.pop_back()?;
        if since.elapsed() < UPSTREAM_IDLE {
            return Some(link);
        }
        // What is left is older still.
        self.0.clear();
        None
    }

    /// Closes what upstream is about to close.
    pub(crate) fn sweep(&mut self) {
        while let Some((_, since)) = self.0.front()
            && since.elapsed() >= UPSTREAM_IDLE
        {
            self.0.pop_front();
        }
    }
}
