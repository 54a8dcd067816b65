//! What can happen to a call and its answer.

use std::time::Duration;

/// A fault on its way to one call.
#[derive(Debug, Clone)]
pub(crate) struct Injected {
    /// `FILE:LINE` of the rule, for the log.
    pub(crate) rule: String,
    /// Waited before the call.
    pub(crate) latency: Option<Duration>,
    pub(crate) effect: Effect,
}

/// What happens beside the waiting. Where it says "instead", the call has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// This status instead of the call.
    Status {
        code: u16,
        reason: String,
    },
    /// The text of a lock that is not to be had, instead of the call.
    Lock(Lock),
    /// The task that the call starts fails with this text, and changes nothing.
    Task(String),
    /// The connection is closed instead of the call.
    DropRequest,
    /// The call happens; its answer arrives in another way.
    Answer(Delivery),
}

/// Whose lock is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lock {
    /// The file that guards a guest's configuration.
    File,
    /// The cluster-wide lock that guards a file of the cluster file system.
    Cluster,
    /// The guest is busy with this (`backup`, `migrate`, …).
    Guest(String),
}

/// How an answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The first bytes of it, then the connection ends; 0 is no answer.
    Drop { bytes: usize },
    /// The head and the first bytes of the body, then the connection ends.
    Cut { bytes: usize },
    /// The body in pieces, with a pause before each.
    Slow { bytes: usize, every: Duration },
}

/// A time, or two between which one is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

impl Span {
    /// `at` is from 0 to 1.
    pub(crate) fn pick(self, at: f64) -> Duration {
        self.least + self.most.saturating_sub(self.least).mul_f64(at)
    }
}

impl Delivery {
    /// How many of `length` bytes are sent at once, when the body begins at `body`.
    pub(crate) fn head(self, body: usize, length: usize) -> usize {
        match self {
            Self::Drop { bytes } => bytes.min(length),
            Self::Cut { bytes } => body.saturating_add(bytes).min(length),
            Self::Slow { .. } => body,
        }
    }
}

impl Effect {
    /// Whether it speaks of a guest, so that only calls to one can meet it.
    pub(crate) fn needs_guest(&self) -> bool {
        matches!(self, Self::Lock(Lock::File | Lock::Guest(_)))
    }

    /// Its key in the file, for the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "latency",
            Self::Status { .. } => "status",
            Self::Lock(_) => "lock",
            Self::Task(_) => "task",
            Self::DropRequest | Self::Answer(Delivery::Drop { .. }) => "drop",
            Self::Answer(Delivery::Cut { .. }) => "cut",
            Self::Answer(Delivery::Slow { .. }) => "slow",
        }
    }
}
