//! From a request to its outcome: verb, policy, parameters, turn, record, work.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use broker_api::{Code, Group, Refusal, Verb};
use serde_json::{Map, Value};

use super::audit::Call;
use super::connection::Asked;
use super::emit::{Emitter, Gone};
use super::idempotent::Begun;
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
    let begun = if changes { shared.idempotent.begin(key, verb, &asked.params, now) } else { None };
    let claim = match begun {
        None => None,
        Some(Begun::First(claim)) => Some(claim),
        Some(Begun::Before(outcome)) => return Ok(outcome),
    };
    let streaming = verb.streams.then(|| shared.admission.stream(key)).transpose();
    let (streaming, turn) = match (streaming, shared.admission.turn(key).await) {
        (Ok(streaming), Ok(turn)) => (streaming, turn),
        (Err(refusal), _) | (_, Err(refusal)) => return Ok(Err(refusal)),
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
    drop((turn, streaming));
    let outcome = outcome?;
    if let (Some(claim), Ok(answer)) = (claim, &outcome) {
        claim.done(answer, shared.clock.monotonic());
    }
    Ok(outcome)
}
