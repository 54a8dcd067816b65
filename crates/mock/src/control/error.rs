//! Why a wish of a test is not met.

use crate::limits::{SNAPSHOT_NAME, SNAPSHOTS};

/// Why a control call failed. Every text is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no snapshot of that name.
    #[error("there is no snapshot {0:?}; list them to see which there are")]
    NoSnapshot(String),
    /// The name can not be one.
    #[error("a snapshot's name has 1 to {SNAPSHOT_NAME} of: letters, digits, '.', '_', '-'")]
    Name,
    /// The table is full.
    #[error("there are {SNAPSHOTS} snapshots, the most there can be; delete one")]
    TooMany,
    /// The mock follows the system's clock.
    #[error("the clock is the system's; start the mock with a clock of its own")]
    NoClock,
    /// The number can not be a time scale.
    #[error("a time scale is a number from 0 to 1000000")]
    TimeScale,
    /// Beyond what a time can be.
    #[error("the time is after the year 9999")]
    Time,
    /// The state file was not written; nothing has changed.
    #[error("{0}")]
    NotKept(String),
    /// The seed could be used once and can not be used now.
    #[error("{0}")]
    Seed(String),
}

impl ControlError {
    /// The status of HTTP that says it.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::NoSnapshot(_) => 404,
            Self::Name | Self::TimeScale | Self::Time => 400,
            Self::TooMany | Self::NoClock => 409,
            Self::NotKept(_) | Self::Seed(_) => 500,
        }
    }
}
