//! All guests of the cluster.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

use super::{Guest, Tracked};

/// Guests by id. Taking them for a change throws away what was summed up over them, so a poll of
/// the nodes adds up only what has changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guests {
    by_id: Tracked<u32, Guest>,
    /// Bytes of memory that the running guests of each node hold.
    memory: OnceCell<BTreeMap<String, u64>>,
}

impl Guests {
    /// Bytes of memory that the running guests of the node hold.
    pub(crate) fn memory_on(&self, node: &str) -> u64 {
        let held = self.memory.get_or_init(|| {
            let mut held = BTreeMap::new();
            for guest in self.by_id.values() {
                *held.entry(guest.node.clone()).or_default() += guest.memory_used();
            }
            held
        });
        held.get(node).copied().unwrap_or(0)
    }

    /// As [`Tracked::take_touched`], which changes no guest: the sums stay.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<u32> {
        self.by_id.take_touched()
    }
}

impl Deref for Guests {
    type Target = Tracked<u32, Guest>;

    fn deref(&self) -> &Self::Target {
        &self.by_id
    }
}

impl DerefMut for Guests {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.memory.take();
        &mut self.by_id
    }
}

impl FromIterator<Guest> for Guests {
    fn from_iter<I: IntoIterator<Item = Guest>>(guests: I) -> Self {
        let by_id = guests.into_iter().map(|guest| (guest.vmid, guest)).collect();
        Self { by_id, memory: OnceCell::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::seed::Seed;

    #[test]
    fn a_change_shows_in_the_sum() {
        let seeds = Seed::cluster().guests.into_iter();
        let mut guests: Guests =
            seeds.map(|seed| Guest::new(seed, Duration::from_secs(1_700_000_000))).collect();
        let (before, stopped) = (guests.memory_on("pve1"), guests[&100].memory_used());
        assert!(stopped > 0);
        guests.get_mut(&100).unwrap().set_running(false, Duration::ZERO);
        assert_eq!(guests.memory_on("pve1"), before - stopped);
        assert_eq!(guests.memory_on("nowhere"), 0);
    }
}
