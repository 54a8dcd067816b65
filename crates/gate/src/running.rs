//! Starting and stopping.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use secrets::private_file::FileError;
use state::{Following, Memory, Redb, Store, StoreError, Table, Writer};
use telemetry::Clock;
use telemetry::access::AccessLog;
use telemetry::audit::AuditError;
use telemetry::metrics::{MetricError, Registry};
use thiserror::Error;
use tls::CertificateError;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::admission::Admission;
use crate::api::Api;
use crate::breaker::Breaker;
use crate::compression::Assets;
use crate::config::{Config, ConfigError};
use crate::console::Consoles;
use crate::control::{self, Control};
use crate::destination::Destination;
use crate::lifecycle::Lifecycle;
use crate::limits::{KEPT_PAUSE, WATCH_MOMENT, WATCH_MOMENTS};
use crate::listeners::{Accepting, Listeners, Open, addresses};
use crate::live::{Current, Live};
use crate::login::{Journal, Logins};
use crate::metrics::Metrics;
use crate::observe::{self, MetricsAddress, Observer};
use crate::permissions::Permissions;
use crate::plugins;
use crate::policy::{Policy, PolicyError, PolicyRules, Proposed, ProxyTokens, Sealed, StepUps};
use crate::pulse::{Heartbeat, Pulse};
use crate::session::{Keeper, KeyError, Sealer, Sessions};
use crate::shared_store::{self, CheckError, Joint};
use crate::sharing::Sharing;
use crate::takeover::HandOver;
use crate::tickets::{KeyFiles, Tickets};
use crate::tunnels::Tunnels;
use crate::upstream::Goal;
use crate::watch::{FilesStanding, Watch, Watched};
use crate::worker::{Shared, Ways, Worker};

/// The audit log in the state directory.
const AUDIT: &str = "audit.jsonl";

/// Written in the state directory when a successor is wanted, and why; a unit of systemd waits for
/// it.
const WISH: &str = "successor-wanted";

/// The key of stored sessions, in the state directory.
const SESSION_KEY: &str = "session.key";

/// A gate at work. Dropping it tells the workers to stop but does not wait for them.
pub struct Running {
    addresses: Vec<SocketAddr>,
    lifecycle: Arc<Lifecycle>,
    workers: Vec<JoinHandle<usize>>,
    access_log: Option<AccessLog>,
    pulse: Option<Arc<Pulse>>,
    control: Option<Control>,
    pub(crate) shared: Arc<Shared>,
    observer: Option<Observer>,
    watch: Watch,
    following: Option<Following>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// How the stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that outlasted the drain limit and were cut.
    pub cut: usize,
    /// Workers that ended by a panic: a bug.
    pub failed: usize,
}

/// Why the gate did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error("listen on {address}: {source}; is another program (pveproxy?) using it?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A value that only the time of the start can judge.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is nothing to listen on.
    #[error("gate.listen: no address; give at least one")]
    NoListener,
    /// The certificate can not be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A second gate on the same registry.
    #[error(transparent)]
    Registry(#[from] MetricError),
    /// The socket for metrics.
    #[error("gate.metrics_listen: {at}: {source}")]
    Metrics {
        /// Where.
        at: MetricsAddress,
        /// Why.
        source: io::Error,
    },
    /// The access log can not be written.
    #[error("gate.access_log: {0}; name a file in a directory that the gate may write")]
    AccessLog(#[source] io::Error),
    /// What outlasts a restart can not be read or kept.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The key that seals stored sessions.
    #[error("gate.sessions.key: {0}")]
    Key(#[from] KeyError),
    /// The key that tickets are to be verified with can not be read.
    #[error(
        "gate.sessions.ticket_key: {0}; let the gate's user read it, or leave tickets to Proxmox VE with tickets = \"upstream\""
    )]
    TicketKey(String),
    /// The store is shared by gates that this one does not belong to.
    #[error(transparent)]
    Store(#[from] CheckError),
    /// The file with the password of the store.
    #[error("gate.store.password: {0}")]
    Password(#[from] FileError),
    /// The audit log in the state directory.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The policy asks for groups or roles that can not be read, or can not be stored.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The control socket.
    #[error("{}: {source}; is the path of the state directory too long for a socket?", path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A worker's thread, runtime or copy of a socket.
    #[error("starting the workers: {0}")]
    Worker(#[source] io::Error),
}

impl StartError {
    /// Whether a shared store does not answer, which may be otherwise in a moment.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        let (Self::State(error) | Self::Store(CheckError::Store(error))) = self else {
            return false;
        };
        matches!(error, StoreError::Unreachable { .. })
    }
}

/// Starts the workers. When this returns, connections are being accepted.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub fn start(
    config: Config,
    listeners: Listeners,
    clock: Clock,
    registry: &Registry,
) -> Result<Running, StartError> {
    let running = prepare(config, listeners, clock, registry)?;
    running.serve();
    Ok(running)
}

