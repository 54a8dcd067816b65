//! Starting and stopping.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use state::{Memory, Redb, Store, StoreError, Table, Writer};
use telemetry::Clock;
use telemetry::access::AccessLog;
use telemetry::audit::AuditError;
use telemetry::metrics::{MetricError, Registry};
use thiserror::Error;
use tls::{Acceptor, Alpn, CertificateError};
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::admission::Admission;
use crate::api::Api;
use crate::config::{Config, ConfigError};
use crate::console::Consoles;
use crate::control::{self, Control};
use crate::limits::LISTEN_BACKLOG;
use crate::login::{Journal, Logins};
use crate::metrics::Metrics;
use crate::origin::Origins;
use crate::permissions::Permissions;
use crate::plugins;
use crate::session::{Keeper, KeyError, Sealer, Sessions};
use crate::watch::Watch;
use crate::worker::{Shared, Worker};

/// The audit log in the state directory.
const AUDIT: &str = "audit.jsonl";

/// The key of stored sessions, in the state directory.
const SESSION_KEY: &str = "session.key";

/// Bound sockets, before any connection is accepted. Bound apart from [`start`] so that a
/// program can bind as root and start as someone else.
#[derive(Debug)]
pub struct Listeners(Vec<TcpListener>);

/// A gate at work. Dropping it tells the workers to stop but does not wait for them.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    drain: watch::Sender<bool>,
    workers: Vec<JoinHandle<usize>>,
    access_log: Option<AccessLog>,
    control: Option<Control>,
    _watch: Watch,
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
    Metrics(#[from] MetricError),
    /// The access log can not be written.
    #[error("gate.access_log: {0}; name a file in a directory that the gate may write")]
    AccessLog(#[source] io::Error),
    /// What outlasts a restart can not be read or kept.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The key that seals stored sessions.
    #[error("gate.sessions.key: {0}")]
    Key(#[from] KeyError),
    /// The audit log in the state directory.
    #[error(transparent)]
    Audit(#[from] AuditError),
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

impl Listeners {
    /// Binds every address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`StartError::Bind`] with the address at fault.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, StartError> {
        let bind = |address: &SocketAddr| {
            let bound = TcpListener::bind(address).and_then(|listener| {
                // std asks for 128: a burst of connections would fill that in a moment, and a
                // lawful client would wait a second to try again.
                rustix::net::listen(&listener, LISTEN_BACKLOG)?;
                Ok(listener)
            });
            bound.map_err(|source| StartError::Bind { address: *address, source })
        };
        addresses.iter().map(bind).collect::<Result<_, _>>().map(Self)
    }

    /// Sockets that someone else has bound, and that listen already.
    #[must_use]
    pub fn from_sockets(sockets: Vec<TcpListener>) -> Self {
        Self(sockets)
    }

    /// The addresses bound, with the ports taken.
    ///
    /// # Errors
    /// A socket that has no address.
    pub fn local_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.0.iter().map(TcpListener::local_addr).collect()
    }
}

/// Starts the workers. When this returns, connections are being accepted.
///
/// Each worker is a thread with a runtime of its own and a copy of every listener. A
/// connection goes to whichever worker is free to take it, so a few busy clients spread
/// better than the kernel's hash of `SO_REUSEPORT` would spread them.
///
/// # Errors
/// [`StartError`]; nothing runs then.
pub fn start(
    config: Config,
    listeners: Listeners,
    clock: Clock,
    registry: &Registry,
) -> Result<Running, StartError> {
    if listeners.0.is_empty() {
        return Err(StartError::NoListener);
    }
    let addresses = listeners.local_addrs().map_err(StartError::Worker)?;
    let alpn = if config.http2 { Alpn::Http2AndHttp1 } else { Alpn::Http1 };
    let total = u32::try_from(config.limits.connections).unwrap_or(u32::MAX);
    let each = u32::try_from(config.limits.connections_per_address).unwrap_or(u32::MAX);
    let silent = u32::try_from(config.limits.silent_per_address).unwrap_or(u32::MAX);
    plugins::admit(&config.plugins, clock.unix())?;
    let metrics = Metrics::register(registry)?;
    let (logins, sessions) = open_state(&config, &clock, &metrics)?;
    let shared = Arc::new(Shared {
        consoles: Consoles::new(config.sessions.pass_unknown_console_tickets),
        origins: Origins::new(config.sessions.origins),
        permissions: Permissions::default(),
        clock,
        metrics,
        acceptor: Acceptor::new(&config.identity, alpn)?,
        admission: Admission::new(each, silent, total),
        proxies: config.proxy_protocol_from,
        trusted: config.trusted_proxies,
        limits: config.limits,
        logins,
        sessions,
        api: config.api.map(Api::new),
        plugins: config.plugins,
    });
    let access_log = config.access_log.open().map_err(StartError::AccessLog)?;
    for listener in &listeners.0 {
        listener.set_nonblocking(true).map_err(StartError::Worker)?;
    }
    let watched = Watch::start(config.sessions.version_file, &shared);
    let watched = watched.map_err(StartError::Worker)?;
    let (drain, drained) = watch::channel(false);
    let control = config.state.map(|directory| {
        let path = directory.join(control::SOCKET);
        let served = control::serve(&path, Arc::clone(&shared), drained.clone());
        served.map_err(|source| StartError::Control { path, source })
    });
    let control = control.transpose()?;
    let mut workers = Vec::with_capacity(config.workers.get());
    for number in 0..config.workers.get() {
        let shared = Arc::clone(&shared);
        let ways = (config.destination.clone(), config.daemon.clone());
        let drained = drained.clone();
        let lines = access_log.as_ref().map(AccessLog::lines);
        let worker = move || Worker::new(shared, ways, drained, lines);
        workers.push(spawn(number, worker, &listeners).map_err(StartError::Worker)?);
    }
    // The workers have their copies; this one would keep the ports after they stopped.
    drop(listeners);
    Ok(Running { addresses, drain, workers, access_log, control, _watch: watched })
}

impl Running {
    /// The addresses that accept connections, with the ports taken.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells the workers to accept no more and to end what is idle. Returns at once.
    pub fn stop(&self) {
        self.drain.send_replace(true);
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
        if let Some(log) = self.access_log {
            log.close();
        }
        stopped
    }
}

/// What outlasts a restart, and those who begin with it.
fn open_state(
    config: &Config,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<(Logins, Sessions), StartError> {
    let mut store: Box<dyn Store> = match &config.state {
        Some(directory) => Box::new(Redb::open(directory)?),
        None => Box::new(Memory::new()),
    };
    let (bans, stored) = (store.load(Table::Bans)?, store.load(Table::Sessions)?);
    let sealer = match (&config.sessions.key, &config.state) {
        (_, None) => None,
        (Some(path), _) => Some(Sealer::load(path, false)?),
        (None, Some(directory)) => Some(Sealer::load(&directory.join(SESSION_KEY), true)?),
    };
    let writer = Arc::new(Writer::start(store).map_err(StartError::Worker)?);
    let keeper = sealer.map(|sealer| Keeper { writer: Arc::clone(&writer), sealer });
    let sessions = Sessions::new(config.sessions.clone(), keeper, stored, clock.unix_secs());
    let audit = config.state.as_ref().map(|directory| directory.join(AUDIT));
    let journal = Arc::new(Journal::start(audit.as_deref(), &config.login, clock)?);
    let proxies = [config.proxy_protocol_from.clone(), config.trusted_proxies.clone()];
    let logins = Logins::new(&config.login, proxies, &bans, (clock, metrics), (writer, journal));
    Ok((logins, sessions))
}

/// Everything that can fail is done here, before the thread starts. The worker itself is made
/// in its thread, which it never leaves.
fn spawn(
    number: usize,
    worker: impl FnOnce() -> Worker + Send + 'static,
    listeners: &Listeners,
) -> io::Result<JoinHandle<usize>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = {
        // A tokio listener belongs to the runtime it is made in.
        let _inside = runtime.enter();
        let copy =
            |listener: &TcpListener| tokio::net::TcpListener::from_std(listener.try_clone()?);
        listeners.0.iter().map(copy).collect::<io::Result<Vec<_>>>()?
    };
    std::thread::Builder::new()
        .name(format!("gate-{number}"))
        .spawn(move || LocalSet::new().block_on(&runtime, worker().run(listeners)))
}
