//! From a request to its outcome: verb, policy, parameters, turn, record, work.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use broker_api::{Code, Group, Refusal, Verb};
use limits::Keyed;
use serde_json::{Map, Value};

use super::audit::Call;
use super::connection::Asked;
use super::emit::{Emitter, Gone};
use crate::limits::IDEMPOTENT;
use crate::peer::{Peer, PeerKey};
use crate::policy::Decision;
use crate::remote::NodeName;

/// Does what was asked for, if it may be. The outer error ends the connection.
pub(crate) async fn handle(
    emitter: &mut Emitter<'_>,
    peer: &Peer,
    key: &PeerKey,
    asked: &Asked,
) -> Result<Result<Value, Refusal>, Gone> {
    let shared = emitter.shared;
    let began = shared.clock.monotonic();
    let Some(verb) = Verb::find(&asked.verb) else {
        let text = "no such verb; broker.describe lists them";
        let refusal = Refusal::new(Code::UnknownVerb, text);
        offence(emitter, key, &refusal);
        shared.metrics.request("unknown", Some(&refusal), Duration::ZERO, key.as_str());
        if let Some(event) = shared.audit.repeated(key.as_str(), Code::UnknownVerb.name()) {
            emitter.record(event);
        }
        return Ok(Err(refusal));
    };
    let target = target(emitter, peer, verb, &asked.params);
    let (rule, outcome) = match decide(emitter, peer, verb, &target) {
        Err(refusal) => {
            offence(emitter, key, &refusal);
            (None, Err(refusal))
        }
        Ok(rule) => (Some(rule), work(emitter, peer, key, verb, asked, &target).await?),
    };
    let took = shared.clock.monotonic().saturating_sub(began);
    shared.metrics.request(verb.name, outcome.as_ref().err(), took, key.as_str());
    let call = Call {
        peer,
        key: key.as_str(),
        correlation: &emitter.correlation,
        verb: verb.name,
        target: &target,
        rule,
        refusal: outcome.as_ref().err(),
        took,
    };
    let event = call.event("broker.call");
    emitter.record(event);
    Ok(outcome)
}

fn offence(emitter: &Emitter<'_>, key: &PeerKey, refusal: &Refusal) {
    let shared = emitter.shared;
    shared.admission.penalise(key, shared.clock.monotonic());
    shared.metrics.penalty(refusal.code.name(), key.as_str());
}

/// What the request is about. This host asked for by name is `local`, for peers that have only
/// that: clients of pulse-sensor-proxy always name the node.
fn target(emitter: &Emitter<'_>, peer: &Peer, verb: &Verb, params: &Map<String, Value>) -> String {
    const LOCAL: &str = "local";
    let named = verb.target_of(params);
    let Some(node) = named.strip_prefix("node/").and_then(NodeName::parse) else { return named };
    let config = emitter.shared.config();
    let allowed = matches!(config.policy.decide(peer, verb, LOCAL), Decision::Allowed(_));
    if allowed && is_this_host(&node) { LOCAL.to_owned() } else { named }
}

fn is_this_host(node: &NodeName) -> bool {
    let system = rustix::system::uname();
    let own = system.nodename().to_str().unwrap_or_default();
    let own = own.split('.').next().unwrap_or_default();
    match node {
        NodeName::Name(name) => name == "localhost" || name.eq_ignore_ascii_case(own),
        NodeName::Address(address) => {
            *address == Ipv4Addr::LOCALHOST || *address == Ipv6Addr::LOCALHOST
        }
    }
}

/// The rule that gives it.
fn decide(emitter: &Emitter<'_>, peer: &Peer, verb: &Verb, target: &str) -> Result<usize, Refusal> {
    let config = emitter.shared.config();
    let forbidden = |text: &str| Err(Refusal::new(Code::Forbidden, text));
    match config.policy.decide(peer, verb, target) {
        Decision::Allowed(rule) => Ok(rule),
        Decision::VerbRefused => forbidden("no rule gives this peer this verb"),
        Decision::TargetRefused => forbidden("no rule gives this peer this verb on this target"),
        Decision::Stranger => Err(Refusal::new(Code::Unauthorized, "no rule names this peer")),
    }
}

