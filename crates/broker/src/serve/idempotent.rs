//! Requests that are done once, however often they are sent.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_api::{Code, Refusal, Verb};
use limits::Keyed;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::limits::{IDEMPOTENT, IDEMPOTENT_ANSWER};
use crate::peer::PeerKey;

/// Idempotency keys of all peers. Each peer has its own, so none finds or pushes out another's.
pub(crate) struct Idempotent(Mutex<State>);

struct State {
    /// With the request's hash.
    under_way: HashMap<Name, Hash>,
    done: Keyed<PeerKey, VecDeque<Done>>,
}

type Name = (PeerKey, String);
type Hash = [u8; 32];

struct Done {
    key: String,
    at: Duration,
    request: Hash,
    /// `None` when it was too long to keep.
    answer: Option<String>,
}

/// The right to do a request. Dropped without [`Claim::done`], it may be tried again.
pub(super) struct Claim<'a> {
    all: &'a Idempotent,
    name: Name,
}

/// What is to be done with a request.
pub(super) enum Begun<'a> {
    /// Do it.
    First(Claim<'a>),
    /// It was done, or can not be done now.
    Before(Result<Value, Refusal>),
}

impl Default for Idempotent {
    fn default() -> Self {
        let (under_way, done) = (HashMap::new(), Keyed::new(IDEMPOTENT.0));
        Self(Mutex::new(State { under_way, done }))
    }
}

impl Idempotent {
    /// `None` for a request without a key.
    pub(super) fn begin(
        &self,
        peer: &PeerKey,
        verb: &Verb,
        params: &Map<String, Value>,
        now: Duration,
    ) -> Option<Begun<'_>> {
        let key = params.get("idempotency_key")?.as_str()?;
        let request = hash(verb, params);
        let name = (peer.clone(), key.to_owned());
        let mut state = self.state();
        let refused = |code, text: &str| Some(Begun::Before(Err(Refusal::new(code, text))));
        let other = "this idempotency key was used for another request; take a fresh one";
        if let Some(first) = state.under_way.get(&name) {
            if *first != request {
                return refused(Code::Conflict, other);
            }
            let busy = Refusal::new(Code::Busy, "the first request with this key is under way");
            return Some(Begun::Before(Err(busy.after(Duration::from_secs(1)))));
        }
        let kept = state.done.entry(now, peer, VecDeque::new);
        kept.retain(|done| now.saturating_sub(done.at) < IDEMPOTENT.2);
        match kept.iter().find(|done| done.key == key) {
            Some(done) if done.request != request => refused(Code::Conflict, other),
            Some(Done { answer: Some(answer), .. }) => {
                let answer = serde_json::from_str(answer).map_err(|_| {
                    Refusal::new(Code::Internal, "the first answer can not be read again")
                });
                Some(Begun::Before(answer))
            }
            Some(_) => refused(Code::Conflict, "it was done; its answer was too long to be kept"),
            None => {
                state.under_way.insert(name.clone(), request);
                Some(Begun::First(Claim { all: self, name }))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim<'_> {
    /// It was done, with this answer.
    pub(super) fn done(self, answer: &Value, now: Duration) {
        let (peer, key) = &self.name;
        let mut state = self.all.state();
        let Some(request) = state.under_way.get(&self.name).copied() else { return };
        let answer = Some(answer.to_string()).filter(|text| text.len() <= IDEMPOTENT_ANSWER);
        let kept = state.done.entry(now, peer, VecDeque::new);
        if kept.len() >= IDEMPOTENT.1 {
            kept.pop_front();
        }
        kept.push_back(Done { key: key.clone(), at: now, request, answer });
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.all.state().under_way.remove(&self.name);
    }
}

/// The object's members are sorted, so the same request is the same text.
fn hash(verb: &Verb, params: &Map<String, Value>) -> Hash {
    let mut hash = Sha256::new();
    hash.update(verb.name);
    hash.update(serde_json::to_vec(params).unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn begin<'a>(all: &'a Idempotent, peer: &str, params: &Value, now: Duration) -> Begun<'a> {
        let verb = Verb::find("ban.apply").unwrap();
        let params = params.as_object().unwrap();
        all.begin(&PeerKey::for_tests(peer), verb, params, now).unwrap()
    }

    fn before(begun: Begun<'_>) -> Result<Value, Code> {
        match begun {
            Begun::First(_) => panic!("the first"),
            Begun::Before(outcome) => outcome.map_err(|refusal| refusal.code),
        }
    }

    fn first(begun: Begun<'_>) -> Claim<'_> {
        match begun {
            Begun::First(claim) => claim,
            Begun::Before(outcome) => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn a_repeated_request_is_not_done_again() {
        let all = Idempotent::default();
        let params = json!({"add": ["192.0.2.1"], "idempotency_key": "k"});
        let other = json!({"add": ["192.0.2.2"], "idempotency_key": "k"});
        let at = Duration::from_secs;
        let claim = first(begin(&all, "a", &params, at(0)));
        assert_eq!(before(begin(&all, "a", &params, at(0))), Err(Code::Busy), "two at once");
        assert_eq!(before(begin(&all, "a", &other, at(0))), Err(Code::Conflict));
        drop(claim);
        let claim = first(begin(&all, "a", &params, at(0)));
        claim.done(&json!(1), at(0));
        assert_eq!(before(begin(&all, "a", &params, at(1))), Ok(json!(1)));
        assert_eq!(before(begin(&all, "a", &other, at(1))), Err(Code::Conflict));
        drop(first(begin(&all, "b", &params, at(1))));
        drop(first(begin(&all, "a", &params, IDEMPOTENT.2)));
        let verb = Verb::find("ban.apply").unwrap();
        assert!(all.begin(&PeerKey::for_tests("a"), verb, &Map::new(), at(0)).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_and_no_peer_pushes_out_anothers() {
        let all = Idempotent::default();
        let request = |n: usize| json!({"add": [], "idempotency_key": n.to_string()});
        first(begin(&all, "b", &request(0), Duration::ZERO)).done(&json!("b"), Duration::ZERO);
        let long = "x".repeat(IDEMPOTENT_ANSWER);
        for n in 0..IDEMPOTENT.1 + 1 {
            let claim = first(begin(&all, "a", &request(n), Duration::ZERO));
            claim.done(&json!(long), Duration::ZERO);
        }
        let again = |peer, n| begin(&all, peer, &request(n), Duration::ZERO);
        assert_eq!(before(again("a", 1)), Err(Code::Conflict), "done, its answer not kept");
        drop(first(again("a", 0)));
        assert_eq!(before(again("b", 0)), Ok(json!("b")));
        assert!(all.state().under_way.is_empty());
    }
}
