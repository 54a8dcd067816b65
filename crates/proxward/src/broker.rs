//! `proxward broker`: calls, and questions about the policy.

use std::path::Path;
use std::time::Duration;

use ::broker::{Accounts, Decision, PeerPattern, Policy, Settings};
use broker_api::{Client, ClientError, Code, Kind, Outcome, Request, VERBS, Verb};
use serde_json::{Value, json};

use crate::cli_broker::{Broker, BrokerAction, Call, MountAction, PolicyAction, Question};
use crate::exit::{Exit, Stop};
use crate::output::result;
use crate::{broker_doctor, config};

pub(crate) fn run(arguments: &Broker) -> Result<(), Stop> {
    match &arguments.action {
        BrokerAction::Call(call) => self::call(call),
        BrokerAction::Verbs => {
            verbs();
            Ok(())
        }
        BrokerAction::Doctor { socket } => broker_doctor::doctor(socket),
        BrokerAction::Mount(MountAction::Check { directory }) => {
            broker_doctor::mount_check(directory)
        }
        BrokerAction::Policy(PolicyAction::Check { config }) => check(config.as_deref()),
        BrokerAction::Policy(PolicyAction::Explain(question)) => explain(question),
        BrokerAction::Policy(PolicyAction::Simulate { config, peer }) => {
            simulate(config.as_deref(), peer)
        }
    }
}

fn call(arguments: &Call) -> Result<(), Stop> {
    let verb = Verb::find(&arguments.verb).ok_or_else(|| {
        let text = format!("{}: no such verb; `proxward broker verbs` lists them", arguments.verb);
        Stop::say(Exit::Usage, text)
    })?;
    let mut request = Request::new(verb.name);
    for parameter in &arguments.parameters {
        let (name, value) = parameter
            .split_once('=')
            .ok_or_else(|| Stop::say(Exit::Usage, format!("{parameter}: expected NAME=VALUE")))?;
        request = request.with(name, typed(verb, name, value)?);
    }
    // Here too, so that the remedy is shown without a broker.
    verb.check(&request.parameters).map_err(|error| Stop::say(Exit::Usage, error))?;
    let wait = Duration::from_secs(arguments.timeout);
    let mut client = Client::connect(&arguments.socket, wait).map_err(unreached)?;
    let answer = client.call(request, |value| result(&value.to_string())).map_err(unreached)?;
    match answer.outcome {
        Outcome::Done { result: value, .. } => {
            result(&value.to_string());
            Ok(())
        }
        Outcome::Refused { code, message, reason, .. } => {
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            Err(Stop::say(exit(code), format!("{}: {message}{reason}", verb.name)))
        }
    }
}

/// What the table says the parameter is: `samples=3` is a number, `node=3` is text.
fn typed(verb: &Verb, name: &str, value: &str) -> Result<Value, Stop> {
    let kind = verb.parameters.iter().find(|row| row.name == name).map(|row| row.kind);
    let wrong = |expected: &str| Stop::say(Exit::Usage, format!("{name}: expected {expected}"));
    Ok(match kind {
        Some(Kind::Whole(..)) => {
            json!(value.parse::<u64>().map_err(|_| wrong("a whole number"))?)
        }
        Some(Kind::Truth) => json!(value.parse::<bool>().map_err(|_| wrong("true or false"))?),
        Some(Kind::Texts(_)) => json!(value.split(',').collect::<Vec<_>>()),
        _ => json!(value),
    })
}

fn exit(code: u64) -> Exit {
    match Code::from_number(code) {
        Some(Code::Unauthorized | Code::Forbidden) => Exit::Denied,
        Some(Code::TargetRefused | Code::HostKeyChanged) => Exit::Refused,
        Some(
            Code::RateLimited
            | Code::Busy
            | Code::ReadTimeout
            | Code::HandlerTimeout
            | Code::ShuttingDown
            | Code::RemoteFailed,
        ) => Exit::Unreachable,
        Some(Code::InvalidParameter | Code::InvalidRequest | Code::UnknownVerb) => Exit::Usage,
        _ => Exit::Api,
    }
}

fn unreached(error: ClientError) -> Stop {
    Stop::new(Exit::Unreachable, error)
}

