//! From the start of the launcher to the end of everything it made.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::calls::Calls;
use super::denial::Denials;
use super::output::{Rate, Stream};
use super::prepare::Prepared;
use super::process::Process;
use super::{BuildError, End, Outcome, resolver};
use crate::blueprint::{ASK_KILL, ASK_TERMINATE, Report};
use crate::channel;
use crate::launch;
use crate::layer::Layer;
use crate::limits::{BUILD_TIME, OUTPUT_DRAIN, WATCH_INTERVAL};
use crate::plan::{PlanError, Planned as _};
use crate::pool::{Handover, Parking};
use crate::sys::memory::Wait;
use crate::sys::process::{Holder, Side, clone};

/// Bytes of our input that are carried at once; a pipe that is ready takes them.
const INPUT_AT_ONCE: usize = 4096;

/// How the launcher comes to life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Launch {
    /// As a program of its own: the supervisor may have threads.
    Program,
    /// As a copy of this process, which is small, is the launcher's program, and has one thread.
    Copy,
}

/// Ends of the pipes and of the channel that the supervisor keeps.
struct Ends {
    control: OwnedFd,
    input: OwnedFd,
    streams: [OwnedFd; 2],
}

pub(super) fn tend(
    mut prepared: Prepared,
    denials: &Denials<'_>,
    launch: Launch,
    parking: Option<&Parking>,
) -> Result<Outcome, BuildError> {
    let (control, remote) = channel::pair().planned(Layer::Launcher, "make a socket")?;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).planned(Layer::Launcher, "make a pipe");
    let (input, output, error) = (pipe()?, pipe()?, pipe()?);
    let ends = Ends { control, input: input.1, streams: [output.0, error.0] };
    let mut handed = vec![input.0, output.1, error.1];
    handed.append(&mut prepared.listeners);
    let mut handover = None;
    if parking.is_some() {
        let (calls, ready) = (pipe()?, pipe()?);
        handed.extend([calls.0, ready.1]);
        prepared.blueprint.listeners += 2;
        handover = Some(Handover { calls: calls.1, ready: ready.0 });
    }
    handed.extend(std::mem::take(&mut prepared.handed).into_descriptors());
    let network = prepared.ahead.as_ref().and_then(arrived);
    let child = match launch {
        Launch::Program => start(&prepared, &ends, remote, handed)?,
        Launch::Copy => match clone(0).planned(Layer::Launcher, "start a process")? {
            Side::Parent(pid, _) => {
                drop((remote, handed, network));
                pid
            }
            Side::Child => {
                // What is kept open here would never be seen to end.
                let Prepared { blueprint, published, stop, .. } = prepared;
                drop((ends, published, stop, handover));
                launch::keep(remote, &blueprint, handed, network)
            }
        },
    };
    // A larger program has more to do than wait for this cell.
    let mut wait = if launch == Launch::Copy { Wait::of_this_process() } else { Wait::plain() };
    let armed = AtomicBool::new(!prepared.blueprint.filter.audit);
    let over = AtomicBool::new(false);
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let result = std::thread::scope(|scope| {
        let now = Instant::now();
        let [output, error] = ends.streams;
        let mut cell = Cell {
            prepared: &prepared,
            denials,
            armed: &armed,
            over: &over,
            control: &ends.control,
            input: Some(ends.input),
            streams: [Stream::new(output, stdout.as_fd()), Stream::new(error, stderr.as_fd())],
            rate: Rate::new(&prepared.limits, now),
            process: None,
            // Of a command that had no other process, its own status says how it went.
            leaves_early: launch == Launch::Copy && !prepared.blueprint.filter.subprocess,
            parking,
            handover,
            state: State { began: now, ..State::default() },
        };
        let outcome = cell.tend(scope, stdin.as_fd(), &mut wait);
        over.store(true, Ordering::Release);
        outcome.map(|outcome| (outcome, cell.state.left))
    });
    drop(ends.control);
    let left_early = matches!(result, Ok((_, false)));
    if !left_early {
        let _ = waitpid(Some(child), WaitOptions::empty());
    }
    result.map(|(outcome, _)| outcome)
}

/// The network namespace that was made ahead. Its holder ends now and is waited for later. None when
/// it could not be made: the launcher makes one, or says why not.
fn arrived((holder, ready): &(Holder, OwnedFd)) -> Option<OwnedFd> {
    let told = rustix::io::read(ready, &mut [0; 1]) == Ok(1);
    let network = told.then(|| holder.namespace("net").ok()).flatten();
    holder.end();
    network
}