/// Does everything that can fail, and accepts nobody before [`Running::serve`].
///
/// Each worker is a thread with a runtime of its own and a copy of every listener.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub fn prepare(
    mut config: Config,
    listeners: Listeners,
    clock: Clock,
    registry: &Registry,
) -> Result<Running, StartError> {
    if listeners.is_empty() {
        return Err(StartError::NoListener);
    }
    let live = Live::new(&config)?;
    let total = u32::try_from(config.limits.connections).unwrap_or(u32::MAX);
    let each = u32::try_from(config.limits.connections_per_address).unwrap_or(u32::MAX);
    let silent = u32::try_from(config.limits.silent_per_address).unwrap_or(u32::MAX);
    plugins::admit(&config.plugins, clock.unix())?;
    let metrics = Metrics::register(registry)?;
    config.standing.export(registry)?;
    let sealer = config.sealer.take();
    if let Some(store) = &mut config.store {
        store.read_password()?;
    }
    let kept = open_state(&config, sealer, &clock, &metrics)?;
    let Kept { logins, sessions, policy, tokens, step_ups, own, several, joint, journal } = kept;
    let lifecycle = Arc::new(Lifecycle::new(listeners.open().map_err(StartError::Worker)?));
    let bound = addresses(&lifecycle.listening().subscribe().borrow());
    let sharing = config.traffic.share_polls.then(|| Sharing::new(metrics.clone()));
    let assets = config.traffic.compression.then(|| Assets::new(metrics.clone()));
    let ways = ways(&config, &metrics);
    let breakers = ways.goals.iter().map(|goal| Arc::clone(&goal.breaker)).collect();
    let (tickets, ticket_key) = tickets(&config, &clock, &metrics)?;
    let shared = Arc::new(Shared {
        tickets,
        consoles: Consoles::new(config.sessions.pass_unknown_console_tickets, several.clone()),
        permissions: Permissions::default(),
        clock,
        metrics,
        admission: Admission::new(each, silent, total),
        live: Current::new(live),
        logins,
        sessions,
        assets,
        sharing,
        breakers,
        policy,
        files: FilesStanding::default(),
        standing: config.standing,
        keep: lifecycle.keep(),
        taken_over: AtomicBool::new(false),
        phase: lifecycle.phase(),
        observed: AtomicBool::new(false),
        tunnels: Tunnels::default(),
        listening: lifecycle.listening().subscribe(),
        tokens,
        step_ups,
        joint,
        api: config.api.map(Api::new),
        plugins: config.plugins,
    });
    let follow = |joint: &Joint| joint.feed.follow(shared_store::listener(&shared));
    let following = shared.joint.as_ref().map(follow).transpose().map_err(StartError::Worker)?;
    let access_log = config.access_log.open().map_err(StartError::AccessLog)?;
    shared.metrics.certificate(config.identity.validity());
    shared.metrics.warnings(config.warnings.len());
    let watched = Watched {
        version: config.sessions.version_file,
        certificates: config.certificates_every,
        ticket_key,
        wish: config.state.as_ref().map(|directory| directory.join(WISH)),
    };
    let watched = Watch::start(watched, &shared);
    let watched = watched.map_err(StartError::Worker)?;
    let control = config.state.map(|directory| {
        let path = directory.join(control::SOCKET);
        let hand_over = HandOver::new(&lifecycle, directory, (own, several), journal);
        let served = control::serve(&path, Arc::clone(&shared), hand_over);
        served.map_err(|source| StartError::Control { path, source })
    });
    let control = control.transpose()?;
    let observer = config.traffic.metrics_listen.as_ref().map(|at| {
        let served = observe::serve(at, Arc::clone(&shared), registry.clone());
        served.map_err(|source| StartError::Metrics { at: at.clone(), source })
    });
    let observer = observer.transpose()?;
    let count = config.workers.get();
    let pulse = config.watchdog.map(|looks| Pulse::new(count, looks));
    let mut workers = Vec::with_capacity(config.workers.get());
    for number in 0..count {
        let beat = pulse.as_ref().map(|pulse| pulse.beat(number));
        let shared = Arc::clone(&shared);
        let ways = ways.clone();
        let drained = lifecycle.drain();
        let lines = access_log.as_ref().map(AccessLog::lines);
        let worker = move || Worker::new(shared, ways, drained, lines).beating(beat);
        workers.push(spawn(number, worker, &lifecycle).map_err(StartError::Worker)?);
    }
    Ok(Running {
        addresses: bound,
        lifecycle,
        workers,
        access_log,
        pulse,
        control,
        shared,
        observer,
        watch: watched,
        following,
    })
}

