//! From policy to blueprint: what is named is looked up, pinned and counted, outside the cell.

mod command;
mod elf;
mod files;
mod groups;
mod names;
mod sha256;

pub use command::find_in;
pub(crate) use command::{add_addon, add_extra, find_program, resolve};
#[cfg(fuzzing)]
pub(crate) use elf::wanted_of;
pub(crate) use files::{Directory, Files, Handed};
pub(crate) use groups::{GROUP_PREFIX, Hierarchies, Hierarchy, groups};
pub(crate) use names::{Names, pin};

use std::fmt::Display;

use crate::layer::Layer;

/// Why a cell can not be built, found before anything was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{layer}: {what}")]
pub struct PlanError {
    /// The layer that misses something.
    pub layer: Layer,
    /// What, and what to do.
    pub what: String,
}

impl PlanError {
    pub(crate) fn new(layer: Layer, what: impl Display) -> Self {
        Self { layer, what: what.to_string() }
    }
}

/// Turns an error into one of the plan, saying what was tried.
pub(crate) trait Planned<T> {
    fn planned(self, layer: Layer, what: impl Display) -> Result<T, PlanError>;
}

impl<T, E: Display> Planned<T> for Result<T, E> {
    fn planned(self, layer: Layer, what: impl Display) -> Result<T, PlanError> {
        self.map_err(|error| PlanError::new(layer, format_args!("{what}: {error}")))
    }
}
