//! How many at once, per key and together.

use std::{collections::HashMap, fmt, hash::Hash};

/// Counts what is under way; at most `per_key` of one key and `total` of all.
///
/// Memory is bounded by `total`: a key is known only while something of it is under way, so
/// nothing is ever evicted and a count can not be washed away. Every successful
/// [`acquire`](Self::acquire) needs one [`release`](Self::release) with the same key.
pub struct Concurrency<K> {
    per_key: u32,
    total: u32,
    held: HashMap<K, u32>,
    sum: u32,
}

/// Which cap was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// The caller itself has too much under way.
    #[error("{0} requests of this client are under way, the most allowed: wait for one to finish")]
    Key(u32),
    /// All callers together have.
    #[error("{0} requests are under way, the most allowed: retry shortly")]
    Total(u32),
}

impl<K: Clone + Eq + Hash> Concurrency<K> {
    /// Nothing under way. A cap of 0 admits nothing.
    #[must_use]
    pub fn new(per_key: u32, total: u32) -> Self {
        Self { per_key, total, held: HashMap::new(), sum: 0 }
    }

    /// Other caps from now on. What is under way beyond them stays until it is released.
    pub fn set_caps(&mut self, per_key: u32, total: u32) {
        (self.per_key, self.total) = (per_key, total);
    }

    /// Counts one more of `key`.
    ///
    /// # Errors
    /// [`Busy`]; the key's own cap is named first, as that is the one the client can do something
    /// about. Nothing is counted then.
    pub fn acquire(&mut self, key: &K) -> Result<(), Busy> {
        if self.held(key) >= self.per_key {
            return Err(Busy::Key(self.per_key));
        }
        if self.sum >= self.total {
            return Err(Busy::Total(self.total));
        }
        if let Some(count) = self.held.get_mut(key) {
            *count += 1;
        } else {
            self.held.insert(key.clone(), 1);
        }
        self.sum += 1;
        Ok(())
    }

    /// One of `key` has finished. False, and nothing changes, if none was under way.
    pub fn release(&mut self, key: &K) -> bool {
        let Some(count) = self.held.get_mut(key) else {
            return false;
        };
        *count -= 1;
        if *count == 0 {
            self.held.remove(key);
        }
        self.sum -= 1;
        true
    }

    /// Whether [`acquire`](Self::acquire) would count one more of `key`.
    #[must_use]
    pub fn has_room(&self, key: &K) -> bool {
        self.held(key) < self.per_key && self.sum < self.total
    }

    /// Under way of `key`.
    #[must_use]
    pub fn held(&self, key: &K) -> u32 {
        self.held.get(key).copied().unwrap_or(0)
    }

    /// Under way of all keys.
    #[must_use]
    pub fn held_total(&self) -> u32 {
        self.sum
    }

    /// Keys with something under way.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.held.len()
    }
}

impl<K> fmt::Debug for Concurrency<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Concurrency({} of {}, {} keys)", self.sum, self.total, self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_caps_hold_from_then_on_and_nothing_under_way_is_forgotten() {
        let mut slots = Concurrency::new(2, 4);
        slots.acquire(&"a").unwrap();
        slots.acquire(&"a").unwrap();
        slots.set_caps(1, 4);
        assert_eq!(slots.acquire(&"a"), Err(Busy::Key(1)));
        assert!(slots.release(&"a") && !slots.has_room(&"a"), "one is still under way");
        assert!(slots.release(&"a") && slots.has_room(&"a"));
    }

    #[test]
    fn caps_name_themselves() {
        let mut slots = Concurrency::new(2, 3);
        slots.acquire(&"a").unwrap();
        slots.acquire(&"a").unwrap();
        assert_eq!(slots.acquire(&"a"), Err(Busy::Key(2)));
        slots.acquire(&"b").unwrap();
        assert_eq!(slots.acquire(&"b"), Err(Busy::Total(3)));
        assert!(!slots.release(&"c"));
        assert!(slots.release(&"a"));
        slots.acquire(&"b").unwrap();
        assert_eq!(format!("{slots:?}"), "Concurrency(3 of 3, 2 keys)");
    }

    proptest! {
        #[test]
        fn counts_are_exact(per_key in 0..4u32, total in 0..9u32, steps in proptest::collection::vec((0..6u8, any::<bool>()), 0..200)) {
            let mut slots = Concurrency::new(per_key, total);
            let mut list: Vec<u8> = Vec::new();
            for (key, acquire) in steps {
                let own = list.iter().filter(|held| **held == key).count();
                if acquire {
                    let fits = own < per_key as usize && list.len() < total as usize;
                    prop_assert_eq!(slots.has_room(&key), fits);
                    prop_assert_eq!(slots.acquire(&key).is_ok(), fits);
                    if fits {
                        list.push(key);
                    }
                } else {
                    prop_assert_eq!(slots.release(&key), own > 0);
                    if let Some(i) = list.iter().position(|held| *held == key) {
                        list.remove(i);
                    }
                }
                prop_assert_eq!(slots.held_total() as usize, list.len());
                list.sort_unstable();
                let mut distinct = list.clone();
                distinct.dedup();
                prop_assert_eq!(slots.keys(), distinct.len());
            }
        }
    }
}
