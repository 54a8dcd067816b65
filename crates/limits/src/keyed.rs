//! A bounded table that forgets the least recently used key, and penalised keys last.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::Hash,
    time::Duration,
};

use crate::bounds::UNPROTECTED_SHARE;

/// At most `capacity` values by key.
///
/// When a new key finds the table full, one entry is forgotten:
/// 1. the least recently used of those not [protected](Self::protect);
/// 2. only if every entry is protected, the one whose protection ends soonest.
///
/// So no number of fresh keys makes the table forget a protected one. What can is protected keys
/// only: at most three quarters of the capacity (all of it below 4) are protected at a time, and
/// beyond that the one whose protection ends soonest becomes an ordinary, just used entry. An
/// attacker who wants one ban forgotten must therefore earn that many later-ending ones, and the
/// last quarter stays for lawful keys meanwhile.
///
/// Hashing is keyed at random per table, so keys chosen by a client can not be made to collide.
/// All operations are O(1) amortised, except that protecting costs O(log of the protected).
pub struct Keyed<K, V> {
    capacity: usize,
    places: HashMap<K, usize>,
    slots: Vec<Slot<K, V>>,
    /// Ends of the list of unprotected slots.
    oldest: usize,
    newest: usize,
    protected: BTreeSet<(Duration, usize)>,
    evicted: u64,
}

struct Slot<K, V> {
    key: K,
    value: V,
    protected_until: Option<Duration>,
    older: usize,
    newer: usize,
}

/// No slot: `slots.get(NONE)` is `None`, which is how the ends of the list are told.
const NONE: usize = usize::MAX;

