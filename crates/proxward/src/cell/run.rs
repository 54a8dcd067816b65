//! `proxward cell run`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cell::{BuildError, OnDenial, Policy, Request, Restriction};
use telemetry::Clock;

use super::arguments::{Mode, Run};
use super::audit_file::AuditFile;
use super::serve::socket;
use crate::exit::{Stop, file_fault};
use crate::output::note;
use crate::place::read_text;

/// The cell could not be built, in the contract's exit codes.
const NOT_BUILT: u8 = 125;

pub(crate) fn run(arguments: &Run) -> Result<(), Stop> {
    let policy = policy(arguments)?;
    let clock = Clock::system();
    let audit = arguments.audit.as_deref().map(|path| AuditFile::open(path, clock)).transpose()?;
    let record = |denial: &cell::Denial| {
        if let Some(audit) = &audit {
            audit.record(denial);
        }
    };
    let request = Request {
        policy: &policy,
        command: &arguments.command,
        mode: match arguments.mode {
            Mode::Auto => cell::Mode::Auto,
            Mode::Privileged => cell::Mode::Privileged,
            Mode::Unprivileged => cell::Mode::Unprivileged,
        },
        search: search(),
        launcher: launcher()?,
        listeners: cell::handed_in_listeners().map_err(not_built)?,
        on_denial: audit.is_some().then_some(&record as &OnDenial<'_>),
        record_paths: arguments.audit_paths,
        stop: None,
        stop_after: arguments.stop_after,
    };
    if let Some(file) = &arguments.observe {
        return observe(file, request);
    }
    if let Some(warm) = socket(arguments.socket.as_deref()).and_then(|at| cell::ask(&at, &request))
    {
        return follow(warm, &request);
    }
    if audit.is_none() {
        let Err(error) = cell::become_supervisor(request);
        return Err(not_built(error));
    }
    let stop = Some(cell::stop_signals().map_err(Stop::usage)?);
    let outcome = cell::run(Request { stop, ..request }).map_err(not_built)?;
    for line in outcome.notes() {
        note(&format!("proxward: cell: {line}"));
    }
    match outcome.code() {
        0 => Ok(()),
        code => Err(Stop::status(code)),
    }
}

/// One run that is watched; then the policy, for its owner alone.
fn observe(file: &Path, request: Request<'_>) -> Result<(), Stop> {
    note(
        "proxward: cell: WARNING: observing: for this run the command may connect anywhere and read \
         what its user may",
    );
    // Opened now: afterwards this may be another user.
    let mut options = OpenOptions::new();
    let into = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    let mut into = into.map_err(|error| file_fault(file, &error))?;
    let stop = Some(cell::stop_signals().map_err(Stop::usage)?);
    let command = request.command.join(" ");
    let (outcome, seen) = cell::observe(Request { stop, ..request }).map_err(not_built)?;
    let mut text = format!("# What this was seen to need: {}\n", command.replace('\n', " "));
    seen.notes.iter().for_each(|line| text.push_str(&format!("# {line}\n")));
    text.push_str(&seen.policy.to_short_toml());
    into.write_all(text.as_bytes()).map_err(|error| file_fault(file, &error))?;
    for line in outcome.notes().iter().chain(&seen.notes) {
        note(&format!("proxward: cell: {line}"));
    }
    match outcome.code() {
        0 => Ok(()),
        code => Err(Stop::status(code)),
    }
}

/// A slot has taken the command. Whoever records denials stays for them.
fn follow(warm: cell::Warm, request: &Request<'_>) -> Result<(), Stop> {
    let code = match request.on_denial {
        Some(_) => cell::follow(&warm, request.on_denial),
        None => match warm.follow_at_first() {
            Some(code) => code,
            None => return Err(Stop::usage(warm.become_follower(&request.launcher))),
        },
    };
    match code {
        0 => Ok(()),
        code => Err(Stop::status(code)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
pub(super) fn not_built(error: BuildError) -> Stop {
    Stop::coded(NOT_BUILT, format_args!("cell: {error}"))
}

/// The file or profile, with what was typed beside it.
fn policy(arguments: &Run) -> Result<Policy, Stop> {
    let mut policy = match (&arguments.policy, arguments.profile) {
        (Some(path), _) => read(path)?,
        (None, Some(profile)) => profile.policy(),
        (None, None) => Policy::default(),
    };
    policy.dir = arguments.dir.clone().or(policy.dir);
    policy.read_only |= arguments.read_only;
    policy.read.extend_from_slice(&arguments.read);
    policy.connect.extend_from_slice(&arguments.connect);
    policy.publish.extend_from_slice(&arguments.publish);
    policy.allow_degraded.extend_from_slice(&arguments.allow_degraded);
    for pair in &arguments.env {
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Stop::say(crate::exit::Exit::Usage, format_args!("--env {pair}: expected K=V"))
        })?;
        policy.env.insert(name.to_owned(), value.to_owned());
    }
    let limits = &mut policy.limits;
    limits.scratch = arguments.scratch.unwrap_or(limits.scratch);
    limits.memory = arguments.memory.unwrap_or(limits.memory);
    limits.cpus = arguments.cpus.or(limits.cpus);
    limits.pids = arguments.pids.unwrap_or(limits.pids);
    limits.timeout = arguments.timeout.or(limits.timeout);
    if !arguments.restricted_outgoing_addresses.is_empty() {
        policy.restrict = Some(Restriction {
            addresses: arguments.restricted_outgoing_addresses.clone(),
            ports: arguments.allowed_outgoing_ports.clone(),
        });
    }
    policy.check().map_err(Stop::usage)?;
    Ok(policy)
}

/// A policy file; errors name it.
pub(super) fn read(path: &Path) -> Result<Policy, Stop> {
    let text = read_text(path, cell::POLICY_BYTES)?;
    Policy::from_toml(&text).map_err(|error| {
        Stop::say(crate::exit::Exit::Usage, format_args!("{}: {error}", path.display()))
    })
}

pub(super) fn search() -> Vec<PathBuf> {
    std::env::var_os("PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect())
}

/// The small launcher beside this program, or this program under its name.
pub(super) fn launcher() -> Result<PathBuf, Stop> {
    let own = std::env::current_exe().map_err(Stop::usage)?;
    let beside = own.with_file_name(cell::launch::NAME);
    Ok(if beside.is_file() { beside } else { own })
}
