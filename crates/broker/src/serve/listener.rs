//! The process with the sockets, from its first message to its end.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker_api::Code;
use process::confine::Reach;
use secrets::SecretBytes;
use serde_json::Map;
use telemetry::Clock;
use telemetry::audit::{AuditError, Event, Key, Log, SyncPolicy};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::admission::Admission;
use super::audit::Audit;
use super::cells::CellNames;
use super::connections::Connections;
use super::idempotent::Idempotent;
use super::metrics::Metrics;
use super::readings::Readings;
use super::reload::{Changed, reload, subids};
use super::sockets::Sockets;
use super::stream::{Listener, Stream};
use super::{Shared, connection, metrics_http};
use crate::config::{Config, Layer, Settings};
use crate::confine::{Calls, Confinement, confine, paths};
use crate::ipc::{AsyncChannel, Channel, ChannelError, Control, Packet};
use crate::limits::{ACCEPT_PAUSE, AUDIT_KEY, AUDIT_PAUSE, DRAIN, STRANGERS, WORKER_PAUSE};
use crate::peer::{Attestor, Unknown, kernel_tells_processes};
use crate::race::{Either, race};
use crate::remote::Members;
use crate::worker::{Launcher, Link, Links, WorkerKind};

/// Why the process ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenerError {
    #[error("{0}")]
    Channel(#[from] ChannelError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Audit(#[from] AuditError),
    #[error("{0}")]
    Confine(#[from] crate::confine::ConfineError),
    #[error("{0}")]
    Other(String),
}

/// What the first message brings.
struct Begin {
    config: Config,
    sockets: Vec<(Arc<str>, OwnedFd)>,
    metrics: Option<OwnedFd>,
    key: Key,
    alive: Option<Duration>,
    due: Vec<WorkerKind>,
}

/// Serves until the supervisor says it is over, or is gone.
pub(crate) fn run(channel: Channel) -> Result<(), ListenerError> {
    let begin = receive_begin(&channel)?;
    let clock = Clock::system();
    let settings = &begin.config.settings;
    let policy = SyncPolicy::Interval(Duration::from_secs(1));
    let log = Log::open_keyed(&settings.audit.file, clock.clone(), policy, begin.key.clone())?;
    // Its descriptors can not be made afterwards; it has no threads yet.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if !kernel_tells_processes() {
        // Said once, instead of to each peer that is then refused.
        if !settings.degraded(Layer::Pidfd) {
            return Err(ListenerError::Other(Unknown::NumberOnly.to_string()));
        }
        tracing::warn!("peers are known by their numbers alone, as the configuration allows");
    }
    confine(&confinement(settings), &settings.allow_degraded)?;
    runtime.block_on(serve(channel, begin, clock, log))
}

fn receive_begin(channel: &Channel) -> Result<Begin, ListenerError> {
    let received = channel.receive()?;
    let message = Control::from_bytes(&received.body)?;
    let Control::Begin { settings, sockets, metrics, public_key, due, alive_ms } = message else {
        return Err(ChannelError::Malformed.into());
    };
    let other = |error: &dyn std::fmt::Display| ListenerError::Other(error.to_string());
    let checked = settings.check("/".as_ref()).map_err(|error| other(&error))?;
    let config = Config { public_key, ..checked };
    let mut descriptors = received.descriptors.into_iter();
    let sockets: Vec<_> = sockets.into_iter().map(Arc::from).zip(descriptors.by_ref()).collect();
    let metrics = if metrics { descriptors.next() } else { None };
    // By descriptor, so that no message holds it, and wiped as soon as the chain is keyed.
    let key = descriptors.next().ok_or(ChannelError::Malformed)?;
    let mut bytes = Vec::with_capacity(AUDIT_KEY);
    let limit = u64::try_from(AUDIT_KEY).unwrap_or(u64::MAX);
    File::from(key).take(limit).read_to_end(&mut bytes)?;
    let key = Key::new(SecretBytes::new(bytes).expose()).map_err(|error| other(&error))?;
    Ok(Begin { config, sockets, metrics, key, alive: alive_ms.map(Duration::from_millis), due })
}

/// It reads what tells peers apart, and writes its log.
fn confinement(settings: &Settings) -> Confinement {
    Confinement {
        reach: Reach {
            read: paths("/".as_ref(), &["/proc", "/etc", "/sys/kernel/mm"]),
            write: settings.audit.file.parent().map(PathBuf::from).into_iter().collect(),
            ..Reach::default()
        },
        calls: Calls::Listener,
        ..Confinement::default()
    }
}

