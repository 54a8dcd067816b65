//! The launcher: receives a blueprint, builds the cell, tidies up afterwards.
//!
//! Single-threaded on purpose, so that it can fork. Three processes come out of it: the *keeper*
//! (this one) stays outside, the *first* process is process 1 of the cell, the *command* is its
//! only child. The keeper ends the cell when its supervisor is gone, and the kernel ends the first
//! process when the keeper is, so that nothing outlives its owner.

mod canary;
mod command;
mod confine;
mod first;
mod groups;
mod keeper;
mod mounts;
mod step;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use crate::blueprint::Blueprint;
use crate::{channel, sys};

/// Name under which a program that contains the launcher starts itself as one.
pub const NAME: &str = "proxward-cell";

/// Lowest number of the control socket: above those that the command's descriptors will have.
const CONTROL: i32 = 100;

/// Whether this process was started under the launcher's name.
#[must_use]
pub fn is_launcher() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&name).file_name().is_some_and(|name| name == NAME)
}

/// The launcher's `main`. Standard input is the control socket; or, when a supervisor handed
/// itself over, the argument is the number of what it wrote down; or `follow` and the number of a
/// connection to a slot.
#[must_use]
pub fn main() -> ExitCode {
    // It was executed by descriptor, whose number would be its name.
    let _ = rustix::thread::set_name(c"proxward-cell");
    let mut words = std::env::args().skip(1);
    match (words.next(), words.next()) {
        (Some(_), Some(number)) => return crate::pool::follow_number(&number),
        (Some(number), None) => return crate::supervise::take_over(&number),
        (None, _) => {}
    }
    match receive() {
        Some((control, blueprint, descriptors)) => {
            keeper::run(&control, &blueprint, descriptors, None)
        }
        None => ExitCode::from(2),
    }
}

/// The launcher within a copy of a supervisor that is small enough, with a network namespace when
/// one was made ahead. Does not return.
pub(crate) fn keep(
    control: OwnedFd,
    blueprint: &Blueprint,
    descriptors: Vec<OwnedFd>,
    network: Option<OwnedFd>,
) -> ! {
    match rustix::io::fcntl_dupfd_cloexec(&control, CONTROL) {
        Ok(above) => {
            drop(control);
            let _ = keeper::run(&above, blueprint, descriptors, network);
        }
        Err(_) => sys::process::end(1),
    }
    sys::process::end(0)
}

fn receive() -> Option<(OwnedFd, Blueprint, Vec<OwnedFd>)> {
    let control = sys::descriptor::take(0).ok()?;
    // Descriptor 0 must not be free: what is opened next would become the command's input.
    let control = rustix::io::fcntl_dupfd_cloexec(&control, CONTROL).ok().inspect(|_| {
        std::mem::forget(control);
    })?;
    let (blueprint, descriptors) = channel::receive::<Blueprint>(&control).ok().flatten()?;
    Some((control, blueprint, descriptors))
}
