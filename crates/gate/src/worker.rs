//! One thread: a runtime, its share of the connections, its own way upstream.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use serde_json::{Map, Value, json};
use telemetry::access::Lines;
use telemetry::{Clock, HttpDate};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::admission::Admission;
use crate::api::Api;
use crate::breaker::Breaker;
use crate::certificates;
use crate::compression::{Assets, Compressors};
use crate::confine::Standing;
use crate::connection;
use crate::console::Consoles;
use crate::lifecycle::Phase;
use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_BESIDE};
use crate::listeners::{Accepting, Open, addresses};
use crate::live::{Copy, Current, Lease};
use crate::login::Logins;
use crate::metrics::Metrics;
use crate::permissions::Permissions;
use crate::plugins::Plugin;
use crate::policy::{InForce, Policy, ProxyTokens, StepUps};
use crate::pulse::Beat;
use crate::session::Sessions;
use crate::shared_store::Joint;
use crate::sharing::Sharing;
use crate::tickets::Tickets;
use crate::tunnels::Tunnels;
use crate::upstream::{Goal, Upstream};
use crate::watch::FilesStanding;

/// How often idle upstream connections are looked at, and access lines handed over.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// What a reload replaces; a worker asks [`Worker::live`].
    pub(crate) live: Current,
    pub(crate) admission: Admission,
    pub(crate) sessions: Sessions,
    pub(crate) tickets: Tickets,
    pub(crate) consoles: Consoles,
    pub(crate) permissions: Permissions,
    pub(crate) logins: Logins,
    /// What open interfaces poll; None when every request is asked for.
    pub(crate) sharing: Option<Sharing>,
    /// Whether each destination is worth a try.
    pub(crate) breakers: Vec<Arc<Breaker>>,
    /// Files of the interface, compressed; none when nothing is compressed.
    pub(crate) assets: Option<Assets>,
    pub(crate) policy: Policy,
    pub(crate) tokens: ProxyTokens,
    pub(crate) step_ups: StepUps,
    /// The other gates, where the state is shared.
    pub(crate) joint: Option<Joint>,
    /// The broker's verbs, where a broker is named.
    pub(crate) api: Option<Api>,
    pub(crate) plugins: BTreeMap<String, Plugin>,
    /// Files that are not as they should be.
    pub(crate) files: FilesStanding,
    /// What the gate has given up.
    pub(crate) standing: Standing,
    /// Whether a successor serves everybody but those who have a console here.
    pub(crate) keep: watch::Receiver<bool>,
    /// That one has taken over, which is for good.
    pub(crate) taken_over: AtomicBool,
    /// How far the gate is.
    pub(crate) phase: watch::Receiver<Phase>,
    /// Metrics are answered, and their socket is in use.
    pub(crate) observed: AtomicBool,
    /// Consoles open now.
    pub(crate) tunnels: Tunnels,
    /// Where connections are accepted.
    pub(crate) listening: watch::Receiver<Open>,
}

impl Shared {
    /// Connections that are no console.
    pub(crate) fn busy(&self) -> i64 {
        self.metrics.open_now() - i64::try_from(self.tunnels.count()).unwrap_or(i64::MAX)
    }

    /// Whether this gate only keeps its consoles, or has nothing left to do.
    pub(crate) fn is_taken_over(&self) -> bool {
        self.taken_over.load(Ordering::Relaxed)
    }

    /// Who the gate is, for [`Request::Status`](crate::control::Request::Status).
    pub(crate) fn status(&self) -> Value {
        let standing = &self.standing;
        let layers =
            standing.layers().map(|(layer, state)| (layer.name().to_owned(), state.into()));
        let listen = addresses(&self.listening.borrow());
        json!({
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "uid": standing.uid,
            "gid": standing.gid,
            "groups": standing.groups,
            "layers": layers.collect::<Map<_, _>>(),
            "tickets": self.tickets.status(),
            "listen": listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "certificate": certificates::shown(&self.live.newest()),
            "files": self.files.json(),
        })
    }
}

/// Where requests can go.
#[derive(Clone)]
pub(crate) struct Ways {
    /// Proxmox VE, in the order in which they are tried.
    pub(crate) goals: Vec<Goal>,
    /// pvedaemon, for the calls that log somebody in.
    pub(crate) daemon: Option<Goal>,
    pub(crate) plugins: BTreeMap<String, Goal>,
}

