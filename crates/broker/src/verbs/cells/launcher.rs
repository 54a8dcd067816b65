//! The process that starts cells: what builds one can be neither under Landlock nor without rights,
//! because it mounts. So it is apart from the worker, reads a declared name or the number of a cell's
//! process and nothing else, and no byte of a peer reaches it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use broker_api::{Code, Refusal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use super::{ENVIRONMENT, failed, started};
use crate::config::{CellSettings, Settings};
use crate::confine::{Calls, Confinement, confine};
use crate::ipc::{Channel, ChannelError, Packet, Refused};
use crate::limits::{CELL_SETTLE, CELL_STOP, CELL_TICK};
use crate::worker::WorkerError;

/// A cell's process. A number given anew has another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// Of `/proc/PID/stat`, in the kernel's ticks.
    pub(super) started: u64,
}

/// What the worker asks for.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Start(String),
    End(Process),
}

#[derive(Debug, Serialize, Deserialize)]
struct Reply(Result<Option<Process>, Refused>);

impl Packet for Order {}
impl Packet for Reply {}

/// The worker's end.
pub(super) struct Launcher(Channel);

impl Launcher {
    /// Tells the process at the other end what is declared.
    pub(super) fn new(channel: Channel, settings: &Settings) -> Result<Self, ChannelError> {
        settings.send(&channel)?;
        Ok(Self(channel))
    }

    /// Starts a declared cell.
    pub(super) fn start(&self, name: &str) -> Result<Process, Refusal> {
        let found = self.ask(&Order::Start(name.to_owned()))?;
        found.ok_or_else(|| failed("the launcher says nothing"))
    }

    /// Ends a cell and everything in it.
    pub(super) fn end(&self, process: Process) -> Result<(), Refusal> {
        self.ask(&Order::End(process)).map(|_| ())
    }

    fn ask(&self, order: &Order) -> Result<Option<Process>, Refusal> {
        let reply = order.send(&self.0).and_then(|()| self.0.receive());
        let Reply(outcome) =
            reply.and_then(|reply| Reply::from_bytes(&reply.body)).map_err(failed)?;
        outcome.map_err(Into::into)
    }
}

/// Serves until the worker is gone. The first message is the settings.
pub(crate) fn run(channel: &Channel) -> Result<(), WorkerError> {
    let settings = Settings::from_bytes(&channel.receive()?.body)?;
    confine(&confinement(), &settings.allow_degraded)?;
    serve(channel, &settings)
}

/// What builds a cell needs everything, and gives it up itself.
fn confinement() -> Confinement {
    Confinement {
        capabilities: CapabilitySet::all(),
        landlock: false,
        calls: Calls::Launcher,
        ..Confinement::default()
    }
}

/// What [`run`] does once it is confined.
pub(super) fn serve(channel: &Channel, settings: &Settings) -> Result<(), WorkerError> {
    let (program, folder) = (settings.cell_launcher.clone(), settings.state.join("cells"));
    let mut starts = Starts { program, folder, declared: &settings.cells, children: Vec::new() };
    loop {
        starts.reap();
        if !starts.children.is_empty() && !readable(channel, CELL_TICK) {
            continue;
        }
        let received = match channel.receive() {
            Ok(received) => received,
            Err(ChannelError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let outcome = match Order::from_bytes(&received.body)? {
            Order::Start(name) => starts.start(&name).map(Some),
            Order::End(process) => starts.end(process).map(|()| None),
        };
        Reply(outcome.map_err(Into::into)).send(channel)?;
    }
}

struct Starts<'a> {
    program: PathBuf,
    folder: PathBuf,
    declared: &'a BTreeMap<String, CellSettings>,
    /// Whose end this process has to take notice of.
    children: Vec<Child>,
}

impl Starts<'_> {
    fn start(&mut self, name: &str) -> Result<Process, Refusal> {
        let cell = self.declared.get(name).filter(|cell| cell.unit.is_none());
        let cell = cell.ok_or_else(|| failed("no cell of this name is declared"))?;
        let log = self.folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).map_err(failed)?;
        output.set_len(0).map_err(failed)?;
        let mut command = Command::new(&self.program);
        command
            .args(arguments(cell))
            .env_clear()
            .envs(ENVIRONMENT.iter().copied())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", self.program.display())))?;
        if let Some(code) = ends_at_once(&mut child).map_err(failed)? {
            let text = format!("the cell ended at once ({code}): {}", last_words(&log));
            return Err(Refusal::new(Code::Unavailable, text));
        }
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let started = started(pid).ok_or_else(|| failed("the cell has ended"))?;
        self.children.push(child);
        Ok(Process { pid, started })
    }

    /// Asks the cell's supervisor to end it, which has the policy's grace for it; then ends the
    /// group. Without its supervisor a cell ends.
    fn end(&mut self, process: Process) -> Result<(), Refusal> {
        let Some(descriptor) = open(process) else { return Ok(()) };
        let leader = Pid::from_raw(process.pid);
        // Every cell was made the leader of a group; nothing else is ended by its number.
        if leader.is_none() || rustix::process::getpgid(leader).ok() != leader {
            return Err(failed("not the process of a cell"));
        }
        let _ = pidfd_send_signal(&descriptor, Signal::TERM);
        let asked = readable(&descriptor, CELL_STOP);
        // What it left behind, too.
        if let Some(leader) = leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        if !asked && !readable(&descriptor, CELL_STOP) {
            return Err(Refusal::new(Code::HandlerTimeout, "the cell does not end"));
        }
        Ok(())
    }

    fn reap(&mut self) {
        self.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

/// The launcher's fixed words.
pub(super) fn arguments(cell: &CellSettings) -> Vec<String> {
    let mut words = vec!["cell".to_owned(), "run".to_owned(), "--policy".to_owned()];
    words.push(cell.policy.display().to_string());
    if let Some(dir) = &cell.dir {
        words.extend(["--dir".to_owned(), dir.display().to_string()]);
    }
    words.push("--".to_owned());
    words.extend(cell.command.iter().cloned());
    words
}

/// Waits a moment: a policy that does not hold, or a layer that is missing, shows at once.
fn ends_at_once(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    const STEP: Duration = Duration::from_millis(10);
    let until = Instant::now() + CELL_SETTLE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        sleep(STEP);
    }
}

/// The end of what it wrote, as one line.
fn last_words(log: &Path) -> String {
    const MOST: u64 = 1024;
    let mut text = String::new();
    let read = rustix::fs::open(log, OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    if let Ok(fd) = read {
        let _ = File::from(fd).take(MOST).read_to_string(&mut text);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The process, if its number is still its own.
fn open(process: Process) -> Option<OwnedFd> {
    let descriptor = pidfd_open(Pid::from_raw(process.pid)?, PidfdFlags::empty()).ok()?;
    // Looked at after it was opened: the descriptor and the time are then of the same process.
    (started(process.pid)? == process.started).then_some(descriptor)
}

/// Waits for bytes, or for the end of a process.
fn readable(fd: impl std::os::fd::AsFd, time: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&time))).is_ok_and(|ready| ready > 0)
}