async fn serve(
    channel: Channel,
    begin: Begin,
    clock: Clock,
    log: Log,
) -> Result<(), ListenerError> {
    let channel = Arc::new(AsyncChannel::new(channel)?);
    let shared = Arc::new(shared(begin.config, &channel, clock, log)?);
    let (ending, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut sockets = Sockets::default();
    for (name, socket) in begin.sockets {
        sockets.open(&shared, name, Listener::new(socket)?);
    }
    if let Some(socket) = begin.metrics {
        let served = metrics_http::serve(Arc::clone(&shared), socket)?;
        tasks.spawn(race_end(served, ended.clone()));
    }
    let record = Event::new("broker.started").field("version", env!("CARGO_PKG_VERSION"));
    shared.audit.write(vec![record])?;
    tell(&channel, &Control::Ready)?;
    for kind in begin.due {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move { wake(&shared, kind).await });
    }
    let keeper = keep(Arc::clone(&shared), Arc::clone(&channel), begin.alive);
    tasks.spawn(race_end(keeper, ended.clone()));
    let writer = Arc::clone(&shared);
    tasks.spawn(race_end(async move { write_records(&writer).await }, ended));
    let over = obey(&shared, &channel, &mut sockets).await;
    ending.send_replace(true);
    shared.connections.end_all_idle();
    sockets.end().await;
    tasks.shutdown().await;
    let mut records = shared.audit.summary(shared.clock.monotonic(), true);
    records.push(Event::new("broker.ended"));
    shared.audit.write(records)?;
    // The supervisor may be gone; then nobody keeps the head.
    let _ = tell(&channel, &Control::AuditHead { head: shared.audit.head().to_string() });
    over
}

fn shared(
    config: Config,
    channel: &Arc<AsyncChannel>,
    clock: Clock,
    log: Log,
) -> Result<Shared, ListenerError> {
    let limits = config.settings.limits;
    let by_number = config.settings.degraded(Layer::Pidfd);
    let metrics = Metrics::new().map_err(|error| ListenerError::Other(error.to_string()))?;
    let launcher = Supervisor(Arc::clone(channel));
    let connections = Connections::new(limits.connections_per_peer, limits.connections);
    Ok(Shared {
        clock,
        config: Arc::new(config).into(),
        attestor: Attestor::new("/proc".into(), subids(), by_number),
        admission: Arc::new(Admission::new(&limits)),
        connections: Arc::new(connections),
        strangers: Arc::new(Semaphore::new(STRANGERS)),
        audit: Audit::new(log),
        metrics,
        links: Links::new(Box::new(launcher)),
        readings: Readings::default(),
        idempotent: Idempotent::default(),
        members: Members::default(),
        cells: CellNames::default(),
    })
}

/// Accepts on one socket; at the end it waits for the requests under way.
pub(super) async fn accept(
    shared: Arc<Shared>,
    name: Arc<str>,
    socket: Listener,
    mut ended: watch::Receiver<bool>,
) {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        match race(socket.accept(), ended.changed()).await {
            Either::First(Ok(stream)) => accepted(&shared, &name, stream, &mut open),
            Either::First(Err(error)) => {
                tracing::warn!(%error, "accept");
                sleep(ACCEPT_PAUSE).await;
            }
            Either::Second(_) => break,
        }
    }
    drop(socket);
    let _ = timeout(DRAIN, async { while open.join_next().await.is_some() {} }).await;
}

fn accepted(shared: &Arc<Shared>, name: &Arc<str>, stream: OwnedFd, open: &mut JoinSet<()>) {
    let now = shared.clock.monotonic();
    let peer = shared.attestor.attest(stream.as_fd(), name, now);
    let outcome = |what: &str| shared.metrics.connections.with([what]).inc();
    let peer = match peer {
        Ok(mut peer) => {
            shared.cells.resolve(&mut peer);
            peer
        }
        Err(unknown) => {
            outcome("unknown");
            tracing::debug!(%unknown, "a peer is not known");
            return stranger(shared, "unknown", stream, open);
        }
    };
    let key = peer.key();
    if !shared.config().policy.knows(&peer) {
        outcome("refused");
        return stranger(shared, key.as_str(), stream, open);
    }
    let Some(place) = shared.connections.enter(&key) else {
        outcome("no_room");
        return;
    };
    outcome("accepted");
    let stream = Stream::new(stream);
    let (id, serving) = (place.id(), Arc::clone(shared));
    let task = open.spawn(async move {
        connection::serve(&serving, stream, &peer, &key, &place).await;
    });
    shared.connections.runs(id, task);
}

