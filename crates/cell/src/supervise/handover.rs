//! From a large program to the small one: what was prepared is written down, and read there.
//!
//! The supervisor lives as long as its cell. As `proxward` it would hold megabytes for that, and
//! starting a launcher beside it costs another program's start.

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;
use serde::{Deserialize, Serialize};

use super::calls::Published;
use super::denial::{Denial, Denials, OnDenial};
use super::prepare::{self, Prepared};
use super::rules::Rules;
use super::tend::{Launch, tend};
use super::{BuildError, End, Mode, Outcome, Request, stop_signals};
use crate::blueprint::Blueprint;
use crate::launch;
use crate::layer::Layer;
use crate::plan::{Handed, Names, PlanError, Planned as _};
use crate::policy::Policy;
use crate::pool::{self, Parking};
use crate::sys;
use crate::sys::process::Holder;

/// Exit code of a cell that could not be built.
const NOT_BUILT: u8 = 125;
/// Longest text that is taken over.
const LENGTH: u64 = 1 << 20;

/// What was prepared, with descriptors by number.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    blueprint: Blueprint,
    policy: Policy,
    names: Names,
    handed: Vec<RawFd>,
    listeners: Vec<RawFd>,
    published: Vec<(u16, RawFd)>,
    may_listen: Vec<u64>,
    /// Process and descriptor.
    ahead: Option<(i32, RawFd)>,
    launcher: RawFd,
    park: Option<RawFd>,
    watch_memory: bool,
    watch_cpu: bool,
}

/// In privileged mode, whose cells have no user namespace that the network would have to belong to:
/// it is made beside everything that comes before the cell. When it can not be, the launcher makes
/// one, or says why not.
pub(super) fn network_ahead(mode: Mode) -> Option<(Holder, OwnedFd)> {
    let privileged = mode != Mode::Unprivileged && rustix::process::geteuid().is_root();
    privileged.then(|| sys::process::network_ahead().ok()).flatten()
}

/// Gives way. Returns only when that failed.
pub(super) fn give(prepared: Prepared) -> PlanError {
    match write(prepared) {
        Err(error) => error,
        Ok((program, notes)) => {
            let error = Command::new(format!("/proc/self/fd/{program}"))
                .arg0(launch::NAME)
                .arg(notes.as_raw_fd().to_string())
                .env_clear()
                .exec();
            PlanError::new(Layer::Launcher, format_args!("start the launcher: {error}"))
        }
    }
}

fn write(prepared: Prepared) -> Result<(RawFd, OwnedFd), PlanError> {
    let what = "hand over to the launcher";
    let (policy, names) = prepared.source;
    let keep = |fd: OwnedFd| {
        rustix::io::fcntl_setfd(&fd, FdFlags::empty()).planned(Layer::Launcher, what)?;
        // The number is what goes on; the program that would close it ends.
        Ok(std::os::fd::IntoRawFd::into_raw_fd(fd))
    };
    let all = |fds: Vec<OwnedFd>| fds.into_iter().map(keep).collect::<Result<Vec<_>, PlanError>>();
    let published = prepared.published.into_iter();
    let launcher = std::os::fd::IntoRawFd::into_raw_fd(prepared.launcher);
    let written = Written {
        blueprint: prepared.blueprint,
        policy,
        names,
        handed: all(prepared.handed.into_descriptors())?,
        listeners: all(prepared.listeners)?,
        published: published
            .map(|one| Ok((one.port, keep(one.socket)?)))
            .collect::<Result<_, PlanError>>()?,
        may_listen: prepared.may_listen,
        ahead: prepared
            .ahead
            .map(|(holder, ready)| {
                let number = holder.number();
                // It is waited for by the program that comes.
                std::mem::forget(holder);
                Ok((number, keep(ready)?))
            })
            .transpose()?,
        launcher,
        park: prepared.park.map(keep).transpose()?,
        watch_memory: prepared.watch_memory,
        watch_cpu: prepared.watch_cpu,
    };
    let notes = rustix::fs::memfd_create("proxward-cell", MemfdFlags::empty());
    let mut notes = File::from(notes.planned(Layer::Launcher, what)?);
    let text = serde_json::to_vec(&written).planned(Layer::Launcher, what)?;
    notes.write_all(&text).planned(Layer::Launcher, what)?;
    notes.rewind().planned(Layer::Launcher, what)?;
    Ok((launcher, notes.into()))
}