/// Starts the launcher's program and tells it what to build.
fn start(
    prepared: &Prepared,
    ends: &Ends,
    remote: OwnedFd,
    handed: Vec<OwnedFd>,
) -> Result<Pid, PlanError> {
    // By descriptor: the path may lie where this user can no longer go.
    let child = Command::new(format!("/proc/self/fd/{}", prepared.launcher.as_raw_fd()))
        .arg0(launch::NAME)
        .env_clear()
        .stdin(Stdio::from(remote))
        .stdout(Stdio::null())
        .spawn()
        .planned(Layer::Launcher, "start the launcher")?;
    let borrowed: Vec<BorrowedFd<'_>> = handed.iter().map(|fd| fd.as_fd()).collect();
    channel::send(&ends.control, &prepared.blueprint, &borrowed)
        .planned(Layer::Launcher, "tell the launcher")?;
    // Only the command's own copies count from here on.
    drop(handed);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| PlanError::new(Layer::Launcher, "the launcher has no process id"))
}

/// What is known of a cell that runs.
#[derive(Debug)]
struct State {
    began: Instant,
    failed: Option<BuildError>,
    missing: Vec<(Layer, String)>,
    ended: Option<(Option<i32>, Option<i32>)>,
    gone: Option<u64>,
    /// The launcher's end of the channel is closed.
    left: bool,
    timed_out: bool,
    over_memory: bool,
    asked_to_end: Option<Instant>,
    /// The command has said that it waits for a caller.
    parked: bool,
    killed: bool,
    last_progress: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            failed: None,
            missing: Vec::new(),
            ended: None,
            gone: None,
            left: false,
            timed_out: false,
            over_memory: false,
            asked_to_end: None,
            parked: false,
            killed: false,
            last_progress: None,
        }
    }
}

struct Cell<'a> {
    prepared: &'a Prepared,
    denials: &'a Denials<'a>,
    armed: &'a AtomicBool,
    /// Set when threads should end that nothing else tells.
    over: &'a AtomicBool,
    control: &'a OwnedFd,
    input: Option<OwnedFd>,
    streams: [Stream<'a>; 2],
    rate: Rate,
    process: Option<Process>,
    /// Does it end when the command has ended by itself, and leave tidying up to the launcher?
    leaves_early: bool,
    parking: Option<&'a Parking>,
    /// There while the command waits for a caller.
    handover: Option<Handover>,
    state: State,
}

/// What can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Control,
    Stop,
    /// The command says that it waits.
    Ready,
    /// The server has a caller for it, or is gone.
    Server,
    /// The caller of a command that waited: asks it to end, or is gone.
    Client,
    Input,
    InputSink,
    Output(usize),
    OutputSink(usize),
}

