//! The caller's side: ask for a slot, then follow it to its end.

use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::FdFlags;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};

use super::call;
use super::wire::{Answer, Ask, SlotState, Spec, Totals};
use crate::blueprint::ASK_TERMINATE;
use crate::limits::{IDLE, POOL_ANSWER, timespec};
use crate::supervise::{Mode, OnDenial, Request, stop_signals};
use crate::{channel, launch, plan, sys};

/// Exit code of a cell that ended with its server.
const LOST: u8 = 125;
/// The word by which the small program is told to follow.
pub(crate) const FOLLOW: &str = "follow";

/// A slot that has taken a command.
#[derive(Debug)]
pub struct Warm {
    connection: OwnedFd,
}

/// Asks the server at `socket` for a slot that fits, and gives it this process's standard streams.
/// None: there is no server, none of its slots fits, or the command is not one for a slot. Nothing
/// has run then.
#[must_use]
pub fn ask(socket: &Path, request: &Request<'_>) -> Option<Warm> {
    // What is cheap to find out comes first: most machines have no server.
    call::of(request.command)?;
    let connection = open(socket)?;
    let (spec, call) = wanted(request)?;
    let streams = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = [streams.0.as_fd(), streams.1.as_fd(), streams.2.as_fd()];
    channel::send(&connection, &Ask::Run { spec: Box::new(spec), call }, &streams).ok()?;
    matches!(answer(&connection)?, Answer::Taken).then_some(Warm { connection })
}

/// The slots of the server at `socket`, and what it has counted; none when no server answers.
#[must_use]
pub fn slots(socket: &Path) -> Option<(Vec<SlotState>, Totals)> {
    let connection = open(socket)?;
    channel::send(&connection, &Ask::List, &[]).ok()?;
    match answer(&connection)? {
        Answer::Slots(slots, totals) => Some((slots, totals)),
        _ => None,
    }
}

/// What the request needs of a slot.
fn wanted(request: &Request<'_>) -> Option<(Spec, super::Call)> {
    let policy = request.policy;
    let cold = !policy.publish.is_empty() || !request.listeners.is_empty();
    if cold || request.stop_after.is_some() || request.record_paths {
        return None;
    }
    let mut call = call::of(request.command)?;
    let dir = policy.dir.as_ref()?.canonicalize().ok()?;
    let program = plan::find_program(request.command.first()?, &dir, &request.search)?;
    if program.file_name()? != "node" || program.starts_with(&dir) {
        return None;
    }
    let mut policy = policy.clone();
    call.environment = call::without_late(&mut policy)?;
    policy.dir = Some(dir);
    let spec = spec(policy, program, request.mode, request.on_denial.is_some())?;
    Some((spec, call))
}

/// The spec of a policy whose directory is absolute.
pub(super) fn spec(
    policy: crate::policy::Policy,
    program: std::path::PathBuf,
    mode: Mode,
    audit: bool,
) -> Option<Spec> {
    let identity = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    let identities = [identity(policy.dir.as_deref()?)?, identity(&program)?];
    let root = rustix::process::geteuid().is_root();
    let unprivileged = match mode {
        Mode::Auto => !root,
        Mode::Privileged => false,
        Mode::Unprivileged => true,
    };
    Some(Spec { policy, unprivileged, program, identities, audit })
}

/// A connection to a server that is this very user's.
fn open(path: &Path) -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()?;
    connect(&socket, &SocketAddrUnix::new(path).ok()?).ok()?;
    let peer = sockopt::socket_peercred(&socket).ok()?;
    rustix::io::ioctl_fionbio(&socket, false).ok()?;
    (peer.uid == rustix::process::geteuid()).then_some(socket)
}

fn answer(connection: &OwnedFd) -> Option<Answer> {
    let wait = timespec(POOL_ANSWER);
    let mut watched = [PollFd::new(connection, PollFlags::IN)];
    if poll(&mut watched, Some(&wait)).ok()? == 0 {
        return None;
    }
    channel::receive::<Answer>(connection).ok()?.map(|(answer, _)| answer)
}

impl Warm {
    /// Follows the slot for [`IDLE`], in which most commands end: another program's start would be
    /// a good part of what they take. None when it still runs then.
    #[must_use]
    pub fn follow_at_first(&self) -> Option<u8> {
        follow_for(self, None, Some(IDLE))
    }

    /// Gives way to the small program, which follows the slot to its end: a command that runs for
    /// hours should not hold a large one. Returns only when that failed.
    #[must_use]
    pub fn become_follower(self, launcher: &Path) -> std::io::Error {
        if let Err(error) = rustix::io::fcntl_setfd(&self.connection, FdFlags::empty()) {
            return error.into();
        }
        let number = self.connection.as_raw_fd().to_string();
        Command::new(launcher).arg0(launch::NAME).args([FOLLOW, &number]).env_clear().exec()
    }
}

/// Until the slot has ended: passes a wish to end on, tells of denials, and returns the exit code.
/// What the caller should read goes to stderr.
#[must_use]
pub fn follow(warm: &Warm, on_denial: Option<&OnDenial<'_>>) -> u8 {
    follow_for(warm, on_denial, None).unwrap_or(LOST)
}

/// None when nothing came for so long.
fn follow_for(
    warm: &Warm,
    on_denial: Option<&OnDenial<'_>>,
    patience: Option<Duration>,
) -> Option<u8> {
    let Ok(signals) = stop_signals() else { return Some(LOST) };
    let patience = patience.map(timespec);
    loop {
        let mut watched =
            [PollFd::new(&warm.connection, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut watched, patience.as_ref()) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(_) => continue,
        }
        let [said, signalled] = watched.map(|one| one.revents());
        if !signalled.is_empty() {
            let mut record = [0; 128];
            let _ = rustix::io::read(&signals, &mut record);
            let _ = rustix::io::write(&warm.connection, &[ASK_TERMINATE]);
        }
        if said.is_empty() {
            continue;
        }
        match channel::receive::<Answer>(&warm.connection) {
            Ok(Some((Answer::Denied(denial), _))) => {
                if let Some(tell) = on_denial {
                    tell(&denial.into());
                }
            }
            Ok(Some((Answer::Ended { code, notes }, _))) => {
                notes.iter().for_each(|note| say(note));
                return Some(code);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                say("layer launcher: the server of the slot has ended, and the slot with it");
                return Some(LOST);
            }
        }
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "proxward: cell: {text}");
}

/// In the small program: follows the connection with this number.
pub(crate) fn follow_number(number: &str) -> ExitCode {
    let connection = number.parse::<RawFd>().ok().and_then(|one| sys::descriptor::take(one).ok());
    let Some(connection) = connection else { return ExitCode::from(2) };
    ExitCode::from(follow(&Warm { connection }, None))
}
