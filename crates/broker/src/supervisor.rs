//! The process that starts the others. It has the rights and reads no byte of any peer.

mod sockets;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use secrets::private_file::{self, FileError};
use secrets::random;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout};

use crate::config::{Config, ConfigError, Settings};
use crate::ipc::{self, AsyncChannel, ChannelError, Control, Packet, Sender as _};
use crate::limits::{AUDIT_KEY, DRAIN, WORKER_PAUSE, WORKER_START};
use crate::race::{Either, race};
use crate::role::{self, LISTENER};
use crate::worker::WorkerKind;
use process::Notify;
use sockets::{Socket, open_sockets};

/// Reads the settings, at the start and for each reload. The text of an error is for people.
pub trait Source {
    /// The settings as they are now.
    ///
    /// # Errors
    /// One line with the place and the remedy.
    fn settings(&self) -> Result<Settings, String>;
}

/// Why the broker did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The configuration.
    #[error("{0}")]
    Config(String),
    /// A socket could not be opened.
    #[error("{path}: {what}")]
    Socket {
        /// Which one.
        path: String,
        /// What is wrong, with the remedy.
        what: String,
    },
    /// A file of the broker's own.
    #[error("{0}")]
    File(#[from] FileError),
    /// The system.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What it said.
        source: io::Error,
    },
    /// The process with the sockets has ended by itself; its log says why.
    #[error("the process with the sockets has ended ({0}); its log line says why")]
    Ended(String),
    /// It did not become ready.
    #[error("the process with the sockets did not become ready")]
    NotReady,
}

fn io_error(doing: &str) -> impl FnOnce(io::Error) -> SuperviseError {
    let doing = doing.to_owned();
    move |source| SuperviseError::Io { doing, source }
}

/// Settings that the listener was told, which has not said yet whether it takes them over.
struct Proposed {
    settings: Settings,
    opened: Vec<Socket>,
    closed: Vec<String>,
}

/// Runs until a signal says it is over. `ready` is called once, when connections are accepted.
///
/// # Errors
/// [`SuperviseError`], in one line.
pub fn supervise(source: &dyn Source, ready: impl FnOnce()) -> Result<(), SuperviseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(io_error("start"))?.block_on(run(source, ready))
}

async fn run(source: &dyn Source, ready: impl FnOnce()) -> Result<(), SuperviseError> {
    let notify = Notify::from_env();
    let mut signals = Signals::install().map_err(io_error("signals"))?;
    let settings = source.settings().map_err(SuperviseError::Config)?;
    let config = check(settings)?;
    let key = prepare(&config)?;
    let (sockets, metrics) = open_sockets(&config.settings)?;
    let (channel, listener) =
        start_listener(&config, &key, &sockets, metrics.as_ref(), notify.interval())?;
    drop(key);
    let mut supervisor = Supervisor {
        proposed: None,
        again: false,
        sockets,
        source,
        settings: config.settings,
        channel,
        listener,
        workers: HashMap::new(),
        begun: HashMap::new(),
        notify,
    };
    let became_ready = supervisor.wait_ready(&mut signals).await;
    if became_ready.is_ok() {
        supervisor.notify.tell("READY=1\nSTATUS=serving");
        ready();
    }
    let served = match became_ready {
        Ok(()) => supervisor.serve(&mut signals).await,
        Err(error) => Err(error),
    };
    supervisor.notify.tell("STOPPING=1");
    supervisor.end().await;
    supervisor.sockets.iter().for_each(Socket::remove);
    served
}

fn check(settings: Settings) -> Result<Config, SuperviseError> {
    settings
        .check(Path::new("/"))
        .map_err(|error: ConfigError| SuperviseError::Config(error.to_string()))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    child: Signal,
}

