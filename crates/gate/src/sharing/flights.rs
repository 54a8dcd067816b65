//! Who asks, who waits for that, and what came of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::head::Fields;
use crate::limits::{
    ANSWER_FOR, ANSWERS_BYTES, ANSWERS_FOLLOWERS, ANSWERS_KEPT, ANSWERS_SEEN, FOLLOW_FOR,
};
use crate::metrics::Metrics;
use crate::session::Id;

/// A 200 with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: Fields,
    pub(crate) body: Bytes,
}

/// What is asked for, and by whom.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) caller: Id,
    /// Of the caller's permissions; None where they are not known, or do not decide.
    pub(crate) permissions: Option<Id>,
    /// On the monotonic clock.
    pub(crate) now: Duration,
}

/// What all workers share.
pub(crate) struct Sharing {
    /// Grows with everything that may have changed an answer.
    changes: AtomicU64,
    flights: Mutex<HashMap<Box<str>, Target>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Target {
    /// Who has asked last, and when.
    last: Option<(Id, Duration)>,
    /// Until when it is known that several ask.
    several: Duration,
    flights: Vec<Flight>,
}

/// One question to Proxmox VE and its answer.
struct Flight {
    owner: Id,
    permissions: Option<Id>,
    changes: u64,
    /// When it was asked; its answer is as old as that.
    asked: Duration,
    state: watch::Receiver<State>,
    /// Held by everybody who waits, to be counted.
    waiting: Arc<()>,
}

#[derive(Clone, Debug)]
enum State {
    Flying,
    Landed(Arc<Answer>),
}

/// What the caller has to do.
pub(crate) enum Joined<'a> {
    /// Ask Proxmox VE, and [`Leader::land`] what came of it.
    Lead(Leader<'a>),
    /// Take somebody else's, or ask alone when there is none.
    Follow(Follower<'a>),
    /// Ask, for oneself.
    Alone,
}

/// Whoever asks for all. Dropped, those who wait ask for themselves.
pub(crate) struct Leader<'a> {
    sharing: &'a Sharing,
    changes: u64,
    landed: watch::Sender<State>,
}

/// Whoever waits.
pub(crate) struct Follower<'a> {
    sharing: &'a Sharing,
    changes: u64,
    state: watch::Receiver<State>,
    _waiting: Arc<()>,
}

impl Sharing {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { changes: AtomicU64::new(0), flights: Mutex::default(), metrics }
    }

    /// Something may be different from now on: what was asked for before is not shared any more.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that a caller asks, and tells whether others have asked for the same lately.
    pub(crate) fn several(&self, target: &str, caller: Id, now: Duration) -> bool {
        let mut flights = self.flights();
        if flights.len() >= ANSWERS_KEPT && !flights.contains_key(target) {
            flights
                .retain(|_, target| target.last.is_some_and(|(_, when)| when + ANSWERS_SEEN > now));
            if flights.len() >= ANSWERS_KEPT {
                self.metrics.limit("answers");
                return false;
            }
        }
        let entry = flights.entry(target.into()).or_default();
        if entry.last.is_some_and(|(last, when)| last != caller && when + ANSWERS_SEEN > now) {
            entry.several = now + ANSWERS_SEEN;
        }
        entry.last = Some((caller, now));
        entry.several > now
    }

    /// Joins those who ask the same. [`Self::several`] comes first.
    pub(crate) fn join(&self, question: Question<'_>) -> Joined<'_> {
        let Question { target, caller, permissions, now } = question;
        let changes = self.changes.load(Ordering::SeqCst);
        let mut flights = self.flights();
        let Some(entry) = flights.get_mut(target) else { return Joined::Alone };
        entry.flights.retain(|flight| flight.is_good(changes, now));
        let same = |flight: &&Flight| {
            flight.owner == caller || (permissions.is_some() && flight.permissions == permissions)
        };
        if let Some(flight) = entry.flights.iter().find(same) {
            if Arc::strong_count(&flight.waiting) > ANSWERS_FOLLOWERS {
                self.metrics.limit("followers");
                return Joined::Alone;
            }
            let (state, waiting) = (flight.state.clone(), Arc::clone(&flight.waiting));
            return Joined::Follow(Follower { sharing: self, changes, state, _waiting: waiting });
        }
        let held: usize = flights.values().flat_map(|t| &t.flights).map(Flight::bytes).sum();
        let Some(entry) = flights.get_mut(target).filter(|_| held < ANSWERS_BYTES) else {
            self.metrics.limit("answers");
            return Joined::Alone;
        };
        let (landed, state) = watch::channel(State::Flying);
        let waiting = Arc::default();
        let flight = Flight { owner: caller, permissions, changes, asked: now, state, waiting };
        entry.flights.push(flight);
        self.metrics.cache("answers", "asked");
        Joined::Lead(Leader { sharing: self, changes, landed })
    }

    /// Drops what is too old. Called once a second.
    pub(crate) fn sweep(&self, now: Duration) {
        let changes = self.changes.load(Ordering::SeqCst);
        self.flights().retain(|_, target| {
            target.flights.retain(|flight| flight.is_good(changes, now));
            !target.flights.is_empty()
                || target.last.is_some_and(|(_, when)| when + ANSWERS_SEEN > now)
        });
    }

    fn unchanged_since(&self, changes: u64) -> bool {
        self.changes.load(Ordering::SeqCst) == changes
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Box<str>, Target>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write on its way: what is asked for before its begin or before its end is not shared after.
pub(crate) struct Write<'a>(&'a Sharing);

impl<'a> Write<'a> {
    /// None where nothing is shared, or nothing written.
    pub(crate) fn begin(sharing: Option<&'a Sharing>, method: &Method) -> Option<Self> {
        let sharing = sharing.filter(|_| *method != Method::GET)?;
        sharing.changed();
        Some(Self(sharing))
    }
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        self.0.changed();
    }
}

