//! One thread: a runtime, its share of the connections, its own way upstream.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderValue;
use netpolicy::AddressSet;
use telemetry::access::Lines;
use telemetry::{Clock, HttpDate};
use tls::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::admission::Admission;
use crate::api::Api;
use crate::connection;
use crate::console::Consoles;
use crate::destination::Destination;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_BESIDE, Limits};
use crate::login::Logins;
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::permissions::Permissions;
use crate::plugins::Plugin;
use crate::session::Sessions;
use crate::upstream::Upstream;

/// How often idle upstream connections are looked at, and access lines handed over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    /// From these a PROXY header is required, from all others it is not read.
    pub(crate) proxies: AddressSet,
    /// Their X-Forwarded-For is believed.
    pub(crate) trusted: AddressSet,
    pub(crate) acceptor: Acceptor,
    pub(crate) admission: Admission,
    pub(crate) sessions: Sessions,
    pub(crate) consoles: Consoles,
    pub(crate) permissions: Permissions,
    /// From which pages browsers may change something.
    pub(crate) origins: Origins,
    pub(crate) logins: Logins,
    /// The broker's verbs, where a broker is named.
    pub(crate) api: Option<Api>,
    pub(crate) plugins: BTreeMap<String, Plugin>,
}

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) upstream: Upstream,
    /// pvedaemon, for the calls that log somebody in.
    pub(crate) daemon: Option<Upstream>,
    /// The plugins, by name.
    plugins: BTreeMap<String, Upstream>,
    /// Where the lines of requests go, if anywhere.
    pub(crate) access: Option<RefCell<Lines>>,
    /// Turns true when the gate stops.
    pub(crate) drain: watch::Receiver<bool>,
    /// The second for which the date was written last, and that.
    date: RefCell<Option<(u64, HeaderValue)>>,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (destination, daemon): (Destination, Option<Destination>),
        drain: watch::Receiver<bool>,
        access: Option<Lines>,
    ) -> Self {
        let to =
            |destination| Upstream::new(destination, shared.limits.clone(), shared.metrics.clone());
        let (upstream, daemon) = (to(destination), daemon.map(to));
        let plugins = shared.plugins.iter();
        let plugins = plugins.map(|(name, plugin)| (name.clone(), to(plugin.destination.clone())));
        let plugins = plugins.collect();
        Self {
            plugins,
            shared,
            upstream,
            daemon,
            access: access.map(RefCell::new),
            drain,
            date: RefCell::default(),
        }
    }

    /// A plugin and the way to it.
    pub(crate) fn plugin(&self, name: &str) -> Option<(&Plugin, &Upstream)> {
        Some((self.shared.plugins.get(name)?, self.plugins.get(name)?))
    }

    /// The date for answers that have none.
    pub(crate) fn date(&self) -> Option<HeaderValue> {
        let now = self.shared.clock.unix_secs();
        let mut known = self.date.borrow_mut();
        match &*known {
            Some((second, date)) if *second == now => Some(date.clone()),
            _ => {
                let date = HeaderValue::from_str(&HttpDate(now).to_string()).ok()?;
                *known = Some((now, date.clone()));
                Some(date)
            }
        }
    }

    /// Accepts until told to stop, then waits for what is under way. Returns the number of
    /// connections that outlasted the limit and were cut.
    pub(crate) async fn run(self, listeners: Vec<TcpListener>) -> usize {
        let worker = Rc::new(self);
        let mut connections = JoinSet::new();
        worker.accept(&listeners, &mut connections).await;
        // Closed before the wait: whoever connects now reaches the next process.
        drop(listeners);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(worker.shared.limits.drain, all).await.is_ok() {
            return 0;
        }
        let cut = connections.len();
        connections.shutdown().await;
        cut
    }

    async fn accept(self: &Rc<Self>, listeners: &[TcpListener], connections: &mut JoinSet<()>) {
        let mut drain = self.drain.clone();
        let mut drained = std::pin::pin!(drain.wait_for(|drain| *drain));
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let mut first = 0;
        let most = self.shared.limits.connections.saturating_add(CONNECTIONS_BESIDE);
        loop {
            tokio::select! {
                biased;
                _ = &mut drained => return,
                // Before the next is accepted: those that have lost their place are gone first.
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        error!(%error, "a connection ended by a bug");
                    }
                }
                // Whoever comes when all are busy waits in the kernel's queue for a moment.
                accepted = accept_any(listeners, &mut first), if connections.len() < most => {
                    match accepted {
                        Ok((tcp, from)) => {
                            // Answers are written whole; waiting to fill a packet only delays
                            // them.
                            let _ = tcp.set_nodelay(true);
                            connections.spawn_local(connection::serve(Rc::clone(self), tcp, from));
                        }
                        Err(error) => {
                            // A client that left already, or no descriptors: neither is an end.
                            warn!(%error, "accept failed");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
                _ = sweep.tick() => {
                    self.upstream.sweep();
                    self.daemon.iter().for_each(Upstream::sweep);
                    if let Some(lines) = &self.access {
                        lines.borrow_mut().flush();
                    }
                }
            }
        }
    }
}

/// The next connection of any listener, each in turn so that a busy one starves none.
async fn accept_any(
    listeners: &[TcpListener],
    first: &mut usize,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        let (before, from) = listeners.split_at(*first % listeners.len().max(1));
        for (at, listener) in from.iter().chain(before).enumerate() {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                *first = first.wrapping_add(at + 1);
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}