/// Takes over what a supervisor wrote down under this number, and tends that cell to its end.
pub(crate) fn take(number: &str) -> ExitCode {
    let result = read(number).and_then(|mut prepared| match prepared.park.take() {
        None => tend(prepared, &Denials::new(String::new(), None), Launch::Copy, None),
        Some(server) => Ok(take_parked(prepared, &Parking::new(server))),
    });
    match result {
        Ok(outcome) => finish(&outcome),
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(NOT_BUILT)
        }
    }
}

/// As [`give`], for a command that waits until the server hands it a caller.
pub(crate) fn become_parked(
    request: Request<'_>,
    server: OwnedFd,
) -> Result<Infallible, BuildError> {
    let mut prepared = prepare::prepare(request)?;
    prepared.park = Some(server);
    let (name, text) = pool::PARK;
    prepared.blueprint.etc.push((name.to_owned(), text.to_owned()));
    Err(give(prepared).into())
}

/// Tends a command that waits. Its caller is told how it went.
fn take_parked(prepared: Prepared, parking: &Parking) -> Outcome {
    let name = format!("cell-{}", std::process::id());
    let audit = prepared.blueprint.filter.audit;
    let tell = |denial: &Denial| parking.deny(denial);
    let denials = Denials::new(name, audit.then_some(&tell as &OnDenial<'_>));
    let result = tend(prepared, &denials, Launch::Copy, Some(parking));
    parking.end(&result);
    // The server looks at nobody's exit code, and this one has no stderr.
    Outcome { end: End::Exited(0), missing: Vec::new(), dropped_output: 0, denials: 0 }
}

fn finish(outcome: &Outcome) -> ExitCode {
    outcome.notes().iter().for_each(|note| say(note));
    ExitCode::from(outcome.code())
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "proxward: cell: {text}");
}

fn read(number: &str) -> Result<Prepared, BuildError> {
    let what = "take over from the supervisor";
    let number: RawFd = number.parse().planned(Layer::Launcher, what)?;
    let notes = sys::descriptor::take(number).planned(Layer::Launcher, what)?;
    let mut text = Vec::new();
    File::from(notes).take(LENGTH).read_to_end(&mut text).planned(Layer::Launcher, what)?;
    let written: Written = serde_json::from_slice(&text).planned(Layer::Launcher, what)?;
    let take = |number: RawFd| {
        let fd = sys::descriptor::take(number).planned(Layer::Launcher, what)?;
        rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC).planned(Layer::Launcher, what)?;
        Ok(fd)
    };
    let all = |numbers: Vec<RawFd>| {
        numbers.into_iter().map(take).collect::<Result<Vec<OwnedFd>, PlanError>>()
    };
    let rules = Rules::new(&written.policy, &written.names).planned(Layer::Plan, what)?;
    let published = written.published.into_iter();
    Ok(Prepared {
        blueprint: written.blueprint,
        handed: Handed::of(all(written.handed)?),
        listeners: all(written.listeners)?,
        rules,
        published: published
            .map(|(port, number)| Ok(Published { port, socket: take(number)? }))
            .collect::<Result<_, PlanError>>()?,
        may_listen: written.may_listen,
        limits: written.policy.limits.clone(),
        ahead: written
            .ahead
            .and_then(|(number, ready)| Some((Holder::again(number)?, ready)))
            .map(|(holder, ready)| Ok::<_, PlanError>((holder, take(ready)?)))
            .transpose()?,
        launcher: File::open("/dev/null").planned(Layer::Launcher, what)?.into(),
        source: (written.policy, written.names),
        stop: Some(stop_signals().planned(Layer::Launcher, what)?),
        park: written.park.map(take).transpose()?,
        observer: None,
        watch_memory: written.watch_memory,
        watch_cpu: written.watch_cpu,
    })
}
