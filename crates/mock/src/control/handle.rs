//! The handle.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Serialize;
use telemetry::{Rfc3339, VirtualClock};

use super::error::ControlError;
use super::snapshots::Copy;
use crate::document::FileError;
use crate::durable::{NotKept, Receipt};
use crate::faults::Faults;
use crate::shared::Shared;
use crate::state::State;

/// The last time that can be set: the end of the year 9999 (RFC 3339 section 5.6).
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// Changes a running mock from the same process. Clones are the same handle.
///
/// A call returns when what it did is in force and, with a state file, on the disk. Calls wait on
/// the thread they are made from, for the disk at the longest.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

/// A snapshot in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotInfo {
    /// Its name.
    pub name: String,
    /// Seconds since 1970 by the mock's clock.
    pub taken: u64,
    /// Guests in it.
    pub guests: usize,
}

/// What a mock holds and does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The version that `GET /version` shows.
    pub version: String,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Guests of the cluster.
    pub guests: usize,
    /// Of these, running ones.
    pub guests_running: usize,
    /// Storage definitions.
    pub storages: usize,
    /// Users.
    pub users: usize,
    /// Tasks in the list.
    pub tasks: usize,
    /// Of these, running ones.
    pub tasks_running: usize,
    /// Snapshots.
    pub snapshots: usize,
    /// Bytes of the state file; `None` without one.
    pub state_file_bytes: Option<u64>,
    /// The clock.
    pub clock: ClockStatus,
    /// What tasks and delays are stretched by.
    pub time_scale: f64,
}

/// What the mock takes for the time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClockStatus {
    /// Seconds since 1970.
    pub unix: f64,
    /// The same for people.
    pub at: String,
    /// Whether it stands.
    pub frozen: bool,
    /// Whether it is the system's, which can not be moved.
    pub system: bool,
}

impl Control {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Copies the whole cluster. A snapshot of that name is replaced. Snapshots are in memory: they
    /// end with the process, also when there is a state file.
    ///
    /// # Errors
    /// [`ControlError::Name`], [`ControlError::TooMany`].
    pub fn snapshot(&self, name: &str) -> Result<SnapshotInfo, ControlError> {
        let copy = {
            let state = self.shared.state();
            Copy { state: state.clone(), taken: self.shared.clock.unix() }
        };
        let info = info(name, &copy);
        self.shared.snapshots().insert(name, copy)?;
        Ok(info)
    }

