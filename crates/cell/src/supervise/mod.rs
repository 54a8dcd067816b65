//! The supervisor: plans a cell, starts its launcher, answers its calls, carries its output,
//! ends it in time.

mod calls;
mod calls_observed;
mod denial;
mod handed_in;
mod handover;
mod identity;
mod memory;
mod names;
mod observe;
mod output;
mod paths;
mod prepare;
mod process;
mod resolver;
mod rules;
mod tend;
mod udp;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

pub use denial::{Denial, OnDenial};
pub use handed_in::handed_in_listeners;
pub(crate) use handover::{become_parked, take as take_over};
#[cfg(fuzzing)]
pub(crate) use memory::parse as parse_address;
pub use observe::Observation;
#[cfg(fuzzing)]
pub(crate) use resolver::answer_question;

use crate::layer::Layer;
use crate::plan::PlanError;
use crate::policy::Policy;
use denial::Denials;

/// With which rights cells are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Privileged for root, unprivileged for everybody else.
    #[default]
    Auto,
    /// By root: a user id of its own, control groups.
    Privileged,
    /// In a user namespace. Root becomes an unused user first, for good.
    Unprivileged,
}

/// What to run, and how.
pub struct Request<'a> {
    /// What it may do.
    pub policy: &'a Policy,
    /// Program and arguments.
    pub command: &'a [String],
    /// With which rights.
    pub mode: Mode,
    /// Folders to search for the program: the operator's PATH.
    pub search: Vec<PathBuf>,
    /// The program `proxward-cell`, or one that contains it.
    pub launcher: PathBuf,
    /// Listening TCP sockets for the command, from descriptor 3 on.
    pub listeners: Vec<OwnedFd>,
    /// Who is told of denials. Refused system calls are only recorded when somebody is.
    pub on_denial: Option<&'a OnDenial<'a>>,
    /// Are files outside that it looks for recorded too? Each call by path takes ten microseconds
    /// longer then.
    pub record_paths: bool,
    /// Becomes readable when the cell should end, such as [`stop_signals`].
    pub stop: Option<OwnedFd>,
    /// Ends the launcher after this layer; for tests of what is left behind.
    pub stop_after: Option<Layer>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// Layers that were missing with the policy's permission, and why.
    pub missing: Vec<(Layer, String)>,
    /// Bytes of output over the rate.
    pub dropped_output: u64,
    /// Recorded and unrecorded denials.
    pub denials: u64,
}

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Its time was up.
    TimedOut,
    /// It wanted more memory than it has.
    OutOfMemory,
}

impl Outcome {
    /// The exit code that a shell would give, and those of the contract: 124 time, 137 memory.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self.end {
            End::Exited(status) => u8::try_from(status & 0xff).unwrap_or(u8::MAX),
            End::Signalled(signal) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX),
            End::TimedOut => 124,
            End::OutOfMemory => 137,
        }
    }
}

/// The cell could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer}: {what}")]
pub struct BuildError {
    /// Which layer.
    pub layer: Layer,
    /// What was tried, and why it failed.
    pub what: String,
}

impl Outcome {
    /// What the person who started it should read, a line each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let missing = self.missing.iter();
        let mut notes: Vec<String> =
            missing.map(|(layer, what)| format!("degraded: without {layer} ({what})")).collect();
        if self.dropped_output > 0 {
            let bytes = self.dropped_output;
            notes.push(format!("{bytes} bytes of output were over the rate and dropped"));
        }
        match self.end {
            End::TimedOut => notes.push("its time was up".to_owned()),
            End::OutOfMemory => notes.push("it wanted more memory than it has".to_owned()),
            End::Exited(_) | End::Signalled(_) => {}
        }
        notes
    }
}

impl From<PlanError> for BuildError {
    fn from(error: PlanError) -> Self {
        Self { layer: error.layer, what: error.what }
    }
}

/// Builds a cell, runs the command in it, and returns when nothing of it is left.
///
/// # Errors
///
/// The layer that could not be built. Nothing of the command has run then.
pub fn run(request: Request<'_>) -> Result<Outcome, BuildError> {
    let name = format!("cell-{}", std::process::id());
    let denials = Denials::new(name, request.on_denial);
    let prepared = prepare::prepare(request)?;
    tend::tend(prepared, &denials, tend::Launch::Program, None)
}

/// As [`run`], but what a policy could grant is done for the command and written down, and returned
/// as the smallest policy that would have sufficed. The command gets to read and reach what this
/// user may: for programs that are trusted so far. Never handed to a slot.
///
/// # Errors
///
/// As [`run`].
pub fn observe(request: Request<'_>) -> Result<(Outcome, Observation), BuildError> {
    let name = format!("cell-{}", std::process::id());
    let denials = Denials::new(name, request.on_denial);
    let base = request.policy.clone();
    let (prepared, observer) = prepare::prepare_observed(request)?;
    let outcome = tend::tend(prepared, &denials, tend::Launch::Program, None)?;
    Ok((outcome, observer.observation(&base)))
}

/// As [`run`], but this program gives way to the small one, which becomes supervisor and launcher
/// and reports to stderr. Its exit code is [`Outcome::code`], or 125. Returns only when the cell
/// could not be planned. Nobody is told of denials.
///
/// # Errors
///
/// As [`run`].
pub fn become_supervisor(request: Request<'_>) -> Result<std::convert::Infallible, BuildError> {
    let ahead = handover::network_ahead(request.mode);
    let prepared = prepare::prepare(request)?;
    Err(handover::give(prepare::Prepared { ahead, ..prepared }).into())
}

/// Blocks SIGINT, SIGTERM and SIGHUP, and returns what becomes readable when one arrives.
///
/// # Errors
///
/// When no descriptor is left.
pub fn stop_signals() -> std::io::Result<OwnedFd> {
    use rustix::process::Signal;
    Ok(crate::sys::process::signal_descriptor(&[Signal::INT, Signal::TERM, Signal::HUP])?)
}