fn verbs() {
    let width = VERBS.iter().map(|verb| verb.name.len()).max().unwrap_or(0);
    for verb in VERBS {
        let parameters = verb
            .parameters
            .iter()
            .map(|row| if row.required { row.name.to_owned() } else { format!("[{}]", row.name) });
        let parameters = parameters.collect::<Vec<_>>().join(" ");
        let group = verb.group.name();
        result(&format!("{:width$}  {group:5}  {}  {parameters}", verb.name, verb.about));
    }
}

/// The section `[broker]`, and its policy; an error names the place.
pub(crate) fn policy(named: Option<&Path>) -> Result<(Settings, Policy), Stop> {
    let document = config::layers(named).load().map_err(Stop::usage)?;
    let settings: Settings = document.section("broker").map_err(Stop::usage)?;
    let checked = settings.clone().check(Path::new("/")).map_err(|error| {
        Stop::say(
            Exit::Usage,
            match document.origin(error.key()) {
                settings::Origin::Default => error.to_string(),
                origin => format!("{origin}: {error}"),
            },
        )
    })?;
    Ok((settings, checked.policy))
}

fn check(named: Option<&Path>) -> Result<(), Stop> {
    let (settings, policy) = policy(named)?;
    if settings.allow.is_empty() {
        result("no rules: root of this host may do everything, others nothing");
    } else {
        result(&format!("the policy is valid: {} rules", policy.len()));
    }
    Ok(())
}

/// Exit code 0: allowed; 1: not.
fn explain(question: &Question) -> Result<(), Stop> {
    let (settings, policy) = policy(question.config.as_deref())?;
    let verb = Verb::find(&question.verb)
        .ok_or_else(|| Stop::say(Exit::Usage, format!("{}: no such verb", question.verb)))?;
    let peer = resolved(&question.peer).example();
    let name = format!("{} {} on {}", question.peer, verb.name, question.target);
    match policy.decide(&peer, verb, &question.target) {
        Decision::Allowed(rule) => {
            let place = if settings.allow.is_empty() {
                "root of this host, as there are no rules".to_owned()
            } else {
                format!("rule {}", rule + 1)
            };
            result(&format!("{name}: allowed by {place}"));
            Ok(())
        }
        denied => {
            let why = match denied {
                Decision::VerbRefused => "rules name this peer, and none gives it this verb",
                Decision::TargetRefused => "a rule gives it this verb, on other targets",
                _ => "no rule names this peer",
            };
            Err(Stop::say(Exit::No, format!("{name}: refused, {why}")))
        }
    }
}

/// Everything a peer may do, one verb a line.
fn simulate(named: Option<&Path>, peer: &PeerPattern) -> Result<(), Stop> {
    let (_, policy) = policy(named)?;
    let example = resolved(peer).example();
    let mut any = false;
    for (verb, targets) in policy.grants(&example) {
        any = true;
        result(&format!("{}: {}", verb.name, targets.join(", ")));
    }
    if any { Ok(()) } else { Err(Stop::say(Exit::No, format!("{peer}: nothing"))) }
}

/// A name as the number it has on this host.
fn resolved(peer: &PeerPattern) -> PeerPattern {
    let accounts = Accounts::read(Path::new("/"));
    match peer {
        PeerPattern::User(name) => {
            accounts.uid(name).map_or_else(|| peer.clone(), PeerPattern::Uid)
        }
        PeerPattern::Group(name) => {
            accounts.gid(name).map_or_else(|| peer.clone(), PeerPattern::Gid)
        }
        _ => peer.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_what_the_table_says() {
        let of = |verb: &str, name: &str, value: &str| {
            typed(Verb::find(verb).unwrap(), name, value).map_err(|_| ())
        };
        assert_eq!(of("guests.cpu", "samples", "3"), Ok(json!(3)));
        assert_eq!(of("guests.cpu", "samples", "x"), Err(()));
        assert_eq!(of("sensors.read", "node", "3"), Ok(json!("3")));
        assert_eq!(
            of("ban.apply", "add", "192.0.2.1,192.0.2.2"),
            Ok(json!(["192.0.2.1", "192.0.2.2"]))
        );
        assert_eq!(of("ban.apply", "plan", "true"), Ok(json!(true)));
    }

    #[test]
    fn every_code_has_an_exit_code_of_the_contract() {
        assert_eq!(exit(u64::from(Code::Forbidden.number())), Exit::Denied);
        assert_eq!(exit(u64::from(Code::TargetRefused.number())), Exit::Refused);
        assert_eq!(exit(u64::from(Code::Busy.number())), Exit::Unreachable);
        assert_eq!(exit(999), Exit::Api);
    }
}
