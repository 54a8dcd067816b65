//! One budget per key.

use std::{hash::Hash, time::Duration};

use crate::{
    keyed::Keyed,
    rate::{Exhausted, Pace, Rate, duration, picos},
};

/// The same [`Rate`] for each of at most `capacity` keys: addresses, users, tokens.
///
/// A key the table has forgotten starts with a full bucket. To keep that from being a way out, a
/// key that was refused or penalised is protected until its bucket is full again: only other
/// refused or penalised keys can push it out ([`Keyed`] says how many it takes). A key that merely
/// spent part of its burst can be pushed out by as many fresh keys as the unprotected part of the
/// table holds, which a limit over all keys together (a [`TokenBucket`](crate::TokenBucket)) has
/// to cover.
#[derive(Debug)]
pub struct KeyedRate<K> {
    pace: Pace,
    full_at: Keyed<K, u128>,
    clock: Duration,
}

impl<K: Clone + Eq + Hash> KeyedRate<K> {
    /// All buckets full.
    #[must_use]
    pub fn new(rate: Rate, capacity: usize) -> Self {
        Self { pace: Pace::new(rate), full_at: Keyed::new(capacity), clock: Duration::ZERO }
    }

    /// Spends `cost` tokens of `key`; costs nothing when refused.
    ///
    /// # Errors
    /// [`Exhausted`] when fewer are there. A cost of 0 is never refused.
    pub fn take(&mut self, key: &K, now: Duration, cost: u32) -> Result<(), Exhausted> {
        self.clock = self.clock.max(now);
        let place = self.full_at.place(self.clock, key, || 0);
        let full_at = self.full_at.at(place);
        let taken = self.pace.take(full_at, picos(self.clock), cost);
        let until = duration(*full_at);
        if taken.is_err() {
            self.full_at.protect_at(place, until);
        }
        taken
    }

    /// Takes `tokens` of `key` away whether they are there or not, see
    /// [`TokenBucket::penalise`](crate::TokenBucket::penalise).
    pub fn penalise(&mut self, key: &K, now: Duration, tokens: u32) {
        self.clock = self.clock.max(now);
        let place = self.full_at.place(self.clock, key, || 0);
        let full_at = self.full_at.at(place);
        self.pace.penalise(full_at, picos(self.clock), tokens);
        let until = duration(*full_at);
        self.full_at.protect_at(place, until);
    }

    /// How long until `cost` tokens of `key` are there; zero: now, [`Duration::MAX`]: never.
    #[must_use]
    pub fn retry_after(&self, key: &K, now: Duration, cost: u32) -> Duration {
        self.pace.wait(self.state(key), picos(self.clock.max(now)), cost)
    }

    /// Whole tokens `key` has now.
    #[must_use]
    pub fn available(&self, key: &K, now: Duration) -> u32 {
        self.pace.available(self.state(key), picos(self.clock.max(now)))
    }

    /// Keys remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.full_at.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full_at.is_empty()
    }

    /// Keys forgotten for lack of room so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.full_at.evicted()
    }

    fn state(&self, key: &K) -> u128 {
        self.full_at.peek(key).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::TokenBucket;

    const RATE: Rate = Rate { burst: 2, per_second: 1.0 };

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn keys_do_not_share() {
        let mut rate = KeyedRate::new(RATE, 10);
        rate.take(&"a", at(1), 2).unwrap();
        assert_eq!(rate.take(&"a", at(1), 1).unwrap_err().retry_after, at(1));
        assert_eq!((rate.available(&"a", at(1)), rate.available(&"b", at(1))), (0, 2));
        rate.take(&"b", at(1), 1).unwrap();
        assert_eq!((rate.len(), rate.evicted()), (2, 0));
        assert_eq!(rate.retry_after(&"b", at(1), 3), Duration::MAX);
    }

    #[test]
    fn flooding_does_not_wash_a_refusal_or_penalty_away() {
        let mut rate = KeyedRate::new(RATE, 16);
        rate.take(&0, at(1), 2).unwrap();
        rate.take(&0, at(1), 1).unwrap_err();
        rate.penalise(&1, at(1), 60);
        for key in 100..10_000 {
            rate.take(&key, at(1), 1).unwrap();
        }
        assert_eq!(rate.available(&0, at(1)), 0);
        assert_eq!(rate.retry_after(&1, at(1), 1), at(59));
        assert_eq!(rate.len(), 16);
    }

    #[test]
    fn recovered_offenders_do_not_crowd_out_the_others() {
        let mut rate = KeyedRate::new(RATE, 8);
        for key in 0..8 {
            rate.penalise(&key, at(1), 5);
        }
        for key in 100..108 {
            rate.take(&key, at(60), 2).unwrap();
        }
        assert!((100..108).all(|key| rate.available(&key, at(60)) == 0));
    }

    proptest! {
        /// With room for every key, each behaves as a bucket of its own.
        #[test]
        fn same_as_single_buckets(steps in proptest::collection::vec((0..5usize, 0..700u64, 0..4u32, any::<bool>()), 1..120)) {
            let mut keyed = KeyedRate::new(RATE, 5);
            let mut single = vec![TokenBucket::new(RATE); 5];
            let mut now = Duration::ZERO;
            for (key, millis, tokens, penalty) in steps {
                now += Duration::from_millis(millis);
                if penalty {
                    keyed.penalise(&key, now, tokens);
                    single[key].penalise(now, tokens);
                } else {
                    prop_assert_eq!(keyed.take(&key, now, tokens), single[key].take(now, tokens));
                }
                prop_assert_eq!(keyed.available(&key, now), single[key].available(now));
            }
        }
    }
}
