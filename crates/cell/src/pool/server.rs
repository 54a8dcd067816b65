//! The server: keeps slots, gives them to callers.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode as FileMode;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with, sockopt,
};

use super::client::spec;
use super::wire::{Answer, Ask, Give, SlotReport, SlotState, Spec};
use crate::channel;
use crate::layer::Layer;
use crate::limits::{
    POOL_ASK, POOL_BUILDING, POOL_CALLERS, POOL_DRAIN, POOL_LEARNED, POOL_PAUSE, POOL_RETRY,
    SLOT_AGE, SLOT_AGE_WITH_NAMES, timespec,
};
use crate::plan::{PlanError, Planned as _};
use crate::policy::{Policy, Whom};
use crate::supervise::{BuildError, Mode};

/// How a server is run.
pub struct PoolOptions<'a> {
    /// Where it listens: a socket for this user alone.
    pub socket: PathBuf,
    /// Parked slots for each policy.
    pub slots: usize,
    /// Policies to keep slots for from the start. Others are learned from what is asked for.
    pub wanted: Vec<Wanted>,
    /// Program and first words by which a slot is started; see [`crate::become_slot`].
    pub starter: (PathBuf, Vec<String>),
    /// Becomes readable when the server should end.
    pub stop: OwnedFd,
    /// Called once it listens.
    pub ready: &'a dyn Fn(),
    /// Told of what does not work, a line each.
    pub note: &'a dyn Fn(&str),
}

/// A policy to keep slots for.
pub struct Wanted {
    /// What its cells may do; with a directory.
    pub policy: Policy,
    /// The Node.js that runs there.
    pub program: PathBuf,
}

/// Serves until it is asked to end, then waits for the commands that run.
///
/// # Errors
///
/// When it can not listen, or a policy's directory or program is not there.
pub fn serve(mut options: PoolOptions<'_>) -> Result<(), BuildError> {
    let listener = open(&options.socket)?;
    let mut specs = Vec::new();
    for Wanted { mut policy, program } in std::mem::take(&mut options.wanted) {
        let dir = policy.dir.as_ref().and_then(|dir| dir.canonicalize().ok());
        policy.dir = dir;
        let spec = spec(policy, program, Mode::Auto, false);
        let spec =
            spec.ok_or_else(|| PlanError::new(Layer::Plan, "a policy's directory is not there"))?;
        specs.push(Kept { spec, learned: false, used: Instant::now(), not_before: None });
    }
    let PoolOptions { socket, slots: each, starter, stop, ready, note, .. } = options;
    let mut server = Server {
        listener,
        specs,
        slots: Vec::new(),
        callers: Vec::new(),
        each,
        starter,
        note,
        ending: None,
        given: None,
        stop,
    };
    ready();
    server.run();
    let _ = std::fs::remove_file(&socket);
    Ok(())
}

/// A socket for this user alone; one that nobody listens on any more is replaced.
fn open(path: &Path) -> Result<OwnedFd, PlanError> {
    let what = || format!("listen on {}", path.display());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let new = || socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
    let address = SocketAddrUnix::new(path).planned(Layer::Plan, what())?;
    let socket = new().planned(Layer::Plan, what())?;
    if path.exists() {
        let probe = new().planned(Layer::Plan, what())?;
        if connect(&probe, &address).is_ok() {
            let what = format_args!("another server listens on {}", path.display());
            return Err(PlanError::new(Layer::Plan, what));
        }
        std::fs::remove_file(path).planned(Layer::Plan, what())?;
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).planned(Layer::Plan, what())?;
    }
    let before = rustix::process::umask(FileMode::from(0o177));
    let bound = bind(&socket, &address);
    rustix::process::umask(before);
    bound.planned(Layer::Plan, what())?;
    listen(&socket, i32::try_from(POOL_CALLERS).unwrap_or(64)).planned(Layer::Plan, what())?;
    Ok(socket)
}

/// A spec that slots are kept for.
struct Kept {
    spec: Spec,
    /// Asked for once, not configured: given up when others are asked for.
    learned: bool,
    used: Instant,
    /// After a failure.
    not_before: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Building,
    Parked,
    Running,
}

/// A slot's process, and the socket to it. Closing the socket ends it.
struct Slot {
    spec: Spec,
    child: Child,
    socket: Option<OwnedFd>,
    state: State,
    born: Instant,
}

impl Slot {
    /// Ended, or told to.
    fn end(&mut self) {
        self.socket = None;
        let _ = self.child.wait();
    }