impl Flight {
    /// Whether somebody may still join: asked a moment ago, on its way or landed, and nothing has
    /// changed since.
    fn is_good(&self, changes: u64, now: Duration) -> bool {
        // The sender of a flight that has landed is gone as well.
        let landed = matches!(*self.state.borrow(), State::Landed(_));
        let flying = !landed && self.state.has_changed().is_ok();
        let young = self.asked + ANSWER_FOR > now;
        self.changes == changes && young && (flying || landed)
    }

    fn bytes(&self) -> usize {
        match &*self.state.borrow() {
            State::Landed(answer) => answer.body.len(),
            State::Flying => 0,
        }
    }
}

impl Leader<'_> {
    /// The answer, for all who wait and for those who come within a second of the question.
    pub(crate) fn land(self, answer: Arc<Answer>) {
        if self.sharing.unchanged_since(self.changes) {
            let _ = self.landed.send(State::Landed(answer));
        }
    }
}

impl Follower<'_> {
    /// The answer; None when there is none for this caller.
    pub(crate) async fn answer(mut self) -> Option<Arc<Answer>> {
        let landed = self.state.wait_for(|state| matches!(state, State::Landed(_)));
        let answer = match timeout(FOLLOW_FOR, landed).await {
            Ok(Ok(state)) => match &*state {
                State::Landed(answer) => Some(Arc::clone(answer)),
                State::Flying => None,
            },
            // The leader's client has left, or its answer is nobody else's; or it takes too long.
            Ok(Err(_)) | Err(_) => None,
        };
        let answer = answer.filter(|_| self.sharing.unchanged_since(self.changes));
        let event = if answer.is_some() { "shared" } else { "not_shared" };
        self.sharing.metrics.cache("answers", event);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Follower, Joined, Leader, Question, Sharing};
    use crate::head::Fields;
    use crate::limits::{ANSWER_FOR, ANSWERS_FOLLOWERS, ANSWERS_KEPT, ANSWERS_SEEN, FOLLOW_FOR};
    use crate::metrics::Metrics;
    use crate::session::Id;
    use bytes::Bytes;
    use std::sync::Arc;
    use std::time::Duration;
    use telemetry::metrics::Registry;

    const ONE: Id = Id([1; 32]);
    const TWO: Id = Id([2; 32]);
    const SET: Id = Id([9; 32]);
    const NOW: Duration = Duration::from_secs(50);

    fn sharing() -> Sharing {
        Sharing::new(Metrics::register(&Registry::new()).unwrap())
    }

    fn join<'s>(sharing: &'s Sharing, caller: Id, set: Option<Id>, now: Duration) -> Joined<'s> {
        sharing.several("/a", caller, now);
        sharing.join(Question { target: "/a", caller, permissions: set, now })
    }

    fn leads<'s>(joined: Joined<'s>) -> Leader<'s> {
        match joined {
            Joined::Lead(leader) => leader,
            Joined::Follow(_) => panic!("follows"),
            Joined::Alone => panic!("alone"),
        }
    }

    fn follows<'s>(joined: Joined<'s>) -> Follower<'s> {
        match joined {
            Joined::Follow(follower) => follower,
            Joined::Lead(_) | Joined::Alone => panic!("does not follow"),
        }
    }

    fn answer() -> Arc<Answer> {
        Arc::new(Answer { headers: Fields::default(), body: Bytes::from_static(b"{}") })
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(future)
    }

    #[test]
    fn the_same_permissions_share_and_others_do_not() {
        let sharing = sharing();
        let leader = leads(join(&sharing, ONE, Some(SET), NOW));
        let same = follows(join(&sharing, TWO, Some(SET), NOW));
        let own = follows(join(&sharing, ONE, None, NOW));
        for set in [None, Some(TWO)] {
            leads(join(&sharing, TWO, set, NOW));
        }
        leader.land(answer());
        assert!(block_on(same.answer()).is_some());
        assert!(block_on(own.answer()).is_some());
        let late = NOW + ANSWER_FOR - Duration::from_millis(1);
        assert!(block_on(follows(join(&sharing, TWO, Some(SET), late)).answer()).is_some());
        leads(join(&sharing, TWO, Some(SET), NOW + ANSWER_FOR));
    }

    #[test]
    fn without_permissions_nobody_shares_but_the_caller() {
        let sharing = sharing();
        let _leader = leads(join(&sharing, ONE, None, NOW));
        leads(join(&sharing, TWO, None, NOW));
        leads(join(&sharing, TWO, Some(SET), NOW));
    }

    #[test]
    fn a_change_ends_the_sharing_before_and_after_the_answer() {
        let sharing = sharing();
        let leader = leads(join(&sharing, ONE, None, NOW));
        let follower = follows(join(&sharing, ONE, None, NOW));
        sharing.changed();
        leader.land(answer());
        assert!(block_on(follower.answer()).is_none(), "it was asked before the change");
        let leader = leads(join(&sharing, ONE, None, NOW));
        leader.land(answer());
        let follower = follows(join(&sharing, ONE, None, NOW));
        sharing.changed();
        assert!(block_on(follower.answer()).is_none(), "and this was answered before it");
        leads(join(&sharing, ONE, None, NOW));
    }

    #[test]
    fn a_leader_that_leaves_or_sleeps_strands_nobody() {
        let sharing = sharing();
        let leader = leads(join(&sharing, ONE, None, NOW));
        let follower = follows(join(&sharing, ONE, None, NOW));
        drop(leader);
        assert!(block_on(follower.answer()).is_none());
        let _leader = leads(join(&sharing, ONE, None, NOW));
        let follower = follows(join(&sharing, ONE, None, NOW));
        block_on(async {
            let begun = tokio::time::Instant::now();
            assert!(follower.answer().await.is_none());
            assert_eq!(begun.elapsed(), FOLLOW_FOR);
        });
    }

    #[test]
    fn several_are_those_who_ask_within_a_while() {
        let sharing = sharing();
        assert!(!sharing.several("/a", ONE, NOW));
        assert!(!sharing.several("/a", ONE, NOW), "the same one again");
        assert!(!sharing.several("/b", TWO, NOW), "something else");
        assert!(sharing.several("/a", TWO, NOW));
        assert!(sharing.several("/a", TWO, NOW + ANSWERS_SEEN / 2));
        assert!(!sharing.several("/a", TWO, NOW + ANSWERS_SEEN * 2));
    }

    #[test]
    fn everything_is_bounded() {
        let sharing = sharing();
        for number in 0..ANSWERS_KEPT + 10 {
            sharing.several(&format!("/{number}"), ONE, NOW);
        }
        assert_eq!(sharing.flights().len(), ANSWERS_KEPT);
        assert!(matches!(join(&sharing, ONE, None, NOW), Joined::Alone));
        let _leader = leads(join(&sharing, ONE, None, NOW + ANSWERS_SEEN));
        let now = NOW + ANSWERS_SEEN;
        let followers: Vec<_> =
            (0..ANSWERS_FOLLOWERS).map(|_| follows(join(&sharing, ONE, None, now))).collect();
        assert!(matches!(join(&sharing, ONE, None, now), Joined::Alone));
        drop(followers);
        follows(join(&sharing, ONE, None, now));
        sharing.sweep(now + ANSWERS_SEEN);
        assert_eq!(sharing.flights().len(), 0);
    }
}