impl Running {
    /// The addresses that accepted connections at the start, with the ports taken.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where metrics are read, with the port taken; None when nothing was configured.
    #[must_use]
    pub fn metrics_address(&self) -> Option<&MetricsAddress> {
        self.observer.as_ref().map(|observer| &observer.at)
    }

    /// Puts another policy in force, on trial: unless it is confirmed within a minute, the one
    /// before comes back. None where it is the one in force. Blocks until that is written down.
    ///
    /// # Errors
    /// [`PolicyError`]; the policy in force stays.
    pub fn propose_policy(&self, rules: PolicyRules) -> Result<Option<Proposed>, PolicyError> {
        self.shared.policy.propose(rules, self.shared.clock.monotonic())
    }

    /// Whether the workers turn, for [`Config::watchdog`]. None when that is not set.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Heartbeat> {
        self.pulse.as_ref().map(Pulse::heartbeat)
    }

    /// Accepts connections, and takes orders where a process before took them.
    pub fn serve(&self) {
        if let Some(control) = &self.control {
            control.show();
        }
        self.lifecycle.serve();
    }

    /// Waits until another process has taken over. Then this one accepts no more and ends with
    /// its last console, see [`Running::ended`].
    pub async fn taken_over(&self) {
        // The sender is in this value.
        let _ = self.lifecycle.keep().wait_for(|keep| *keep).await;
    }

    /// The listeners, and word of each change. `None` where they were handed in: whoever did that
    /// has them.
    #[must_use]
    pub fn listening(&self) -> Option<watch::Receiver<Open>> {
        let listening = self.lifecycle.listening();
        (!listening.handed_in).then(|| listening.subscribe())
    }

    /// Waits until every worker has ended, by itself.
    pub async fn ended(&self) {
        while self.workers.iter().any(|worker| !worker.is_finished()) {
            tokio::time::sleep(KEPT_PAUSE).await;
        }
    }

    /// Tells the workers to accept no more and to end what is idle. Returns at once.
    pub fn stop(&self) {
        self.lifecycle.end();
    }

    /// Stops and waits, at most the drain limit and a moment. Blocks the thread.
    pub fn shutdown(self) -> Stopped {
        self.stop();
        self.join()
    }

    /// Waits for the workers to end, which they do after [`Running::stop`] (or by a bug).
    /// Blocks the thread.
    pub fn join(self) -> Stopped {
        let mut stopped = Stopped { cut: 0, failed: 0 };
        for worker in self.workers {
            match worker.join() {
                Ok(cut) => stopped.cut += cut,
                Err(_) => stopped.failed += 1,
            }
        }
        if let Some(mut control) = self.control {
            control.join();
        }
        if let Some(mut observer) = self.observer {
            observer.join();
        }
        if let Some(log) = self.access_log {
            log.close();
        }
        drop(self.watch);
        drop(self.following);
        // It may hold the rest for a moment still. Dropped here, what is not written yet is
        // written before this returns.
        for _ in 0..WATCH_MOMENTS {
            if Arc::strong_count(&self.shared) == 1 {
                break;
            }
            std::thread::sleep(WATCH_MOMENT);
        }
        stopped
    }
}

/// Where requests go, each place with its breaker.
fn ways(config: &Config, metrics: &Metrics) -> Ways {
    let goal = |destination: &Destination| {
        let (name, destination) = (destination.to_string(), destination.clone());
        let breaker = Arc::new(Breaker::new(name.clone(), metrics.up(&name)));
        Goal { destination, breaker }
    };
    let all = [&config.destination].into_iter().chain(&config.traffic.fallback);
    let plugins = config.plugins.iter();
    Ways {
        goals: all.map(goal).collect(),
        daemon: config.daemon.as_ref().map(goal),
        plugins: plugins.map(|(name, plugin)| (name.clone(), goal(&plugin.destination))).collect(),
    }
}

