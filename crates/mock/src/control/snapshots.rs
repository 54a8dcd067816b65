//! Copies of the whole cluster, by name, in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::ControlError;
use crate::limits::{SNAPSHOT_NAME, SNAPSHOTS};
use crate::state::State;

/// One copy and when, by the mock's clock, it was taken.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(super) state: State,
    pub(super) taken: Duration,
}

/// Bounded by [`SNAPSHOTS`].
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    by_name: BTreeMap<String, Copy>,
}

impl Snapshots {
    /// Adds a copy or puts it in the place of the one with that name.
    pub(super) fn insert(&mut self, name: &str, copy: Copy) -> Result<(), ControlError> {
        if !is_name(name) {
            return Err(ControlError::Name);
        }
        if self.by_name.len() >= SNAPSHOTS && !self.by_name.contains_key(name) {
            return Err(ControlError::TooMany);
        }
        self.by_name.insert(name.to_owned(), copy);
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Result<&Copy, ControlError> {
        self.by_name.get(name).ok_or_else(|| ControlError::NoSnapshot(name.to_owned()))
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), ControlError> {
        let removed = self.by_name.remove(name);
        removed.map(drop).ok_or_else(|| ControlError::NoSnapshot(name.to_owned()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Copy)> {
        self.by_name.iter()
    }
}

fn is_name(name: &str) -> bool {
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=SNAPSHOT_NAME).contains(&name.len()) && name.bytes().all(of_name)
}
