//! A slot's side: a supervisor whose command waits, until the server hands it a caller.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::Signal;

use super::wire::{Answer, Call, Give, SlotReport, Spec};
use crate::channel;
use crate::layer::Layer;
use crate::plan::{PlanError, Planned as _};
use crate::supervise::{self, BuildError, Denial, Mode, Outcome, Request};
use crate::sys::descriptor;

/// Builds the slot that the server on the other end of standard input asks for, and becomes its
/// supervisor. Returns only when that failed; the server has been told.
///
/// # Errors
///
/// As [`crate::run`].
pub fn become_slot(search: Vec<PathBuf>, launcher: PathBuf) -> Result<Infallible, BuildError> {
    let what = "hear from the server";
    let input = descriptor::take(0).planned(Layer::Launcher, what)?;
    let server = rustix::io::fcntl_dupfd_cloexec(&input, 3).planned(Layer::Launcher, what)?;
    let nothing = File::open("/dev/null").planned(Layer::Launcher, what)?;
    // Number 0 stays in use, by nothing.
    descriptor::place(nothing.as_fd(), 0, false).planned(Layer::Launcher, what)?;
    std::mem::forget(input);
    let told = server.try_clone().planned(Layer::Launcher, what)?;
    build(server, search, launcher).inspect_err(|error| {
        let _ = channel::send(&told, &SlotReport::Failed(error.to_string()), &[]);
    })
}

fn build(
    server: OwnedFd,
    search: Vec<PathBuf>,
    launcher: PathBuf,
) -> Result<Infallible, BuildError> {
    let what = "hear from the server";
    let spec = channel::receive::<Spec>(&server).planned(Layer::Launcher, what)?;
    let (spec, _) =
        spec.ok_or_else(|| PlanError::new(Layer::Launcher, "the server said nothing"))?;
    let program = spec.program.to_str();
    let program = program.ok_or_else(|| PlanError::new(Layer::Plan, "not UTF-8"))?.to_owned();
    let command = [program, format!("/etc/{}", super::PARK.0)];
    let audit = |_: &Denial| {};
    let request = Request {
        policy: &spec.policy,
        command: &command,
        mode: if spec.unprivileged { Mode::Unprivileged } else { Mode::Privileged },
        search,
        launcher,
        listeners: Vec::new(),
        on_denial: spec.audit.then_some(&audit),
        record_paths: false,
        stop: None,
        stop_after: None,
    };
    supervise::become_parked(request, server)
}

/// A command that waits, or once did: who is told of what.
#[derive(Debug)]
pub(crate) struct Parking {
    pub(crate) server: OwnedFd,
    client: OnceLock<OwnedFd>,
    /// Denials from before there was somebody to tell.
    early: Mutex<Vec<Denial>>,
}

/// Ends of pipes by which the waiting command is spoken to.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) calls: OwnedFd,
    pub(crate) ready: OwnedFd,
}

impl Parking {
    /// In a slot's supervisor, which ends with the server.
    pub(crate) fn new(server: OwnedFd) -> Self {
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        Self { server, client: OnceLock::new(), early: Mutex::new(Vec::new()) }
    }

    /// The command waits.
    pub(crate) fn ready(&self) {
        let _ = channel::send(&self.server, &SlotReport::Ready, &[]);
    }

    /// Takes a caller over: its streams become this process's. None when the server is gone.
    pub(crate) fn take(&self, handover: Handover) -> Option<()> {
        let (give, descriptors) = channel::receive::<Give>(&self.server).ok()??;
        let descriptors: [OwnedFd; 4] = descriptors.try_into().ok()?;
        let [input, output, error, client] = descriptors;
        for (fd, number) in [input, output, error].iter().zip(0..) {
            descriptor::place(fd.as_fd(), number, false).ok()?;
        }
        send_call(handover.calls, &give.call)?;
        for denial in std::mem::take(&mut *self.lock()) {
            send(&client, &Answer::Denied((&denial).into()));
        }
        self.client.set(client).ok()
    }

    pub(crate) fn client(&self) -> Option<&OwnedFd> {
        self.client.get()
    }

    pub(crate) fn deny(&self, denial: &Denial) {
        match self.client.get() {
            Some(client) => send(client, &Answer::Denied(denial.into())),
            None => self.lock().push(denial.clone()),
        }
    }

    /// The end, as the caller is told.
    pub(crate) fn end(&self, result: &Result<Outcome, BuildError>) {
        let Some(client) = self.client.get() else {
            if let Err(error) = result {
                let _ = channel::send(&self.server, &SlotReport::Failed(error.to_string()), &[]);
            }
            return;
        };
        let (code, notes, denials) = match result {
            Ok(outcome) => (outcome.code(), outcome.notes(), outcome.denials),
            Err(error) => (125, vec![error.to_string()], 0),
        };
        let _ = channel::send(&self.server, &SlotReport::Ended { code, denials }, &[]);
        send(client, &Answer::Ended { code, notes });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Denial>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that has gone does not need to know.
fn send(client: &OwnedFd, answer: &Answer) {
    let _ = channel::send(client, answer, &[]);
}

/// Length and JSON. The command reads it all before it runs anything of the caller's.
fn send_call(to: OwnedFd, call: &Call) -> Option<()> {
    let text = serde_json::to_vec(call).ok()?;
    let length = u32::try_from(text.len()).ok()?.to_le_bytes();
    File::from(to).write_all(&[&length[..], &text].concat()).ok()
}