/// A worker's copy of the policy and which one it is.
type Copied = (u64, Option<Rc<InForce>>);

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) upstream: Upstream,
    /// pvedaemon, for the calls that log somebody in.
    pub(crate) daemon: Option<Upstream>,
    /// None when nothing is compressed.
    pub(crate) compressors: Option<Rc<Compressors>>,
    /// The plugins, by name.
    plugins: BTreeMap<String, Upstream>,
    /// Where the lines of requests go, if anywhere.
    pub(crate) access: Option<RefCell<Lines>>,
    /// True while connections end when they are idle: the gate stops, or a successor asks for its
    /// place.
    pub(crate) drain: watch::Receiver<bool>,
    live: Copy,
    /// The second for which the date was written last, and that.
    date: RefCell<Option<(u64, HeaderValue)>>,
    policy: RefCell<Copied>,
    /// Shows a watchdog that this one turns.
    beat: Option<Beat>,
}

impl Worker {
    pub(crate) fn new(
        shared: Arc<Shared>,
        ways: Ways,
        drain: watch::Receiver<bool>,
        access: Option<Lines>,
    ) -> Self {
        let limits = &shared.live.newest().limits;
        let to = |goals| {
            let (limits, metrics) = (limits.clone(), shared.metrics.clone());
            Upstream::new(goals, limits, metrics, shared.clock.clone())
        };
        let Ways { goals, daemon, plugins } = ways;
        let (upstream, daemon) = (to(goals), daemon.map(|daemon| to(vec![daemon])));
        let plugins = plugins.into_iter().map(|(name, goal)| (name, to(vec![goal]))).collect();
        let compressors = shared.assets.is_some().then(Rc::default);
        Self {
            live: shared.live.copy(),
            plugins,
            shared,
            upstream,
            daemon,
            compressors,
            access: access.map(RefCell::new),
            drain,
            date: RefCell::default(),
            policy: RefCell::default(),
            beat: None,
        }
    }

    /// A worker that a watchdog looks after.
    pub(crate) fn beating(self, beat: Option<Beat>) -> Self {
        Self { beat, ..self }
    }

    /// What is in force now. Held by a request, it stays as it is to its end.
    pub(crate) fn live(&self) -> Lease {
        self.live.of(&self.shared.live)
    }

    /// A plugin and the way to it.
    pub(crate) fn plugin(&self, name: &str) -> Option<(&Plugin, &Upstream)> {
        Some((self.shared.plugins.get(name)?, self.plugins.get(name)?))
    }

    /// The policy in force at this time of the monotonic clock; None where it restricts nothing.
    pub(crate) fn policy(&self, now: Duration) -> Option<Rc<InForce>> {
        let generation = self.shared.policy.generation(now);
        let mut copy = self.policy.borrow_mut();
        if copy.0 != generation {
            let current = self.shared.policy.current();
            *copy = (
                generation,
                (!current.rules.is_empty()).then(|| Rc::new(InForce::clone(&current))),
            );
        }
        copy.1.clone()
    }

    /// The date for answers that have none; `now` in seconds since 1970.
    pub(crate) fn date(&self, now: u64) -> Option<HeaderValue> {
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
    pub(crate) async fn run(self, mut accepting: Accepting) -> usize {
        let worker = Rc::new(self);
        let mut connections = JoinSet::new();
        worker.accept(&mut accepting, &mut connections).await;
        // Closed before the wait: whoever connects now reaches the next process.
        drop(accepting);
        let mut keep = worker.shared.keep.clone();
        {
            let mut all =
                std::pin::pin!(async { while connections.join_next().await.is_some() {} });
            tokio::select! {
                () = &mut all => return 0,
                // At once, unless a successor has taken over: then consoles stay until they end.
                _ = keep.wait_for(|keep| !*keep) => {}
            }
        }
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(worker.live().limits.drain, all).await.is_ok() {
            return 0;
        }
        let cut = connections.len();
        connections.shutdown().await;
        cut
    }

    async fn accept(self: &Rc<Self>, accepting: &mut Accepting, connections: &mut JoinSet<()>) {
        let mut phase = self.shared.phase.clone();
        let mut ended = std::pin::pin!(phase.wait_for(|phase| *phase == Phase::Ended));
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let mut pulse = tokio::time::interval(self.beat.as_ref().map_or(SWEEP_EVERY, Beat::every));
        let most = self.live().limits.connections.saturating_add(CONNECTIONS_BESIDE);
        loop {
            tokio::select! {
                biased;
                _ = &mut ended => return,
                // Before the next is accepted: those that have lost their place are gone first.
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        error!(%error, "a connection ended by a bug");
                    }
                }
                // Whoever comes when all are busy waits in the kernel's queue for a moment.
                accepted = accepting.next(), if connections.len() < most => {
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
                _ = pulse.tick(), if self.beat.is_some() => self.beat.iter().for_each(Beat::beat),
                _ = sweep.tick() => {
                    self.upstream.sweep();
                    self.daemon.iter().for_each(Upstream::sweep);
                    if let Some(sharing) = &self.shared.sharing {
                        sharing.sweep(self.shared.clock.monotonic());
                    }
                    if let Some(lines) = &self.access {
                        lines.borrow_mut().flush();
                    }
                }
            }
        }
    }
}