    /// All snapshots, by name.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        self.shared.snapshots().iter().map(|(name, copy)| info(name, copy)).collect()
    }

    /// Makes the cluster what it was. The clock stays, unless `with_clock` puts it back too.
    ///
    /// # Errors
    /// [`ControlError::NoSnapshot`], [`ControlError::NotKept`]; [`ControlError::NoClock`] when the
    /// clock is the system's and was to be put back.
    pub fn restore(&self, name: &str, with_clock: bool) -> Result<(), ControlError> {
        block(self.begin_restore(name, with_clock)?)
    }

    pub(super) fn begin_restore(
        &self,
        name: &str,
        with_clock: bool,
    ) -> Result<Option<Receipt>, ControlError> {
        let Copy { state, taken } = self.shared.snapshots().find(name)?.clone();
        let clock = if with_clock { Some(self.hands()?) } else { None };
        Ok(self.shared.replace(state, || {
            if let Some(clock) = clock {
                clock.set(taken);
            }
        }))
    }

    /// Forgets a snapshot.
    ///
    /// # Errors
    /// [`ControlError::NoSnapshot`].
    pub fn delete_snapshot(&self, name: &str) -> Result<(), ControlError> {
        self.shared.snapshots().remove(name)
    }

    /// Makes the cluster what the seed of this start says; the token of the run stays valid.
    ///
    /// # Errors
    /// [`ControlError::NotKept`], [`ControlError::Seed`].
    pub fn reset(&self) -> Result<(), ControlError> {
        block(self.begin_reset()?)
    }

    pub(super) fn begin_reset(&self) -> Result<Option<Receipt>, ControlError> {
        let state = self.shared.seeded();
        let state = state.map_err(|error| ControlError::Seed(error.to_string()))?;
        Ok(self.shared.replace(state, || ()))
    }

    /// What the mock takes for the time, since 1970.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.clock.unix()
    }

    /// Puts the clock to a time since 1970. Going back undoes nothing: what has happened is then
    /// in the future.
    ///
    /// # Errors
    /// [`ControlError::NoClock`], [`ControlError::Time`].
    pub fn set_clock(&self, unix: Duration) -> Result<(), ControlError> {
        let hands = self.hands()?;
        if unix > LAST {
            return Err(ControlError::Time);
        }
        hands.set(unix);
        Ok(())
    }

    /// Moves the clock on; tasks that end meanwhile have ended.
    ///
    /// # Errors
    /// [`ControlError::NoClock`], [`ControlError::Time`].
    pub fn advance(&self, by: Duration) -> Result<(), ControlError> {
        let hands = self.hands()?;
        let reached = hands.unix().checked_add(by).filter(|unix| *unix <= LAST);
        reached.ok_or(ControlError::Time)?;
        hands.advance(by);
        Ok(())
    }

    /// Lets the clock stand, or run from where it is.
    ///
    /// # Errors
    /// [`ControlError::NoClock`].
    pub fn freeze(&self, frozen: bool) -> Result<(), ControlError> {
        let hands = self.hands()?;
        if frozen {
            hands.freeze();
        } else {
            hands.run();
        };
        Ok(())
    }

    /// What new tasks and delays are stretched by.
    #[must_use]
    pub fn time_scale(&self) -> f64 {
        self.shared.time_scale()
    }

    /// Stretches what begins from now on; 0 ends it at once. Running tasks keep their end.
    ///
    /// # Errors
    /// [`ControlError::TimeScale`].
    pub fn set_time_scale(&self, factor: f64) -> Result<(), ControlError> {
        if !(0.0..=1e6).contains(&factor) {
            return Err(ControlError::TimeScale);
        }
        self.shared.set_time_scale(factor);
        Ok(())
    }

    /// Puts other rules in force; the former ones are forgotten with what they have counted, and
    /// calls under way keep what met them. A reset or a snapshot changes no rules.
    ///
    /// # Errors
    /// A rule that no method of the API can meet.
    pub fn set_faults(&self, faults: Faults) -> Result<(), FileError> {
        self.shared.set_faults(faults)
    }

    /// What the mock holds and does.
    #[must_use]
    pub fn status(&self) -> Status {
        let snapshots = self.shared.snapshots().iter().count();
        let now = self.shared.clock.unix();
        let state = self.shared.state();
        Status {
            version: state.version.version.clone(),
            nodes: state.nodes.len(),
            guests: state.guests.len(),
            guests_running: state.guests.values().filter(|guest| guest.is_running()).count(),
            storages: state.storages.len(),
            users: state.accounts.config().users.len(),
            tasks: state.tasks.iter().count(),
            tasks_running: state.tasks.iter().filter(|task| task.is_running(now)).count(),
            snapshots,
            state_file_bytes: self.shared.state_file_bytes(),
            clock: self.clock_status(),
            time_scale: self.time_scale(),
        }
    }

    pub(super) fn clock_status(&self) -> ClockStatus {
        let unix = self.now();
        let hands = self.shared.virtual_clock.as_ref();
        ClockStatus {
            unix: unix.as_secs_f64(),
            at: Rfc3339(unix).to_string(),
            frozen: hands.is_some_and(VirtualClock::is_frozen),
            system: hands.is_none(),
        }
    }

    fn hands(&self) -> Result<VirtualClock, ControlError> {
        self.shared.virtual_clock.clone().ok_or(ControlError::NoClock)
    }
}

fn info(name: &str, copy: &Copy) -> SnapshotInfo {
    let guests = copy.state.guests.len();
    SnapshotInfo { name: name.to_owned(), taken: copy.taken.as_secs(), guests }
}

fn block(receipt: Option<Receipt>) -> Result<(), ControlError> {
    Ok(receipt.map_or(Ok(()), Receipt::block)?)
}

impl From<NotKept> for ControlError {
    fn from(not_kept: NotKept) -> Self {
        Self::NotKept(not_kept.to_string())
    }
}

impl Shared {
    /// Makes the cluster another one, with `meanwhile` under the same lock.
    fn replace(&self, next: State, meanwhile: impl FnOnce()) -> Option<Receipt> {
        let mut state = self.state();
        state.replace_with(next);
        meanwhile();
        self.keep_all()
    }

    fn snapshots(&self) -> std::sync::MutexGuard<'_, super::Snapshots> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
