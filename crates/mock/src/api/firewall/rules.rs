//! Rules in their order. A new rule becomes the first (`PVE::API2::Firewall::Rules`).

use serde_json::{Map, Value, json};

use super::{Call, groups, read, write};
use crate::failure::{Failure, Outcome, Success};
use crate::state::Firewall;
use crate::state::firewall::with_digest;

/// Rules of one list.
const RULES: usize = 10_000;
/// Members of a rule.
const MEMBERS: [&str; 14] = [
    "action",
    "type",
    "comment",
    "dest",
    "dport",
    "enable",
    "icmp-type",
    "iface",
    "log",
    "macro",
    "proto",
    "source",
    "sport",
    "ipversion",
];

type Rules = Vec<Map<String, Value>>;

/// The list of the path: of a security group, or of the file.
fn current<'c>(call: &'c Call<'_>, empty: &'c Firewall) -> Result<&'c Rules, Failure> {
    let firewall = read(call, empty)?;
    match call.text("group") {
        Some(name) => groups::find(firewall, &name).map(|group| &group.entries),
        None => Ok(&firewall.rules),
    }
}

fn change<'c>(call: &'c mut Call<'_>) -> Result<&'c mut Rules, Failure> {
    let group = call.text("group");
    let firewall = write(call)?;
    match group {
        Some(name) => groups::find_mut(firewall, &name).map(|group| &mut group.entries),
        None => Ok(&mut firewall.rules),
    }
}

fn position(call: &Call<'_>) -> usize {
    call.number("pos").and_then(|at| usize::try_from(at).ok()).unwrap_or(0)
}

fn missing(at: usize) -> Failure {
    Failure::die(format!("no rule at position {at}"))
}

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let (mut rules, _) = with_digest(current(call, &empty)?);
    for (at, rule) in rules.iter_mut().enumerate() {
        rule.insert("pos".to_owned(), json!(at));
    }
    Ok(json!(rules).into())
}

pub(super) fn show(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let at = position(call);
    let (rules, _) = with_digest(current(call, &empty)?);
    let mut rule = rules.into_iter().nth(at).ok_or_else(|| missing(at))?;
    rule.insert("pos".to_owned(), json!(at));
    Ok(json!(rule).into())
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    unmodified(call)?;
    let mut rule = super::picked(call, &MEMBERS);
    verify(call, &rule)?;
    rule.entry("enable").or_insert_with(|| json!(0));
    let rules = change(call)?;
    if rules.len() >= RULES {
        return Err(Failure::die(format!("more than {RULES} rules")));
    }
    rules.insert(0, rule);
    Ok(Success::default())
}

/// Changes a rule, or with `moveto` puts it before the rule that stands there.
pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    unmodified(call)?;
    let at = position(call);
    let target = call.number("moveto").and_then(|at| usize::try_from(at).ok());
    let empty = Firewall::default();
    let mut changed = current(call, &empty)?.get(at).cloned().ok_or_else(|| missing(at))?;
    if let Some(target) = target.filter(|target| *target != at) {
        let rules = change(call)?;
        let rule = rules.remove(at);
        // Positions count as before the removal.
        let target = if target > at { target - 1 } else { target };
        rules.insert(target.min(rules.len()), rule);
        return Ok(Success::default());
    }
    changed.extend(super::picked(call, &MEMBERS));
    for key in call.list("delete") {
        if matches!(key.as_str(), "type" | "action") {
            let text = format!("required option '{key}' cannot be deleted");
            return Err(Failure::parameter("delete", &text));
        }
        changed.remove(&key);
    }
    verify(call, &changed)?;
    if let Some(rule) = change(call)?.get_mut(at) {
        *rule = changed;
    }
    Ok(Success::default())
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    unmodified(call)?;
    let at = position(call);
    let rules = change(call)?;
    if at >= rules.len() {
        return Err(missing(at));
    }
    rules.remove(at);
    Ok(Success::default())
}

fn unmodified(call: &Call<'_>) -> Result<(), Failure> {
    let empty = Firewall::default();
    call.unmodified(&with_digest(current(call, &empty)?).1)
}

/// What does not go together in a rule (`PVE::Firewall::verify_rule`).
fn verify(call: &Call<'_>, rule: &Map<String, Value>) -> Result<(), Failure> {
    let text = |key: &str| rule.get(key).and_then(Value::as_str);
    let action = text("action").unwrap_or_default();
    if text("type") == Some("group") {
        let empty = Firewall::default();
        let cluster = call.state.firewalls.get(crate::state::firewall::CLUSTER).unwrap_or(&empty);
        if call.text("group").is_some() {
            return Err(Failure::parameter("type", "security groups can't be nested"));
        }
        if !cluster.groups.contains_key(action) {
            let text = format!("no such security group '{action}'");
            return Err(Failure::parameter("action", &text));
        }
        return Ok(());
    }
    if !matches!(action, "ACCEPT" | "DROP" | "REJECT") {
        let text = format!("unknown action '{action}'");
        return Err(Failure::parameter("action", &text));
    }
    for port in ["dport", "sport"] {
        if rule.contains_key(port) && !rule.contains_key("proto") && !rule.contains_key("macro") {
            return Err(Failure::parameter(
                "proto",
                &format!("missing property - '{port}' requires this property"),
            ));
        }
    }
    Ok(())
}