/// A few strangers at a time get an answer; the rest is closed. The log has one line for many.
fn stranger(shared: &Arc<Shared>, who: &str, stream: OwnedFd, open: &mut JoinSet<()>) {
    if let Some(event) = shared.audit.repeated(who, Code::Unauthorized.name()) {
        shared.record(event);
    }
    if let Ok(permit) = Arc::clone(&shared.strangers).try_acquire_owned() {
        let stream = Stream::new(stream);
        let (shared, who) = (Arc::clone(shared), who.to_owned());
        open.spawn(async move {
            connection::refuse_stranger(&shared, stream, &who).await;
            drop(permit);
        });
    }
}

/// Does what the supervisor says until it says that it is over.
async fn obey(
    shared: &Arc<Shared>,
    channel: &AsyncChannel,
    sockets: &mut Sockets,
) -> Result<(), ListenerError> {
    let mut readers = JoinSet::new();
    loop {
        while readers.try_join_next().is_some() {}
        let received = match channel.receive().await {
            Ok(received) => received,
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match Control::from_bytes(&received.body)? {
            Control::End => return Ok(()),
            Control::Reload { settings, opened, closed } => {
                let opened = opened.into_iter().map(Arc::from).zip(received.descriptors).collect();
                let changed = Changed { opened, closed };
                let refused = reload(shared, sockets, *settings, changed).err();
                tell(channel, &Control::Reloaded { refused })?;
            }
            Control::Worker { kind } => {
                let end = received.descriptors.into_iter().next();
                let link = end.and_then(|end| shared.links.started(kind, end).ok());
                if let Some(link) = link {
                    let shared = Arc::clone(shared);
                    readers.spawn(follow(shared, kind, link));
                }
            }
            Control::NoWorker { kind, why } => shared.links.failed(kind, why),
            _ => return Err(ChannelError::Malformed.into()),
        }
    }
}

/// Reads a worker's answers until it ends. Those with files and cells are started again: they may
/// have changes on trial, which end by themselves only while they run.
async fn follow(shared: Arc<Shared>, kind: WorkerKind, link: Arc<Link>) {
    shared.links.read(kind, link).await;
    let cells = kind == WorkerKind::Cells && !shared.config().settings.cells.is_empty();
    if kind == WorkerKind::Files || cells {
        sleep(WORKER_PAUSE * 2).await;
        wake(&shared, kind).await;
    }
}

/// Has a worker started that knows what is due.
async fn wake(shared: &Shared, kind: WorkerKind) {
    let verb = if kind == WorkerKind::Cells { "cell.list" } else { "files.leases" };
    match shared.links.call(kind, verb, &Map::new(), DRAIN).await {
        Ok(done) if kind == WorkerKind::Cells => shared.cells.learn(&done.value),
        Ok(_) => {}
        Err(refusal) => {
            tracing::error!(error = refusal.message, "changes on trial are not put back");
        }
    }
}

/// Once a second: figures, sums, the log's head, a sign of life.
async fn keep(shared: Arc<Shared>, channel: Arc<AsyncChannel>, alive: Option<Duration>) {
    let pause = alive.map_or(Duration::from_secs(1), |alive| alive.min(Duration::from_secs(1)));
    let mut head = None;
    loop {
        let figure = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        shared.metrics.open.set(figure(shared.connections.len()));
        shared.metrics.waiting.set(figure(shared.admission.waiting()));
        shared.metrics.under_way.set(shared.admission.under_way().into());
        shared.metrics.peers.set(figure(shared.admission.peers()));
        let sums = shared.audit.summary(shared.clock.monotonic(), false);
        sums.into_iter().for_each(|event| shared.record(event));
        let now = Some(shared.audit.head());
        if now != head {
            head = now;
            let text = shared.audit.head().to_string();
            let _ = tell(&channel, &Control::AuditHead { head: text });
        }
        if alive.is_some() {
            let _ = tell(&channel, &Control::Alive);
        }
        sleep(pause).await;
    }
}

/// Writes what was gathered, a moment after the first of it.
async fn write_records(shared: &Shared) {
    loop {
        shared.audit.gathered().await;
        sleep(AUDIT_PAUSE).await;
        shared.write_gathered();
    }
}

async fn race_end(work: impl Future<Output = ()>, mut ended: watch::Receiver<bool>) {
    race(work, ended.changed()).await;
}

/// A full channel is an error: the supervisor has not read a hundred messages.
fn tell(channel: &AsyncChannel, message: &Control) -> Result<(), ChannelError> {
    message.send(channel)
}

struct Supervisor(Arc<AsyncChannel>);

impl Launcher for Supervisor {
    fn start(&self, kind: WorkerKind) -> Result<(), ChannelError> {
        tell(&self.0, &Control::NeedWorker { kind })
    }

    fn end(&self, kind: WorkerKind) {
        let _ = tell(&self.0, &Control::EndWorker { kind });
    }
}