/// What a signal means.
enum Wish {
    End,
    Reload,
    Reap,
}

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    async fn next(&mut self) -> Wish {
        let end = race(self.terminate.recv(), self.interrupt.recv());
        let other = race(self.hang_up.recv(), self.child.recv());
        match race(end, other).await {
            Either::First(_) => Wish::End,
            Either::Second(Either::First(_)) => Wish::Reload,
            Either::Second(Either::Second(_)) => Wish::Reap,
        }
    }
}

/// Directories, the audit log's place and its key.
fn prepare(config: &Config) -> Result<OwnedFd, SuperviseError> {
    let settings = &config.settings;
    let (uid, gid) = config.ids;
    let root = rustix::process::geteuid().is_root();
    let own = |path: &Path| -> Result<(), SuperviseError> {
        let doing = format!("{}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(io_error(&doing))?;
        }
        Ok(private_file::create_dir(path)?)
    };
    own(&settings.state)?;
    own(&settings.state.join("ssh"))?;
    own(&settings.state.join("snapshots"))?;
    for path in [&settings.audit.key_file, &settings.audit.head_file] {
        if let Some(parent) = path.parent()
            && !parent.exists()
        {
            own(parent)?;
        }
    }
    if let Some(folder) = settings.audit.file.parent() {
        let doing = format!("{}", folder.display());
        if !folder.exists() {
            std::fs::create_dir_all(folder).map_err(io_error(&doing))?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o750))
                .map_err(io_error(&doing))?;
        }
        if root && !settings.audit.file.exists() {
            chown(folder, Some(uid), Some(gid)).map_err(io_error(&doing))?;
        }
    }
    audit_key(&settings.audit.key_file)
}

/// Made at the first start and kept: records of later runs go on with the same key. The process
/// with the sockets reads it by itself.
fn audit_key(path: &Path) -> Result<OwnedFd, SuperviseError> {
    if !path.exists() {
        let key = random::hex().map_err(io_error("randomness"))?;
        private_file::write(path, key.expose().as_bytes())?;
    }
    // Refuses what others may read, or a link.
    private_file::read(path, AUDIT_KEY)?;
    std::fs::File::open(path).map(Into::into).map_err(io_error("the audit log's key"))
}

fn start_listener(
    config: &Config,
    key: &OwnedFd,
    sockets: &[Socket],
    metrics: Option<&OwnedFd>,
    alive: Option<Duration>,
) -> Result<(AsyncChannel, Child), SuperviseError> {
    let (channel, end) = ipc::pair().map_err(io_error("socket pair"))?;
    let listener = role::start(LISTENER, end, Some(config.ids)).map_err(io_error(LISTENER))?;
    let begin = Control::Begin {
        settings: Box::new(config.settings.clone()),
        sockets: sockets.iter().map(|socket| socket.name.clone()).collect(),
        metrics: metrics.is_some(),
        due: due(&config.settings),
        public_key: crate::remote::public_key(&config.settings),
        alive_ms: alive.map(|time| u64::try_from(time.as_millis()).unwrap_or(1).max(1)),
    };
    let descriptors: Vec<BorrowedFd<'_>> = sockets
        .iter()
        .map(|socket| &socket.fd)
        .chain(metrics)
        .chain([key])
        .map(|fd| fd.as_fd())
        .collect();
    let sent = begin.to_bytes().and_then(|bytes| channel.send(&bytes, &descriptors));
    let failed = |error: ChannelError| io_error("listener")(io::Error::other(error.to_string()));
    sent.map_err(failed)?;
    Ok((AsyncChannel::new(channel).map_err(io_error("socket pair"))?, listener))
}

/// Workers with changes on trial, or with something that runs.
fn due(settings: &Settings) -> Vec<WorkerKind> {
    let files = crate::verbs::pending(&settings.state.join("snapshots"));
    let cells = crate::verbs::noted(&settings.state.join("cells"));
    let found = [(files, WorkerKind::Files), (cells, WorkerKind::Cells)];
    found.into_iter().filter_map(|(due, kind)| due.then_some(kind)).collect()
}

