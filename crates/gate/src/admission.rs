//! How many connections at once, per address and together, and who makes room.
//!
//! A connection is *silent* until its first request is whole. Silent ones cost an attacker
//! nothing, so they are what makes room: an address over its quota of them, or over its places,
//! loses its oldest silent one, and when all places are taken, the address that has most of
//! them does. A new connection is refused only where every place is held by one that has asked
//! for something.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use limits::{Busy, Concurrency};
use tokio::sync::Notify;

use crate::source::source_of;

/// The count of all workers. A lock is taken three times in the life of a connection, never
/// for a request after the first.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Mutex<Places>>);

/// Who is counted: a source; or one connection of a proxy, which stands for many sources.
type Key = (IpAddr, u64);

struct Places {
    all: Concurrency<Key>,
    silent_most: usize,
    /// Silent connections of each key, the oldest first.
    silent: HashMap<Key, BTreeMap<u64, Arc<Cut>>>,
    next: u64,
}

/// How a connection learns that it has lost its place.
#[derive(Default)]
struct Cut {
    lost: AtomicBool,
    wake: Notify,
}

/// A place, given back when dropped.
pub(crate) struct Permit {
    admission: Admission,
    key: Key,
    number: u64,
    cut: Arc<Cut>,
    silent: Cell<bool>,
}

impl Admission {
    /// At most `per_address` of one source, `silent_per_address` of them silent, and `total`.
    pub(crate) fn new(per_address: u32, silent_per_address: u32, total: u32) -> Self {
        Self(Arc::new(Mutex::new(Places {
            all: Concurrency::new(per_address, total),
            silent_most: usize::try_from(silent_per_address).unwrap_or(usize::MAX),
            silent: HashMap::new(),
            next: 0,
        })))
    }

    /// A place for a connection of this client. Behind a `proxy` are many: its connections
    /// count only together with all.
    pub(crate) fn admit(&self, client: IpAddr, proxy: bool) -> Result<Permit, Busy> {
        let mut places = self.places();
        places.next = places.next.wrapping_add(1);
        let number = places.next;
        let key = (source_of(client), if proxy { number } else { 0 });
        if places.silent_of(&key) >= places.silent_most {
            places.cut_oldest(key);
        }
        if let Err(busy) = places.all.acquire(&key) {
            let other = match busy {
                Busy::Key(_) => Some(key),
                Busy::Total(_) => places.most_silent(),
            };
            if !other.is_some_and(|other| places.cut_oldest(other)) {
                return Err(busy);
            }
            places.all.acquire(&key)?;
        }
        let cut = Arc::new(Cut::default());
        places.silent.entry(key).or_default().insert(number, Arc::clone(&cut));
        Ok(Permit { admission: self.clone(), key, number, cut, silent: Cell::new(true) })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn silent_of(&self, key: &Key) -> usize {
        self.silent.get(key).map_or(0, BTreeMap::len)
    }

    /// The key with most silent connections; of several, the one whose oldest is oldest. Looked
    /// for only when every place is taken.
    fn most_silent(&self) -> Option<Key> {
        let rank = |silent: &BTreeMap<u64, _>| {
            (silent.len(), Reverse(silent.keys().next().copied().unwrap_or(u64::MAX)))
        };
        self.silent.iter().max_by_key(|(_, silent)| rank(silent)).map(|(key, _)| *key)
    }

    /// Takes the place of the oldest silent connection back, now: its task may end later.
    fn cut_oldest(&mut self, key: Key) -> bool {
        let Some((_, cut)) = self.silent.get_mut(&key).and_then(BTreeMap::pop_first) else {
            return false;
        };
        self.tidy(key);
        self.all.release(&key);
        cut.lost.store(true, Ordering::Relaxed);
        cut.wake.notify_one();
        true
    }

    /// Forgets a key without silent connections.
    fn tidy(&mut self, key: Key) {
        if self.silent_of(&key) == 0 {
            self.silent.remove(&key);
        }
    }

    fn remove_silent(&mut self, key: Key, number: u64) {
        if let Some(silent) = self.silent.get_mut(&key) {
            silent.remove(&number);
        }
        self.tidy(key);
    }
}

impl Permit {
    /// A request of this connection is whole: it makes room for nobody any more.
    pub(crate) fn heard(&self) {
        if !self.silent.get() {
            return;
        }
        let mut places = self.admission.places();
        // Under the lock: what was lost before stays lost.
        if !self.cut.lost.load(Ordering::Relaxed) {
            places.remove_silent(self.key, self.number);
            self.silent.set(false);
        }
    }