/// Parameters, a turn, and the work. The turn ends with this function, before any answer.
async fn work(
    emitter: &mut Emitter<'_>,
    peer: &Peer,
    key: &PeerKey,
    verb: &'static Verb,
    asked: &Asked,
    target: &str,
) -> Result<Result<Value, Refusal>, Gone> {
    let shared = emitter.shared;
    if let Err(error) = verb.check(&asked.params) {
        return Ok(Err(Refusal::new(Code::InvalidParameter, error.to_string())));
    }
    let planned = asked.params.get("plan").and_then(Value::as_bool) == Some(true);
    let changes = verb.group != Group::Read && !planned;
    let now = shared.clock.monotonic();
    let once = if changes { Once::of(key, verb, &asked.params) } else { None };
    if let Some(before) = once.as_ref().and_then(|once| shared.idempotent.find(once, now)) {
        return Ok(before);
    }
    let turn = match shared.admission.turn(key).await {
        Ok(turn) => turn,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if changes {
        let call = Call {
            peer,
            key: key.as_str(),
            correlation: &emitter.correlation,
            verb: verb.name,
            target,
            rule: None,
            refusal: None,
            took: Duration::ZERO,
        };
        let event = call.event("broker.begins");
        if let Err(refusal) = emitter.record_now(event) {
            return Ok(Err(refusal));
        }
    }
    // What streams waits most of its time, and must not keep others from their turns meanwhile.
    let turn = Some(turn).filter(|_| !verb.streams);
    let outcome = crate::verbs::run(emitter, peer, verb, &asked.params).await;
    drop(turn);
    let outcome = outcome?;
    if let Some(once) = once
        && outcome.is_ok()
    {
        shared.idempotent.keep(once, outcome.clone(), now);
    }
    Ok(outcome)
}

/// Answers to requests that carried an idempotency key.
pub(crate) struct Idempotent(Mutex<Keyed<(PeerKey, String), Kept>>);

struct Kept {
    at: Duration,
    request: String,
    outcome: Result<Value, Refusal>,
}

/// A request that is to be done once.
struct Once {
    name: (PeerKey, String),
    request: String,
}

impl Once {
    fn of(key: &PeerKey, verb: &Verb, params: &Map<String, Value>) -> Option<Self> {
        let name = params.get("idempotency_key")?.as_str()?.to_owned();
        let request = format!("{} {}", verb.name, Value::Object(params.clone()));
        Some(Self { name: (key.clone(), name), request })
    }
}

impl Default for Idempotent {
    fn default() -> Self {
        Self(Mutex::new(Keyed::new(IDEMPOTENT.0)))
    }
}

impl Idempotent {
    fn find(&self, once: &Once, now: Duration) -> Option<Result<Value, Refusal>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = kept.get(&once.name)?;
        if now.saturating_sub(before.at) >= IDEMPOTENT.1 {
            kept.remove(&once.name);
            return None;
        }
        if before.request == once.request {
            return Some(before.outcome.clone());
        }
        let text = "this idempotency key was used for another request; take a fresh one";
        Some(Err(Refusal::new(Code::Conflict, text)))
    }

    fn keep(&self, once: Once, outcome: Result<Value, Refusal>, now: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Once { name, request } = once;
        kept.remove(&name);
        kept.entry(now, &name, || Kept { at: now, request, outcome });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn once(key: &str, params: &Value) -> Once {
        let verb = Verb::find("ban.apply").unwrap();
        Once::of(&PeerKey::for_tests(key), verb, params.as_object().unwrap()).unwrap()
    }

    #[test]
    fn a_repeated_request_gets_its_answer_and_another_one_a_conflict() {
        let kept = Idempotent::default();
        let params = json!({"add": ["192.0.2.1"], "idempotency_key": "k"});
        let at = Duration::from_secs;
        assert!(kept.find(&once("a", &params), at(0)).is_none());
        kept.keep(once("a", &params), Ok(json!(1)), at(0));
        assert_eq!(kept.find(&once("a", &params), at(1)), Some(Ok(json!(1))));
        assert!(kept.find(&once("b", &params), at(1)).is_none(), "each peer has its own keys");
        let other = json!({"add": ["192.0.2.2"], "idempotency_key": "k"});
        let conflict = kept.find(&once("a", &other), at(1)).unwrap().unwrap_err();
        assert_eq!(conflict.code, Code::Conflict);
        assert!(kept.find(&once("a", &params), IDEMPOTENT.1).is_none());
    }
}