    fn is_old(&self, now: Instant) -> bool {
        let named = self.spec.policy.connect.iter().any(|one| matches!(one.whom, Whom::Name(_)));
        let age = if named { SLOT_AGE_WITH_NAMES } else { SLOT_AGE };
        self.state == State::Parked && now.duration_since(self.born) > age
    }
}

/// A connection that has not said what it wants.
struct Caller {
    socket: OwnedFd,
    deadline: Instant,
}

struct Server<'a> {
    listener: OwnedFd,
    specs: Vec<Kept>,
    slots: Vec<Slot>,
    callers: Vec<Caller>,
    each: usize,
    starter: (PathBuf, Vec<String>),
    note: &'a dyn Fn(&str),
    /// Since when it is draining.
    ending: Option<Instant>,
    /// When a slot was last given away.
    given: Option<Instant>,
    stop: OwnedFd,
}

/// What can become ready.
#[derive(Debug, Clone, Copy)]
enum Source {
    Stop,
    Listener,
    Slot(usize),
    Caller(usize),
}

impl Server<'_> {
    fn run(&mut self) {
        loop {
            let now = Instant::now();
            self.keep(now);
            if self.ending.is_some_and(|since| {
                self.slots.is_empty() || now.duration_since(since) > POOL_DRAIN
            }) {
                break;
            }
            // From the highest place down, so that removing one does not move the others.
            for source in self.wait().into_iter().rev() {
                match source {
                    Source::Stop => self.asked_to_end(now),
                    Source::Listener => self.accept(now),
                    Source::Slot(at) => self.hear(at, now),
                    Source::Caller(at) => self.answer(at, now),
                }
            }
        }
        self.slots.iter_mut().for_each(Slot::end);
    }

    fn wait(&self) -> Vec<Source> {
        let mut watched = vec![(Source::Stop, PollFd::new(&self.stop, PollFlags::IN))];
        if self.ending.is_none() && self.callers.len() < POOL_CALLERS {
            watched.push((Source::Listener, PollFd::new(&self.listener, PollFlags::IN)));
        }
        for (at, slot) in self.slots.iter().enumerate() {
            if let Some(socket) = &slot.socket {
                watched.push((Source::Slot(at), PollFd::new(socket, PollFlags::IN)));
            }
        }
        for (at, caller) in self.callers.iter().enumerate() {
            watched.push((Source::Caller(at), PollFd::new(&caller.socket, PollFlags::IN)));
        }
        let wait = if self.given.is_some() { POOL_PAUSE } else { POOL_ASK };
        let (sources, mut fds): (Vec<Source>, Vec<PollFd<'_>>) = watched.into_iter().unzip();
        if poll(&mut fds, Some(&timespec(wait))).is_err() {
            return Vec::new();
        }
        let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        ready.map(|(source, _)| source).collect()
    }

    /// The first time what is parked goes and what runs may end; the second time all goes.
    fn asked_to_end(&mut self, now: Instant) {
        let mut record = [0; 128];
        let _ = rustix::io::read(&self.stop, &mut record);
        let again = self.ending.replace(now).is_some();
        self.callers.clear();
        for slot in &mut self.slots {
            if again || slot.state != State::Running {
                slot.end();
            }
        }
        self.slots.retain(|slot| slot.socket.is_some());
    }

    /// Starts what is missing, lets go of what is old or wanted no more.
    fn keep(&mut self, now: Instant) {
        self.callers.retain(|caller| now < caller.deadline);
        if self.ending.is_some() {
            return;
        }
        let specs = &self.specs;
        for slot in &mut self.slots {
            let wanted = specs.iter().any(|kept| kept.spec == slot.spec);
            if slot.is_old(now) || slot.state == State::Parked && !wanted {
                slot.end();
            }
        }
        self.slots.retain(|slot| slot.socket.is_some());
        // What was just given away comes first; building would take its processor.
        if self.given.take_if(|at| now.duration_since(*at) > POOL_PAUSE).is_none()
            && self.given.is_some()
        {
            return;
        }
        for at in 0..self.specs.len() {
            let Some(kept) = self.specs.get(at) else { return };
            if kept.not_before.is_some_and(|when| now < when) {
                continue;
            }
            let spec = kept.spec.clone();
            let idle = |slot: &&Slot| slot.state != State::Running && slot.spec == spec;
            while self.slots.iter().filter(idle).count() < self.each {
                let building = self.slots.iter().filter(|slot| slot.state == State::Building);
                if building.count() >= POOL_BUILDING {
                    return;
                }
                match self.start(&spec) {
                    Ok(slot) => self.slots.push(slot),
                    Err(error) => {
                        self.failed(&spec, &error.to_string(), now);
                        break;
                    }
                }
            }
        }
    }

    fn start(&self, spec: &Spec) -> Result<Slot, PlanError> {
        let what = "start a slot";
        let (here, there) = channel::pair().planned(Layer::Launcher, what)?;
        let (program, words) = &self.starter;
        let child = Command::new(program)
            .args(words)
            .stdin(Stdio::from(there))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the server's terminal is the server's to answer.
            .process_group(0)
            .spawn()
            .planned(Layer::Launcher, what)?;
        channel::send(&here, spec, &[]).planned(Layer::Launcher, what)?;
        let (state, born) = (State::Building, Instant::now());
        Ok(Slot { spec: spec.clone(), child, socket: Some(here), state, born })
    }

    /// A spec whose slot could not be built: given up when it was only learned.
    fn failed(&mut self, spec: &Spec, why: &str, now: Instant) {
        (self.note)(&format!("a slot could not be built: {why}"));
        self.specs.retain(|kept| !(kept.learned && kept.spec == *spec));
        for kept in self.specs.iter_mut().filter(|kept| kept.spec == *spec) {
            kept.not_before = Some(now + POOL_RETRY);
        }
    }

    fn hear(&mut self, at: usize, now: Instant) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Some(socket) = &slot.socket else { return };
        match channel::receive::<SlotReport>(socket) {
            Ok(Some((SlotReport::Ready, _))) => slot.state = State::Parked,
            Ok(Some((SlotReport::Failed(why), _))) => {
                let spec = slot.spec.clone();
                self.failed(&spec, &why, now);
            }
            Ok(None) | Err(_) => {
                let mut slot = self.slots.remove(at);
                slot.end();
                if slot.state == State::Building {
                    let kept = self.specs.iter().find(|kept| kept.spec == slot.spec);
                    if kept.is_some_and(|kept| kept.not_before.is_none_or(|when| when < now)) {
                        self.failed(&slot.spec, "it ended without a word", now);
                    }
                }
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        // The socket's mode says the same; a folder's or a mount's options must not undo it.
        let own = sockopt::socket_peercred(&socket)
            .is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        if own {
            self.callers.push(Caller { socket, deadline: now + POOL_ASK });
        }
    }

    fn answer(&mut self, at: usize, now: Instant) {
        if at >= self.callers.len() {
            return;
        }
        let Caller { socket, .. } = self.callers.remove(at);
        let Ok(Some((ask, streams))) = channel::receive::<Ask>(&socket) else { return };
        let answer = match ask {
            Ask::List => Answer::Slots(self.slots.iter().map(shown).collect()),
            Ask::Run { spec, call } => {
                let parked = |slot: &&mut Slot| slot.state == State::Parked && slot.spec == *spec;
                let slot = self.slots.iter_mut().find(parked).filter(|_| streams.len() == 3);
                let given = slot.is_some_and(|slot| give(slot, &socket, &Give { call }, &streams));
                self.learn(*spec, now);
                if given {
                    self.given = Some(now);
                    return;
                }
                Answer::Cold
            }
        };
        let _ = channel::send(&socket, &answer, &[]);
    }

    /// Remembers what was asked for, and forgets what was asked for longest ago.
    fn learn(&mut self, spec: Spec, now: Instant) {
        if let Some(kept) = self.specs.iter_mut().find(|kept| kept.spec == spec) {
            kept.used = now;
            return;
        }
        if self.specs.iter().filter(|kept| kept.learned).count() >= POOL_LEARNED {
            let learned = self.specs.iter().enumerate().filter(|(_, kept)| kept.learned);
            if let Some((oldest, _)) = learned.min_by_key(|(_, kept)| kept.used) {
                self.specs.remove(oldest);
            }
        }
        self.specs.push(Kept { spec, learned: true, used: now, not_before: None });
    }
}

/// Passes a caller on. The caller is told first: afterwards only the slot speaks to it.
fn give(slot: &mut Slot, caller: &OwnedFd, give: &Give, streams: &[OwnedFd]) -> bool {
    let Some(socket) = &slot.socket else { return false };
    if channel::send(caller, &Answer::Taken, &[]).is_err() {
        return true;
    }
    let mut descriptors: Vec<_> = streams.iter().map(|fd| fd.as_fd()).collect();
    descriptors.push(caller.as_fd());
    slot.state = State::Running;
    // When it fails the caller sees its connection close.
    let _ = channel::send(socket, give, &descriptors);
    true
}

fn shown(slot: &Slot) -> SlotState {
    let state = match slot.state {
        State::Building => "building",
        State::Parked => "parked",
        State::Running => "running",
    };
    let dir = slot.spec.policy.dir.clone().unwrap_or_default();
    SlotState { pid: slot.child.id(), state: state.to_owned(), dir }
}