impl<K: Clone + Eq + Hash, V> Keyed<K, V> {
    /// An empty table; memory is taken as keys arrive. `capacity` 0 counts as 1.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            places: HashMap::new(),
            slots: Vec::new(),
            oldest: NONE,
            newest: NONE,
            protected: BTreeSet::new(),
            evicted: 0,
        }
    }

    /// The value of `key`, made by `make` if the key is new. The key becomes the most recently used.
    pub fn entry(&mut self, now: Duration, key: &K, make: impl FnOnce() -> V) -> &mut V {
        let place = self.place(now, key, make);
        self.at(place)
    }

    /// The value of `key`, if it is there; counts as use.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        let place = *self.places.get(key)?;
        self.touch(place);
        self.slots.get_mut(place).map(|slot| &mut slot.value)
    }

    /// The value of `key`, as it is; does not count as use.
    #[must_use]
    pub fn peek(&self, key: &K) -> Option<&V> {
        let place = *self.places.get(key)?;
        self.slots.get(place).map(|slot| &slot.value)
    }

    /// Keeps `key` from being forgotten before `until`, within the guarantee above; replaces what
    /// was set before. False if the key is not in the table.
    pub fn protect(&mut self, key: &K, until: Duration) -> bool {
        let place = self.places.get(key).copied();
        if let Some(place) = place {
            self.protect_at(place, until);
        }
        place.is_some()
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.detach(place);
        let removed = self.slots.swap_remove(place);
        self.moved(self.slots.len(), place);
        Some(removed.value)
    }

    /// All entries, in no order; O(capacity).
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().map(|slot| (&slot.key, &slot.value))
    }

    /// Entries now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Most entries.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Entries forgotten for lack of room so far: the metric that says the table is too small.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn place(&mut self, now: Duration, key: &K, make: impl FnOnce() -> V) -> usize {
        if let Some(&place) = self.places.get(key) {
            self.touch(place);
            return place;
        }
        self.expire(now);
        if self.slots.len() >= self.capacity {
            self.evict();
        }
        let place = self.slots.len();
        self.slots.push(Slot {
            key: key.clone(),
            value: make(),
            protected_until: None,
            older: NONE,
            newer: NONE,
        });
        self.places.insert(key.clone(), place);
        self.append(place);
        place
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "`place` returns indices of `slots` only, and nothing is removed in between"
    )]
    pub(crate) fn at(&mut self, place: usize) -> &mut V {
        &mut self.slots[place].value
    }

    pub(crate) fn protect_at(&mut self, place: usize, until: Duration) {
        let Some(slot) = self.slots.get(place) else {
            return;
        };
        if slot.protected_until == Some(until) {
            return;
        }
        self.detach(place);
        if let Some(slot) = self.slots.get_mut(place) {
            slot.protected_until = Some(until);
        }
        self.protected.insert((until, place));
        if self.protected.len() > self.capacity - self.capacity / UNPROTECTED_SHARE {
            self.unprotect_first();
        }
    }

    /// Back among the ordinary entries: whatever is over at `now`.
    fn expire(&mut self, now: Duration) {
        while self.protected.first().is_some_and(|&(until, _)| until <= now) {
            self.unprotect_first();
        }
    }

    fn unprotect_first(&mut self) {
        if let Some(&(_, place)) = self.protected.first() {
            self.detach(place);
            self.append(place);
        }
    }

    fn evict(&mut self) {
        let first_protected = self.protected.first().map(|&(_, place)| place);
        let place = if self.oldest == NONE { first_protected } else { Some(self.oldest) };
        let key = place.and_then(|place| self.slots.get(place)).map(|slot| slot.key.clone());
        if let Some(key) = key {
            self.remove(&key);
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    fn touch(&mut self, place: usize) {
        let ordinary = self.slots.get(place).is_some_and(|slot| slot.protected_until.is_none());
        if ordinary && self.newest != place {
            self.detach(place);
            self.append(place);
        }
    }

    /// Takes the slot out of the list or of the protected; it is in neither afterwards.
    fn detach(&mut self, place: usize) {
        let Some(slot) = self.slots.get_mut(place) else {
            return;
        };
        if let Some(until) = slot.protected_until.take() {
            self.protected.remove(&(until, place));
            return;
        }
        let (older, newer) = (slot.older, slot.newer);
        self.link(older, newer);
    }

    /// Puts a detached slot at the end of the list as the most recently used.
    fn append(&mut self, place: usize) {
        self.link(self.newest, place);
        self.link(place, NONE);
    }

    fn link(&mut self, older: usize, newer: usize) {
        match self.slots.get_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    /// After `swap_remove`: what was at `from` is now at `to`.
    fn moved(&mut self, from: usize, to: usize) {
        let Some(slot) = self.slots.get(to) else {
            return;
        };
        if let Some(place) = self.places.get_mut(&slot.key) {
            *place = to;
        }
        if let Some(until) = slot.protected_until {
            self.protected.remove(&(until, from));
            self.protected.insert((until, to));
            return;
        }
        let (older, newer) = (slot.older, slot.newer);
        self.link(older, to);
        self.link(to, newer);
    }
}

impl<K, V> fmt::Debug for Keyed<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // not the entries: keys may be session hashes, and there may be a million
        write!(f, "Keyed({} of {})", self.slots.len(), self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn least_recently_used_goes_first() {
        let mut table = Keyed::new(2);
        for key in ["a", "b", "a", "c"] {
            *table.entry(at(0), &key, || 0) += 1;
        }
        assert_eq!(
            (table.peek(&"a"), table.peek(&"b"), table.peek(&"c")),
            (Some(&2), None, Some(&1))
        );
        assert_eq!((table.len(), table.capacity(), table.evicted()), (2, 2, 1));
        assert_eq!(format!("{table:?}"), "Keyed(2 of 2)");
    }

    #[test]
    fn capacity_zero_is_one() {
        let mut table = Keyed::new(0);
        table.entry(at(0), &1, || ());
        table.entry(at(0), &2, || ());
        assert_eq!(table.iter().map(|(key, ())| *key).collect::<Vec<_>>(), [2]);
        assert!(!table.protect(&1, at(9)));
    }

    #[test]
    fn flood_of_fresh_keys_spares_the_protected() {
        let mut table = Keyed::new(8);
        for key in 0..6 {
            table.entry(at(0), &key, || ());
            table.protect(&key, at(100));
        }
        for key in 1000..9000 {
            table.entry(at(1), &key, || ());
        }
        assert!((0..6).all(|key| table.peek(&key).is_some()));
        table.entry(at(100), &9001, || ());
        table.entry(at(100), &9002, || ());
        (9003..9012).for_each(|key| {
            table.entry(at(100), &key, || ());
        });
        assert!((0..6).all(|key| table.peek(&key).is_none()), "over: as evictable as any");
    }

    #[test]
    fn a_quarter_stays_for_the_unprotected() {
        let mut table = Keyed::new(8);
        for key in 0..8 {
            table.entry(at(0), &key, || ());
            table.protect(&key, at(100 + key));
        }
        table.entry(at(1), &50, || ());
        table.entry(at(1), &51, || ());
        let kept: Vec<_> = (0..8).filter(|key| table.peek(key).is_some()).collect();
        assert_eq!(kept, [2, 3, 4, 5, 6, 7], "those that end soonest gave way");
    }

    /// The same rules in the plainest way: a list ordered by use, searched each time.
    struct Naive {
        capacity: usize,
        entries: Vec<(u8, u32, Option<Duration>)>,
    }

    impl Naive {
        fn find(&self, key: u8) -> Option<usize> {
            self.entries.iter().position(|entry| entry.0 == key)
        }

        fn soonest(&self) -> Option<usize> {
            let ends = self.entries.iter().enumerate().filter_map(|(i, e)| Some((e.2?, i)));
            ends.min().map(|(_, i)| i)
        }

        fn unprotect(&mut self, i: usize) {
            let (key, value, _) = self.entries.remove(i);
            self.entries.push((key, value, None));
        }

        fn entry(&mut self, now: Duration, key: u8) -> &mut u32 {
            if let Some(i) = self.find(key) {
                let entry = self.entries.remove(i);
                self.entries.push(entry);
            } else {
                while let Some(i) = self.soonest().filter(|&i| self.entries[i].2 <= Some(now)) {
                    self.unprotect(i);
                }
                if self.entries.len() >= self.capacity {
                    let oldest = self.entries.iter().position(|entry| entry.2.is_none());
                    self.entries.remove(oldest.or(self.soonest()).unwrap());
                }
                self.entries.push((key, 0, None));
            }
            &mut self.entries.last_mut().unwrap().1
        }

        fn protect(&mut self, key: u8, until: Duration) {
            let Some(i) = self.find(key) else { return };
            self.entries[i].2 = Some(until);
            let protected = self.entries.iter().filter(|entry| entry.2.is_some()).count();
            if protected > self.capacity - self.capacity / UNPROTECTED_SHARE {
                let i = self.soonest().unwrap();
                self.unprotect(i);
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Entry(u8),
        Get(u8),
        Protect(u8, u16),
        Remove(u8),
        Wait(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = 0..14u8;
        let step = prop_oneof![
            6 => key.clone().prop_map(Step::Entry),
            2 => key.clone().prop_map(Step::Get),
            3 => (key.clone(), 1..400u16).prop_map(|(key, secs)| Step::Protect(key, secs)),
            1 => key.prop_map(Step::Remove),
            2 => (0..60u16).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn same_as_the_plain_list(capacity in 1..11usize, steps in steps()) {
            let mut table = Keyed::new(capacity);
            let mut naive = Naive { capacity, entries: Vec::new() };
            let mut now = at(0);
            for (unique, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Entry(key) => {
                        *table.entry(now, &key, || 0) += 1;
                        *naive.entry(now, key) += 1;
                    }
                    Step::Get(key) => {
                        let known = naive.find(key).map(|_| *naive.entry(now, key));
                        prop_assert_eq!(table.get(&key).copied(), known);
                    }
                    Step::Protect(key, secs) => {
                        // distinct ends: which of two equal ones goes first is not promised
                        let until = now + at(secs.into()) + Duration::from_nanos(unique as u64);
                        table.protect(&key, until);
                        naive.protect(key, until);
                    }
                    Step::Remove(key) => {
                        let value = naive.find(key).map(|i| naive.entries.remove(i).1);
                        prop_assert_eq!(table.remove(&key), value);
                    }
                    Step::Wait(secs) => now += at(secs.into()),
                }
                let mut have: Vec<_> = table.iter().map(|(key, value)| (*key, *value)).collect();
                let mut want: Vec<_> = naive.entries.iter().map(|e| (e.0, e.1)).collect();
                have.sort_unstable();
                want.sort_unstable();
                prop_assert_eq!(have, want);
                prop_assert!(table.len() <= capacity && table.places.len() == table.len());
            }
        }
    }
}
