//! The process outside: makes control groups and namespaces, waits, tidies up.

use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Signal, WaitOptions, pidfd_send_signal, waitpid};

use super::first::{self, Handed};
use super::groups::Groups;
use super::step::{At as _, Failure, reached};
use crate::blueprint::{ASK_KILL, ASK_TERMINATE, Blueprint, Report};
use crate::channel;
use crate::layer::Layer;
use crate::sys::memory::Wait;
use crate::sys::process::{Side, clone};

const NAMESPACES: libc::c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

pub(super) fn run(
    control: &OwnedFd,
    blueprint: &Blueprint,
    descriptors: Vec<OwnedFd>,
    network: Option<OwnedFd>,
) -> ExitCode {
    // A session of its own: Ctrl-C in the supervisor's terminal is the supervisor's to answer.
    let _ = rustix::process::setsid();
    rustix::process::umask(rustix::fs::Mode::from(0o022));
    let mut wait = Wait::of_this_process();
    let mut groups = Groups::default();
    let handed = Handed { descriptors, network };
    match build(control, blueprint, handed, &mut groups, &mut wait) {
        Ok((pid, pidfd)) => {
            keep(control, &pidfd, &mut wait);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
        Err(failure) => failure.report(control),
    }
    let out_of_memory = groups.out_of_memory();
    drop(groups);
    let _ = channel::send(control, &Report::Gone { out_of_memory }, &[]);
    ExitCode::SUCCESS
}

fn build(
    control: &OwnedFd,
    blueprint: &Blueprint,
    handed: Handed,
    groups: &mut Groups,
    wait: &mut Wait,
) -> Result<(rustix::process::Pid, OwnedFd), Failure> {
    let members = groups.make(blueprint, control.as_fd())?;
    reached(blueprint, Layer::MemoryLimit);
    let user = if blueprint.user_namespace { libc::CLONE_NEWUSER } else { 0 };
    let network = if handed.network.is_none() { libc::CLONE_NEWNET } else { 0 };
    match clone(NAMESPACES | user | network).at(Layer::Namespaces, "make namespaces")? {
        Side::Child => first::run(control.as_fd(), blueprint, handed, &members, wait),
        Side::Parent(pid, pidfd) => Ok((pid, pidfd)),
    }
}

/// Until the cell has ended: does what the supervisor asks, and ends the cell when it is gone.
fn keep(control: &OwnedFd, cell: &OwnedFd, wait: &mut Wait) {
    let mut asked = [0; 16];
    loop {
        let mut watched = [PollFd::new(cell, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        if wait.poll(&mut watched, None).is_err() {
            continue;
        }
        let [ended, heard] = watched.map(|one| one.revents());
        if !ended.is_empty() {
            return;
        }
        if heard.is_empty() {
            continue;
        }
        let signal = match rustix::io::read(control, &mut asked) {
            Ok(0) | Err(_) => Signal::KILL,
            Ok(_) if asked.first() == Some(&ASK_KILL) => Signal::KILL,
            Ok(_) if asked.first() == Some(&ASK_TERMINATE) => Signal::TERM,
            Ok(_) => continue,
        };
        let _ = pidfd_send_signal(cell, signal);
        if signal == Signal::KILL {
            return;
        }
    }
}