impl<'a> Cell<'a> {
    fn tend<'scope>(
        &mut self,
        scope: &'scope std::thread::Scope<'scope, '_>,
        stdin: BorrowedFd<'_>,
        wait: &mut Wait,
    ) -> Result<Outcome, BuildError>
    where
        'a: 'scope,
    {
        let mut input_ready = false;
        while !self.is_over() {
            let (sources, mut watched) = self.watched(stdin, input_ready);
            if wait.poll(&mut watched, self.next_look()).is_err() {
                continue;
            }
            let ready = sources.into_iter().zip(&watched);
            let ready: Vec<Source> = ready
                .filter_map(|(source, fd)| (!fd.revents().is_empty()).then_some(source))
                .collect();
            let now = Instant::now();
            for source in ready {
                match source {
                    Source::Control => self.hear(scope),
                    Source::Stop => self.ask_to_end(now),
                    Source::Ready => self.is_ready(),
                    Source::Server => self.hear_server(now),
                    Source::Client => self.hear_client(now),
                    Source::Input => input_ready = true,
                    Source::InputSink => {
                        input_ready = false;
                        self.carry_input(stdin);
                    }
                    Source::Output(at) => {
                        let rate = &mut self.rate;
                        if let Some(stream) = self.streams.get_mut(at) {
                            stream.read(rate, now);
                        }
                    }
                    Source::OutputSink(at) => {
                        let wrote = self.streams.get_mut(at).is_some_and(Stream::write);
                        if wrote {
                            self.state.last_progress = Some(now);
                        }
                    }
                }
            }
            self.watch(now);
        }
        self.outcome()
    }

    /// The launcher is through, or has nothing to say any more, and what the command wrote is out or
    /// nobody takes it.
    fn is_over(&self) -> bool {
        let by_itself = matches!(self.state.ended, Some((Some(_), _)));
        let through = self.state.left || self.leaves_early && by_itself;
        let since = self.state.last_progress.unwrap_or(self.state.began);
        let written = self.streams.iter().all(Stream::is_done);
        through && (written || since.elapsed() > OUTPUT_DRAIN)
    }

    /// What may become ready, and how it is asked for.
    fn watched<'b>(
        &'b self,
        stdin: BorrowedFd<'b>,
        input_ready: bool,
    ) -> (Vec<Source>, Vec<PollFd<'b>>) {
        let mut watched: Vec<(Source, PollFd<'_>)> = Vec::with_capacity(8);
        if !self.state.left {
            watched.push((Source::Control, PollFd::new(self.control, PollFlags::IN)));
        }
        if let Some(stop) = self.prepared.stop.as_ref().filter(|_| !self.state.killed) {
            watched.push((Source::Stop, PollFd::new(stop, PollFlags::IN)));
        }
        if let Some(parking) = self.parking.filter(|_| !self.state.killed) {
            watched.push((Source::Server, PollFd::new(&parking.server, PollFlags::IN)));
            if let Some(client) = parking.client() {
                watched.push((Source::Client, PollFd::new(client, PollFlags::IN)));
            }
        }
        if let Some(handover) = &self.handover {
            if !self.state.parked {
                watched.push((Source::Ready, PollFd::new(&handover.ready, PollFlags::IN)));
            }
            // What it writes before it has a caller waits for the caller.
            return watched.into_iter().unzip();
        }
        match &self.input {
            Some(sink) if input_ready => {
                watched.push((Source::InputSink, PollFd::new(sink, PollFlags::OUT)));
            }
            Some(_) => {
                watched.push((Source::Input, PollFd::from_borrowed_fd(stdin, PollFlags::IN)));
            }
            None => {}
        }
        for (at, stream) in self.streams.iter().enumerate() {
            if let Some((fd, events)) = stream.source() {
                watched.push((Source::Output(at), PollFd::from_borrowed_fd(fd, events)));
            }
            if let Some((fd, events)) = stream.sink() {
                watched.push((Source::OutputSink(at), PollFd::from_borrowed_fd(fd, events)));
            }
        }
        watched.into_iter().unzip()
    }

    /// When something has to be looked at although nothing happens.
    fn next_look(&self) -> Option<Duration> {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut at = |when: Instant| next = Some(next.map_or(when, |next| next.min(when)));
        let state = &self.state;
        if self.process.is_none() || state.ended.is_some() || state.failed.is_some() {
            at(now + Duration::from_secs(1));
        }
        if state.ended.is_none() {
            if let Some(timeout) =
                self.prepared.limits.timeout.filter(|_| state.asked_to_end.is_none())
                && self.handover.is_none()
            {
                at(state.began + timeout.0);
            }
            if let Some(asked) = state.asked_to_end.filter(|_| !state.killed) {
                at(asked + self.prepared.limits.grace.0);
            }
            // What waits for a caller uses nothing that would have to be watched.
            let waits = state.parked && self.handover.is_some();
            let watched = self.prepared.watch_memory || self.prepared.watch_cpu;
            if self.process.is_some() && watched && !waits {
                at(now + WATCH_INTERVAL);
            }
        }
        next.map(|next| next.saturating_duration_since(now))
    }

    /// What the launcher says.
    fn hear<'scope>(&mut self, scope: &'scope std::thread::Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        let Ok(Some((report, mut descriptors))) = channel::receive::<Report>(self.control) else {
            self.state.left = true;
            return;
        };
        match report {
            Report::Failed { layer, what } => {
                self.state.failed.get_or_insert(BuildError { layer, what });
            }
            Report::Missing { layer, what } => {
                self.denials.record("layer", format!("{layer}: {what}"));
                self.state.missing.push((layer, what));
            }
            Report::Process => {
                self.process = descriptors.pop().and_then(Process::new);
                self.state.began = Instant::now();
            }
            Report::Resolver => {
                let observer = self.prepared.observer.as_deref();
                if let Some((socket, observer)) = descriptors.pop().zip(observer) {
                    let over = self.over;
                    scope.spawn(move || resolver::serve(&socket, observer, over));
                }
            }
            Report::Listener => {
                let command = self.process.as_ref().and_then(Process::pidfd);
                let calls = descriptors.pop().zip(command).and_then(|(listener, command)| {
                    Calls::new(listener, command, self.prepared, self.denials, self.armed).ok()
                });
                match calls {
                    Some(calls) => drop(scope.spawn(|| calls.serve())),
                    None => self.end_now(),
                }
            }
            Report::Armed => self.armed.store(true, Ordering::Release),
            Report::Ended { code, signal } => self.state.ended = Some((code, signal)),
            Report::Gone { out_of_memory } => {
                self.state.gone = Some(out_of_memory);
                self.input = None;
            }
        }
    }

    /// Time and what no control group limits.
    fn watch(&mut self, now: Instant) {
        let limits = &self.prepared.limits;
        if self.state.ended.is_some() {
            return;
        }
        if self.process.is_none() && now.duration_since(self.state.began) > BUILD_TIME {
            return self.end_now();
        }
        let over = limits.timeout.is_some_and(|time| now >= self.state.began + time.0)
            && self.handover.is_none();
        if over && self.state.asked_to_end.is_none() {
            self.state.timed_out = true;
            let time = limits.timeout.map_or_else(String::new, |time| time.to_string());
            self.denials.record("timeout", time);
            self.ask_to_end(now);
        }
        if self.state.asked_to_end.is_some_and(|asked| now >= asked + limits.grace.0) {
            self.end_now();
        }
        let Some(process) = &mut self.process else { return };
        if let Some(cpus) = limits.cpus.filter(|_| self.prepared.watch_cpu) {
            process.share(cpus, now);
        }
        if self.prepared.watch_memory && process.memory() > limits.memory.0 {
            self.state.over_memory = true;
            self.end_now();
        }
    }

    fn ask_to_end(&mut self, now: Instant) {
        if self.state.asked_to_end.is_some() {
            return self.end_now();
        }
        self.state.asked_to_end = Some(now);
        let _ = rustix::io::write(self.control, &[ASK_TERMINATE]);
    }

    fn end_now(&mut self) {
        // What it has written goes its way now.
        self.handover = None;
        if !self.state.killed {
            self.state.killed = true;
            let _ = rustix::io::write(self.control, &[ASK_KILL]);
        }
    }

    /// The command waits, or has ended instead.
    fn is_ready(&mut self) {
        let mut byte = [0];
        let Some(handover) = &self.handover else { return };
        match (rustix::io::read(&handover.ready, &mut byte), self.parking) {
            (Ok(1), Some(parking)) => {
                self.state.parked = true;
                parking.ready();
            }
            _ => self.end_now(),
        }
    }

    /// A caller for the command; its time counts from here. Without the server there is no slot.
    fn hear_server(&mut self, now: Instant) {
        let handover = self.handover.take().filter(|_| self.state.parked);
        let taken = handover.zip(self.parking).and_then(|(handover, to)| to.take(handover));
        match taken {
            Some(()) => self.state.began = now,
            None => self.end_now(),
        }
    }

    fn hear_client(&mut self, now: Instant) {
        let mut asked = [0; 16];
        match self.parking.and_then(Parking::client).map(|fd| rustix::io::read(fd, &mut asked)) {
            Some(Ok(1..)) => self.ask_to_end(now),
            _ => self.end_now(),
        }
    }

    fn carry_input(&mut self, stdin: BorrowedFd<'_>) {
        let mut bytes = [0; INPUT_AT_ONCE];
        let Some(sink) = &self.input else { return };
        let carried = match rustix::io::read(stdin, &mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(count) => rustix::io::write(sink, bytes.get(..count).unwrap_or_default()).is_ok(),
        };
        if !carried {
            self.input = None;
        }
    }

    fn outcome(&mut self) -> Result<Outcome, BuildError> {
        let state = &mut self.state;
        if let Some(failed) = state.failed.take() {
            return Err(failed);
        }
        let out_of_memory = state.over_memory || state.gone.is_some_and(|kills| kills > 0);
        let end = match state.ended {
            _ if state.timed_out => End::TimedOut,
            _ if out_of_memory => End::OutOfMemory,
            Some((Some(code), _)) => End::Exited(code),
            Some((None, Some(signal))) => End::Signalled(signal),
            // Ended from outside: by us, or the launcher was.
            _ if state.killed => End::Signalled(libc::SIGKILL),
            _ => {
                let what = "the launcher ended without a word".to_owned();
                return Err(BuildError { layer: Layer::Launcher, what });
            }
        };
        if end == End::OutOfMemory {
            self.denials.record("memory", self.prepared.limits.memory.to_string());
        }
        if self.rate.dropped > 0 {
            self.denials.record("output", format!("{} bytes dropped", self.rate.dropped));
        }
        Ok(Outcome {
            end,
            missing: std::mem::take(&mut state.missing),
            dropped_output: self.rate.dropped,
            denials: self.denials.count(),
        })
    }
}
