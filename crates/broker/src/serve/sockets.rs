//! The sockets that are accepted on, opened and closed while others go on.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::stream::Listener;
use super::{Shared, listener};
use crate::limits::DRAIN;

/// One task for each socket.
#[derive(Default)]
pub(super) struct Sockets {
    tasks: JoinSet<()>,
    ends: HashMap<Arc<str>, watch::Sender<bool>>,
}

impl Sockets {
    /// Accepts on one more.
    pub(super) fn open(&mut self, shared: &Arc<Shared>, name: Arc<str>, socket: Listener) {
        while self.tasks.try_join_next().is_some() {}
        let (end, ended) = watch::channel(false);
        self.tasks.spawn(listener::accept(Arc::clone(shared), Arc::clone(&name), socket, ended));
        self.ends.insert(name, end);
    }

    /// Accepts there no longer. Requests under way have a time to end.
    pub(super) fn close(&mut self, name: &str) {
        if let Some(end) = self.ends.remove(name) {
            end.send_replace(true);
        }
    }

    /// Ends all of them.
    pub(super) async fn end(mut self) {
        for end in self.ends.values() {
            end.send_replace(true);
        }
        let until = Instant::now() + DRAIN + std::time::Duration::from_secs(1);
        while let Ok(Some(_)) = timeout_at(until, self.tasks.join_next()).await {}
    }
}
