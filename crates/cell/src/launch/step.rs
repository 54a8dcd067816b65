//! A failed step, with its layer.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd};

use crate::blueprint::{Blueprint, Report};
use crate::channel;
use crate::layer::Layer;

/// Why the cell can not be built.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) layer: Layer,
    pub(super) what: String,
}

impl Failure {
    pub(super) fn new(layer: Layer, what: impl Display) -> Self {
        Self { layer, what: what.to_string() }
    }

    pub(super) fn report(self, control: impl AsFd) {
        // A supervisor that is gone does not need to know.
        let _ = channel::send(control, &Report::Failed { layer: self.layer, what: self.what }, &[]);
    }
}

/// Turns an error into a failure of a layer, saying what was tried.
pub(super) trait At<T> {
    fn at(self, layer: Layer, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Display> At<T> for Result<T, E> {
    fn at(self, layer: Layer, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(layer, format_args!("{what}: {error}")))
    }
}

/// A step of a layer that the policy may allow to be missing.
pub(super) fn optional(
    blueprint: &Blueprint,
    control: BorrowedFd<'_>,
    result: Result<(), Failure>,
) -> Result<(), Failure> {
    let Err(failure) = result else { return Ok(()) };
    if !blueprint.degraded.contains(&failure.layer) {
        return Err(failure);
    }
    let report = Report::Missing { layer: failure.layer, what: failure.what };
    channel::send(control, &report, &[]).at(Layer::Launcher, "tell the supervisor")
}

/// Ends here, without a word and without tidying up, when a test asked for it. Not by a signal:
/// process 1 of a cell is deaf to its own.
pub(super) fn reached(blueprint: &Blueprint, layer: Layer) {
    if blueprint.stop_after == Some(layer) {
        crate::sys::process::end(1);
    }
}
