//! Budgets, turns and penalties of peers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_api::{Code, Refusal};
use limits::{Concurrency, KeyedRate, Rate};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::fair_queue::FairQueue;
use crate::config::Limits;
use crate::limits::{BUDGETS, PENALTY, QUEUE, STREAMS};
use crate::peer::PeerKey;

/// What all connections share.
pub(crate) struct Admission {
    state: Mutex<State>,
}

struct State {
    budget: Rate,
    rate: KeyedRate<PeerKey>,
    under_way: Concurrency<PeerKey>,
    streams: Concurrency<PeerKey>,
    queue: FairQueue<PeerKey, oneshot::Sender<()>>,
    wait: Duration,
}

/// The turn of one request; given back when dropped, which is before the answer is written: a
/// client that waits for each answer never finds its own last request in its way.
pub(crate) struct Turn {
    admission: Arc<Admission>,
    key: PeerKey,
}

/// The place of a request that answers more than once; free again when dropped.
pub(crate) struct Streaming {
    admission: Arc<Admission>,
    key: PeerKey,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let state = State {
            budget: rate(limits),
            rate: KeyedRate::new(rate(limits), BUDGETS),
            under_way: Concurrency::new(limits.under_way_per_peer, limits.under_way),
            streams: Concurrency::new(STREAMS.0, STREAMS.1),
            queue: FairQueue::new(QUEUE.0, QUEUE.1),
            wait: limits.queue_wait(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Other limits from now on; turns and who waits stay. Debts stay while the budget is the
    /// same: those of a slower one could keep a peer out of a faster one for an hour.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        let mut state = self.state();
        if state.budget != rate(limits) {
            state.budget = rate(limits);
            state.rate = KeyedRate::new(state.budget, BUDGETS);
        }
        state.under_way.set_caps(limits.under_way_per_peer, limits.under_way);
        state.wait = limits.queue_wait();
    }

    /// Spends one request of the peer's budget.
    pub(crate) fn spend(&self, key: &PeerKey, now: Duration) -> Result<(), Refusal> {
        self.state().rate.take(key, now, 1).map_err(|exhausted| {
            let text = "the peer's budget is spent; wait, or raise broker.limits.per_second";
            Refusal::new(Code::RateLimited, text).after(exhausted.retry_after)
        })
    }

    /// Puts a debt on the peer's budget.
    pub(crate) fn penalise(&self, key: &PeerKey, now: Duration) {
        self.state().rate.penalise(key, now, PENALTY);
    }

    /// Waits for a turn.
    pub(crate) async fn turn(self: &Arc<Self>, key: &PeerKey) -> Result<Turn, Refusal> {
        let (granted, wait) = {
            let mut state = self.state();
            if state.under_way.acquire(key).is_ok() {
                return Ok(self.taken(key));
            }
            let (grant, granted) = oneshot::channel();
            if state.queue.push(key, grant).is_err() {
                return Err(busy("the queue is full"));
            }
            (granted, state.wait)
        };
        // A grant that arrives while the wait ends is given back by `Turn` when it is dropped.
        match timeout(wait, Waiting { granted, admission: self, key }).await {
            Ok(true) => Ok(self.taken(key)),
            Ok(false) | Err(_) => Err(busy("other requests take too long")),
        }
    }

    /// A place for a request that answers more than once: nobody waits for one.
    pub(crate) fn stream(self: &Arc<Self>, key: &PeerKey) -> Result<Streaming, Refusal> {
        self.state().streams.acquire(key).map_err(|error| busy(&error.to_string()))?;
        Ok(Streaming { admission: Arc::clone(self), key: key.clone() })
    }

    /// Requests that wait, for the metrics.
    pub(crate) fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    /// Requests under way.
    pub(crate) fn under_way(&self) -> u32 {
        self.state().under_way.held_total()
    }

    /// Peers whose budget is remembered.
    pub(crate) fn peers(&self) -> usize {
        self.state().rate.len()
    }

    fn taken(self: &Arc<Self>, key: &PeerKey) -> Turn {
        Turn { admission: Arc::clone(self), key: key.clone() }
    }

    fn release(&self, key: &PeerKey) {
        let mut state = self.state();
        state.under_way.release(key);
        // Those who gave up in the meantime are passed over.
        loop {
            let State { under_way, queue, .. } = &mut *state;
            let fits = |key: &PeerKey| under_way.has_room(key);
            let Some((next, grant)) = queue.pop(fits) else { return };
            if under_way.acquire(&next).is_err() {
                return;
            }
            if grant.send(()).is_ok() {
                return;
            }
            under_way.release(&next);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rate(limits: &Limits) -> Rate {
    Rate { burst: limits.burst, per_second: limits.per_second }
}

/// Resolves to whether the turn came. Dropped with a turn that came unseen, it gives it back.
struct Waiting<'a> {
    granted: oneshot::Receiver<()>,
    admission: &'a Admission,
    key: &'a PeerKey,
}

impl Future for Waiting<'_> {
    type Output = bool;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<bool> {
        std::pin::Pin::new(&mut self.granted).poll(context).map(|granted| granted.is_ok())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.granted.close();
        if self.granted.try_recv().is_ok() {
            self.admission.release(self.key);
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.admission.state().streams.release(&self.key);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admission.release(&self.key);
    }
}

fn busy(why: &str) -> Refusal {
    let text = format!("no turn: {why}; ask again later");
    Refusal::new(Code::Busy, text).after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(per_peer: u32, all: u32) -> Arc<Admission> {
        let limits = Limits {
            under_way_per_peer: per_peer,
            under_way: all,
            queue_wait_ms: 1000,
            per_second: 1.0,
            burst: 2,
            ..Limits::default()
        };
        Arc::new(Admission::new(&limits))
    }

    fn key(name: &str) -> PeerKey {
        PeerKey::for_tests(name)
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_gets_the_turn_and_who_gave_up_does_not_keep_it() {
        let admission = admission(1, 1);
        let b = key("b");
        let first = admission.turn(&key("a")).await.unwrap();
        {
            let mut gone = Box::pin(admission.turn(&b));
            assert!(timeout(Duration::from_millis(1), &mut gone).await.is_err());
        }
        assert_eq!(admission.turn(&key("c")).await.err().unwrap().code, Code::Busy);
        drop(first);
        assert_eq!((admission.under_way(), admission.waiting()), (0, 0));
        drop(admission.turn(&key("d")).await.unwrap());
        assert_eq!(admission.under_way(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_granted_while_its_request_is_dropped_is_not_lost() {
        let admission = admission(1, 1);
        let b = key("b");
        let first = admission.turn(&key("a")).await.unwrap();
        let mut waiting = Box::pin(admission.turn(&b));
        assert!(timeout(Duration::from_millis(1), &mut waiting).await.is_err());
        drop(first);
        assert_eq!(admission.under_way(), 1, "granted, not seen yet");
        drop(waiting);
        assert_eq!(admission.under_way(), 0);
    }

    #[test]
    fn no_peer_takes_all_places_of_what_answers_more_than_once() {
        let admission = admission(1, 1);
        let open: Vec<_> = (0..STREAMS.0).map(|_| admission.stream(&key("a")).unwrap()).collect();
        assert_eq!(admission.stream(&key("a")).err().unwrap().code, Code::Busy);
        drop(admission.stream(&key("b")).unwrap());
        drop(open);
        drop(admission.stream(&key("a")).unwrap());
    }

    #[test]
    fn an_offence_is_paid_by_the_offender_alone() {
        let admission = admission(1, 1);
        let (bad, good) = (key("bad"), key("good"));
        admission.penalise(&bad, Duration::ZERO);
        let refusal = admission.spend(&bad, Duration::ZERO).unwrap_err();
        assert_eq!(refusal.code, Code::RateLimited);
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(u64::from(PENALTY) - 1)));
        admission.spend(&good, Duration::ZERO).unwrap();
    }
}