struct Supervisor<'a> {
    source: &'a dyn Source,
    settings: Settings,
    proposed: Option<Proposed>,
    /// A reload was asked for while another was under way.
    again: bool,
    sockets: Vec<Socket>,
    channel: AsyncChannel,
    listener: Child,
    workers: HashMap<WorkerKind, Child>,
    begun: HashMap<WorkerKind, Instant>,
    notify: Notify,
}

impl Supervisor<'_> {
    async fn wait_ready(&mut self, signals: &mut Signals) -> Result<(), SuperviseError> {
        let until = Instant::now() + WORKER_START;
        loop {
            let step = tokio::time::timeout_at(until, self.step(signals)).await;
            match step.map_err(|_| SuperviseError::NotReady)?? {
                Step::Ready => return Ok(()),
                Step::End => return Err(SuperviseError::NotReady),
                Step::Other => {}
            }
        }
    }

    async fn serve(&mut self, signals: &mut Signals) -> Result<(), SuperviseError> {
        loop {
            if let Step::End = self.step(signals).await? {
                return Ok(());
            }
        }
    }

    async fn step(&mut self, signals: &mut Signals) -> Result<Step, SuperviseError> {
        let event = race(signals.next(), self.channel.receive()).await;
        match event {
            Either::First(Wish::End) => Ok(Step::End),
            Either::First(Wish::Reload) => {
                self.reload();
                Ok(Step::Other)
            }
            Either::First(Wish::Reap) => self.reap(),
            Either::Second(Ok(received)) => self.hear(&received.body),
            Either::Second(Err(error)) => Err(SuperviseError::Ended(error.to_string())),
        }
    }

    /// What the listener says is a request, not an order: it may be an attacker's by now.
    fn hear(&mut self, body: &[u8]) -> Result<Step, SuperviseError> {
        let message =
            Control::from_bytes(body).map_err(|error| SuperviseError::Ended(error.to_string()))?;
        match message {
            Control::Ready => return Ok(Step::Ready),
            Control::Alive => self.notify.tell("WATCHDOG=1"),
            Control::AuditHead { head } => self.keep_head(&head),
            Control::NeedWorker { kind } => self.start_worker(kind),
            Control::EndWorker { kind } => self.end_worker(kind),
            Control::Reloaded { refused } => self.reloaded(refused),
            _ => return Err(SuperviseError::Ended("a message of another form".to_owned())),
        }
        Ok(Step::Other)
    }

    fn reload(&mut self) {
        if self.proposed.is_some() {
            self.again = true;
            return;
        }
        self.notify.tell("RELOADING=1");
        if let Err(why) = self.propose() {
            self.stays(&why);
        }
    }

    /// Tells the listener new settings, with sockets that are opened for them.
    fn propose(&mut self) -> Result<(), String> {
        let settings = self.source.settings()?;
        let settings = check(settings).map_err(|error| error.to_string())?.settings;
        let (opened, closed) = sockets::change(&self.sockets, &self.settings, &settings)?;
        let message = Control::Reload {
            settings: Box::new(settings.clone()),
            opened: opened.iter().map(|socket| socket.name.clone()).collect(),
            closed: closed.clone(),
        };
        let descriptors: Vec<BorrowedFd<'_>> =
            opened.iter().map(|socket| socket.fd.as_fd()).collect();
        let sent = message.to_bytes().and_then(|bytes| self.channel.send(&bytes, &descriptors));
        if let Err(error) = sent {
            opened.iter().for_each(Socket::remove);
            return Err(error.to_string());
        }
        self.proposed = Some(Proposed { settings, opened, closed });
        Ok(())
    }

    /// The listener has taken the settings over, or not.
    fn reloaded(&mut self, refused: Option<String>) {
        let Some(Proposed { settings, opened, closed }) = self.proposed.take() else { return };
        if let Some(why) = refused {
            opened.iter().for_each(Socket::remove);
            self.stays(&why);
        } else {
            // Workers that are started from now on get them; the listener has ended the others.
            self.settings = settings;
            let gone = |socket: &mut Socket| closed.contains(&socket.name);
            self.sockets.extract_if(.., gone).for_each(|socket| socket.remove());
            self.sockets.extend(opened);
            tracing::info!("the configuration was taken over");
            self.notify.tell("READY=1\nSTATUS=serving");
        }
        if std::mem::take(&mut self.again) {
            self.reload();
        }
    }

    fn stays(&self, why: &str) {
        tracing::error!(why, "the configuration before stays");
        self.notify.tell("READY=1\nSTATUS=the configuration before stays");
    }

    fn reap(&mut self) -> Result<Step, SuperviseError> {
        let ended = |child: &mut Child| matches!(child.try_wait(), Ok(Some(_)) | Err(_));
        self.workers.retain(|_, child| !ended(child));
        match self.listener.try_wait() {
            Ok(Some(status)) => Err(SuperviseError::Ended(status.to_string())),
            _ => Ok(Step::Other),
        }
    }

    fn start_worker(&mut self, kind: WorkerKind) {
        let too_soon = self.begun.get(&kind).is_some_and(|at| at.elapsed() < WORKER_PAUSE);
        let why = if too_soon {
            // One that dies at once would be started for ever.
            Err("it has just ended; it is started again in a moment".to_owned())
        } else {
            self.try_start(kind).map_err(|error| error.to_string())
        };
        if let Err(why) = why {
            self.say(&Control::NoWorker { kind, why });
        }
    }

    fn try_start(&mut self, kind: WorkerKind) -> Result<(), SuperviseError> {
        self.end_worker(kind);
        let (channel, end) = ipc::pair().map_err(io_error("socket pair"))?;
        let settings = serde_json::to_vec(&self.settings)
            .map_err(|error| io_error("settings")(error.into()))?;
        let failed = |error: ChannelError| io_error("worker")(io::Error::other(error.to_string()));
        channel.send(&settings, &[]).map_err(failed)?;
        let child = role::start(kind.name(), end, None).map_err(io_error(kind.name()))?;
        self.workers.insert(kind, child);
        self.begun.insert(kind, Instant::now());
        let ours = OwnedFd::from(channel);
        let message = Control::Worker { kind };
        let sent = message.to_bytes().and_then(|bytes| self.channel.send(&bytes, &[ours.as_fd()]));
        sent.map_err(failed)
    }

    fn end_worker(&mut self, kind: WorkerKind) {
        if let Some(mut child) = self.workers.remove(&kind) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Root's copy of the log's head: who has the log does not have this file.
    fn keep_head(&self, head: &str) {
        let path = &self.settings.audit.head_file;
        let sound = head.parse::<telemetry::audit::Head>().is_ok();
        if !sound {
            tracing::error!("the audit log's head is none");
        } else if let Err(error) = private_file::write(path, format!("{head}\n").as_bytes()) {
            tracing::error!(%error, "the audit log's head can not be kept");
        }
    }

    fn say(&self, message: &Control) {
        if let Err(error) = message.send(&self.channel) {
            tracing::error!(%error, "the process with the sockets does not listen");
        }
    }

    /// The listener drains, then the workers end with their channels, or are ended.
    async fn end(&mut self) {
        let _ = Control::End.send(&self.channel);
        let drained = timeout(DRAIN + Duration::from_secs(2), async {
            while let Ok(received) = self.channel.receive().await {
                if let Ok(Control::AuditHead { head }) = Control::from_bytes(&received.body) {
                    self.keep_head(&head);
                }
            }
        });
        let _ = drained.await;
        let _ = self.listener.kill();
        let _ = self.listener.wait();
        for kind in WorkerKind::ALL {
            self.end_worker(kind);
        }
    }
}

enum Step {
    Ready,
    End,
    Other,
}