    /// Returns when the place is lost to a newer connection: never, once it was heard.
    pub(crate) async fn lost(&self) {
        let mut lost = pin!(self.cut.wake.notified());
        poll_fn(|cx| if self.silent.get() { lost.as_mut().poll(cx) } else { Poll::Pending }).await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut places = self.admission.places();
        // Under the lock: whoever cuts has it.
        if self.cut.lost.load(Ordering::Relaxed) {
            return;
        }
        if self.silent.get() {
            places.remove_silent(self.key, self.number);
        }
        places.all.release(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::{Admission, Permit};
    use limits::Busy;
    use proptest::prelude::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn admit(admission: &Admission, client: &str) -> Result<Permit, Busy> {
        admission.admit(client.parse().unwrap(), false)
    }

    fn is_lost(permit: &Permit) -> bool {
        pin!(permit.lost()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_64_is_one_client_and_places_come_back() {
        let admission = Admission::new(1, 1, 2);
        let first = admit(&admission, "2001:db8::1").unwrap();
        first.heard();
        assert!(admit(&admission, "2001:db8::2").is_err());
        let other = admit(&admission, "::ffff:192.0.2.1").unwrap();
        other.heard();
        assert!(matches!(admit(&admission, "192.0.2.1"), Err(Busy::Key(1))));
        assert!(matches!(admit(&admission, "192.0.2.2"), Err(Busy::Total(2))));
        drop(first);
        assert!(admit(&admission, "192.0.2.2").is_ok());
    }

    #[test]
    fn over_the_quota_the_oldest_silent_one_of_the_address_goes() {
        let admission = Admission::new(8, 2, 100);
        let heard = admit(&admission, "192.0.2.1").unwrap();
        heard.heard();
        let neighbour = admit(&admission, "192.0.2.2").unwrap();
        let permits: Vec<_> = (0..4).map(|_| admit(&admission, "192.0.2.1").unwrap()).collect();
        let lost: Vec<_> = permits.iter().map(is_lost).collect();
        assert_eq!(lost, [true, true, false, false]);
        assert!(!is_lost(&heard) && !is_lost(&neighbour));
        drop(permits);
        assert!(admission.places().silent_of(&("192.0.2.1".parse().unwrap(), 0)) == 0);
    }

    #[test]
    fn a_place_that_was_lost_is_not_regained_by_a_request() {
        let admission = Admission::new(8, 1, 100);
        let first = admit(&admission, "192.0.2.1").unwrap();
        let second = admit(&admission, "192.0.2.1").unwrap();
        first.heard();
        second.heard();
        assert!(is_lost(&first) && !is_lost(&second));
    }

    #[test]
    fn when_all_places_are_taken_whoever_is_silent_most_makes_room() {
        let admission = Admission::new(100, 100, 6);
        let lawful = admit(&admission, "192.0.2.1").unwrap();
        let silent: Vec<_> = (0..4).map(|_| admit(&admission, "192.0.2.9").unwrap()).collect();
        let heard = admit(&admission, "192.0.2.2").unwrap();
        heard.heard();
        let new = admit(&admission, "192.0.2.3").unwrap();
        assert_eq!(silent.iter().map(is_lost).collect::<Vec<_>>(), [true, false, false, false]);
        assert!(!is_lost(&lawful) && !is_lost(&heard));
        for permit in [&lawful, &new].into_iter().chain(&silent[1..]) {
            permit.heard();
        }
        assert!(matches!(admit(&admission, "192.0.2.4"), Err(Busy::Total(6))));
    }

    #[test]
    fn connections_of_a_proxy_count_together_with_all_only() {
        let admission = Admission::new(1, 1, 3);
        let proxy = || admission.admit("192.0.2.1".parse().unwrap(), true);
        let permits: Vec<_> = (0..3).map(|_| proxy().unwrap()).collect();
        assert!(permits.iter().all(|permit| !is_lost(permit)));
        permits.iter().for_each(Permit::heard);
        assert!(proxy().is_err());
    }

    proptest! {
        /// Whatever happens, the places taken are those of the permits that were not lost.
        #[test]
        fn places_are_exact(steps in prop::collection::vec((0..4u8, 0..3u8), 0..120)) {
            let admission = Admission::new(3, 2, 5);
            let mut permits: Vec<Permit> = Vec::new();
            for (step, client) in steps {
                let client = [192, 0, 2, client].into();
                match step {
                    0 | 1 => permits.extend(admission.admit(client, step == 1).ok()),
                    2 if !permits.is_empty() => drop(permits.remove(0)),
                    _ => permits.last().iter().for_each(|permit| permit.heard()),
                }
                let kept = permits.iter().filter(|permit| !is_lost_flag(permit)).count();
                let places = admission.places();
                prop_assert_eq!(places.all.held_total() as usize, kept);
                let silent = permits.iter().filter(|p| !is_lost_flag(p) && p.silent.get()).count();
                prop_assert_eq!(places.silent.values().map(std::collections::BTreeMap::len).sum::<usize>(), silent);
                prop_assert!(places.silent.values().all(|silent| !silent.is_empty()));
            }
        }
    }

    fn is_lost_flag(permit: &Permit) -> bool {
        permit.cut.lost.load(std::sync::atomic::Ordering::Relaxed)
    }
}