/// Who verifies the tickets of clients, and with which files.
fn tickets(
    config: &Config,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<(Tickets, Option<KeyFiles>), StartError> {
    let path = match config.ticket_key() {
        Ok(path) => path,
        Err(why) => return Ok((Tickets::new(why, clock, metrics), None)),
    };
    let tickets = Tickets::new("not looked yet", clock, metrics);
    let mut files = KeyFiles::new(path);
    let keys = files.read();
    if let (Err(why), Some(_)) = (&keys, config.sessions.tickets) {
        return Err(StartError::TicketKey(why.clone()));
    }
    tickets.found(keys, clock.monotonic());
    Ok((tickets, Some(files)))
}

/// What outlasts a restart, and who writes it.
struct Kept {
    logins: Logins,
    sessions: Sessions,
    policy: Policy,
    tokens: ProxyTokens,
    step_ups: StepUps,
    /// Who writes what is this gate's alone.
    own: Arc<Writer>,
    /// Who writes the rest, where several gates share that.
    several: Option<Arc<Writer>>,
    joint: Option<Joint>,
    journal: Arc<Journal>,
}

/// What outlasts a restart, and those who begin with it.
fn open_state(
    config: &Config,
    sealer: Option<Sealer>,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Kept, StartError> {
    let mut own: Box<dyn Store> = match &config.state {
        Some(directory) => Box::new(Redb::open(directory)?),
        None => Box::new(Memory::new()),
    };
    // A policy on trial is this gate's alone: each has a configuration of its own.
    let confirmed = own.load(Table::Pending)?;
    let sealer = match (&config.sessions.key, &config.state) {
        (_, None) => None,
        _ if sealer.is_some() => sealer,
        (Some(path), _) => Some(Sealer::load(path, false)?),
        (None, Some(directory)) => Some(Sealer::load(&directory.join(SESSION_KEY), true)?),
    };
    let sealer = sealer.map(Arc::new);
    let (mut store, own, joint) = match (&config.store, &sealer) {
        (Some(shared), Some(sealer)) => {
            let (mut redis, joint) = shared.open()?;
            shared_store::check_key(&mut redis, sealer)?;
            (Box::new(redis) as Box<dyn Store>, Some(own), Some(joint))
        }
        // What was meant to be shared must not come to be one gate's own.
        (Some(_), None) => return Err(ConfigError::new("store.directory", "not set").into()),
        (None, _) => (own, None, None),
    };
    let (bans, stored) = (store.load(Table::Bans)?, store.load(Table::Sessions)?);
    let (sealed, attempts) = (store.load(Table::Tokens)?, store.load(Table::Attempts)?);
    let writer = Arc::new(Writer::start(store).map_err(StartError::Worker)?);
    let own = own.map(Writer::start).transpose().map_err(StartError::Worker)?.map(Arc::new);
    let own = own.unwrap_or_else(|| Arc::clone(&writer));
    let shared = joint.is_some();
    let keeper = |sealer| Keeper { writer: Arc::clone(&writer), sealer, shared };
    let keeper = sealer.clone().map(keeper);
    // Without a directory nothing is remembered: every start begins with what is configured.
    let keep = config.state.as_ref().map(|_| &own);
    let audit = config.state.as_ref().map(|directory| directory.join(AUDIT));
    let journal = Arc::new(Journal::start(audit.as_deref(), &config.login, clock)?);
    let kept = (keep, Some(&journal));
    let policy = Policy::begin(config.policy.clone(), &confirmed, kept, clock.monotonic())?;
    let seal = sealer.map(|sealer| Arc::new(Sealed::new(Arc::clone(&writer), sealer)));
    let tokens = ProxyTokens::new(seal.clone(), &sealed);
    let step_ups = StepUps::new(seal, &sealed);
    let sessions = Sessions::new(config.sessions.clone(), keeper, stored, clock.unix_secs());
    let proxies = [config.proxy_protocol_from.clone(), config.trusted_proxies.clone()];
    let logins = Logins::new(
        &config.login,
        proxies,
        &bans,
        (clock, metrics),
        (Arc::clone(&writer), Arc::clone(&journal)),
    );
    let logins = match &joint {
        Some(_) => logins.joined(config.login.window, &attempts),
        None => logins,
    };
    let several = joint.is_some().then_some(writer);
    Ok(Kept { logins, sessions, policy, tokens, step_ups, own, several, joint, journal })
}

/// Everything that can fail is done here, before the thread starts. The worker itself is made
/// in its thread, which it never leaves.
fn spawn(
    number: usize,
    worker: impl FnOnce() -> Worker + Send + 'static,
    lifecycle: &Lifecycle,
) -> io::Result<JoinHandle<usize>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let accepting = {
        // A tokio listener belongs to the runtime it is made in.
        let _inside = runtime.enter();
        Accepting::new(lifecycle.listening().subscribe(), lifecycle.phase())?
    };
    std::thread::Builder::new()
        .name(format!("gate-{number}"))
        .spawn(move || LocalSet::new().block_on(&runtime, worker().run(accepting)))
}
