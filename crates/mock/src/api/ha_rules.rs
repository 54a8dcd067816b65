//! `/cluster/ha/rules`: where managed guests run, and with whom (`PVE::API2::HA::Rules`).

use std::collections::{BTreeMap, BTreeSet};

use pve_schema::Verb;
use serde_json::{Value, json};

use super::section_options::Kind;
use super::{Call, Row, ha};
use crate::failure::{Failure, Outcome, Success};
use crate::state::{Fields, Objects, sha1_hex};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, RULES, list),
    (Verb::Post, RULES, create),
    (Verb::Get, "/cluster/ha/rules/{rule}", show),
    (Verb::Put, "/cluster/ha/rules/{rule}", update),
    (Verb::Delete, "/cluster/ha/rules/{rule}", delete),
];

const RULES: &str = "/cluster/ha/rules";
const COUNT: usize = 10_000;

const KINDS: [Kind; 2] = [
    Kind {
        name: "node-affinity",
        required: &["resources", "nodes"],
        optional: &["strict", "disable", "comment"],
    },
    Kind {
        name: "resource-affinity",
        required: &["resources", "affinity"],
        optional: &["disable", "comment"],
    },
];

fn parts<'f>(rule: &'f Fields, key: &str) -> impl Iterator<Item = &'f str> {
    let text = rule.get(key).and_then(Value::as_str).unwrap_or_default();
    text.split([',', ';', ' ']).filter(|part| !part.is_empty())
}

fn kind(rule: &Fields) -> &str {
    rule.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn is_enabled(rule: &Fields) -> bool {
    rule.get("disable").is_none_or(|flag| *flag != json!(1))
}

fn digest(objects: &Objects) -> String {
    let rules: BTreeMap<&String, &Fields> = objects.list(RULES).collect();
    sha1_hex(json!(rules).to_string().as_bytes())
}

fn shown(objects: &Objects, id: &str, rule: &Fields) -> Value {
    let mut rule = rule.clone();
    rule.insert("rule".to_owned(), json!(id));
    rule.insert("digest".to_owned(), json!(digest(objects)));
    if kind(&rule) == "node-affinity" {
        rule.entry("strict").or_insert_with(|| json!(0));
    }
    Value::Object(rule)
}

/// In the order they were made.
fn list(call: &mut Call<'_>) -> Outcome {
    let (wanted, resource) = (call.text("type"), call.text("resource"));
    let resource = resource.map(|sid| ha::full_id(call, &sid));
    let objects = &call.state.objects;
    let mut rules: Vec<(&String, &Fields)> = objects.list(RULES).collect();
    rules.sort_by_key(|(_, rule)| rule.get("order").and_then(Value::as_u64));
    let named = rules.into_iter().filter(|(_, rule)| {
        wanted.as_deref().is_none_or(|wanted| wanted == kind(rule))
            && resource.as_deref().is_none_or(|sid| parts(rule, "resources").any(|one| one == sid))
    });
    Ok(named.map(|(id, rule)| shown(objects, id, rule)).collect::<Value>().into())
}

fn show(call: &mut Call<'_>) -> Outcome {
    let (id, objects) = (call.required("rule"), &call.state.objects);
    match objects.find(RULES, &id) {
        Some(rule) => Ok(shown(objects, &id, rule).into()),
        None => Err(Failure::die(format!("no such ha rule '{id}'"))),
    }
}

/// A text stands before those of plain failures and of exceptions that carry no code.
fn within(what: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Die(text) => Failure::Die(format!("{what}: {text}")),
        exception @ Failure::Exception { .. } => exception,
    }
}

fn create(call: &mut Call<'_>) -> Outcome {
    let id = call.required("rule");
    let Some(kind) = Kind::named(&KINDS, &call.required("type")) else {
        return Err(Failure::die("unknown section type"));
    };
    let mut rule = kind.of_new(call, "rule")?;
    let done = |call: &mut Call<'_>| {
        if call.state.objects.find(RULES, &id).is_some() {
            return Err(Failure::die(format!("HA rule '{id}' already defined")));
        }
        if call.state.objects.count(RULES) >= COUNT {
            return Err(Failure::die(format!("more than {COUNT} rules")));
        }
        let rules = call.state.objects.list(RULES);
        let last = rules.filter_map(|(_, rule)| rule.get("order")?.as_u64()).max().unwrap_or(0);
        rule.insert("order".to_owned(), json!(last + 1));
        verify(call, &id, &mut rule)?;
        call.state.objects.insert(RULES, &id, rule);
        Ok(Success::default())
    };
    done(call).map_err(|failure| within("create ha rule failed", failure))
}

fn update(call: &mut Call<'_>) -> Outcome {
    let id = call.required("rule");
    let done = |call: &mut Call<'_>| {
        call.unmodified(&digest(&call.state.objects))?;
        let Some(before) = call.state.objects.find(RULES, &id).cloned() else {
            return Err(Failure::die(format!("HA rule '{id}' does not exist")));
        };
        let Some(kind) = Kind::named(&KINDS, kind(&before)) else { return Ok(Success::default()) };
        let mut rule = kind.changed(call, "rule", &before)?;
        verify(call, &id, &mut rule)?;
        call.state.objects.insert(RULES, &id, rule);
        Ok(Success::default())
    };
    done(call).map_err(|failure| within("update HA rules failed", failure))
}

/// Of a rule that is not there too.
fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.required("rule");
    call.state.objects.remove(RULES, &id);
    Ok(Success::default())
}

/// Its guests are managed, its nodes exist, and it can be kept together with the others.
fn verify(call: &Call<'_>, id: &str, rule: &mut Fields) -> Result<(), Failure> {
    let sids: BTreeSet<String> =
        parts(rule, "resources").map(|sid| ha::full_id(call, sid)).collect();
    let unmanaged: Vec<&str> = sids
        .iter()
        .filter(|sid| call.state.objects.find(ha::RESOURCES, sid).is_none())
        .map(String::as_str)
        .collect();
    if !unmanaged.is_empty() {
        let text = format!("cannot use unmanaged resource(s) {}.", unmanaged.join(", "));
        return Err(Failure::die(text));
    }
    let unknown: Vec<&str> = parts(rule, "nodes")
        .map(|node| node.split(':').next().unwrap_or_default())
        .filter(|node| !call.state.nodes.contains_key(*node))
        .collect();
    if !unknown.is_empty() {
        let text = format!("cannot use non-existant node(s) {}.", unknown.join(", "));
        return Err(Failure::die(text));
    }
    if is_enabled(rule) {
        feasible(call, id, kind(rule), &sids)?;
    }
    let sids: Vec<String> = sids.into_iter().collect();
    rule.insert("resources".to_owned(), json!(sids.join(",")));
    Ok(())
}

fn feasible(
    call: &Call<'_>,
    id: &str,
    own_kind: &str,
    sids: &BTreeSet<String>,
) -> Result<(), Failure> {
    let invalid = |text: String| Failure::Exception {
        code: 400,
        message: format!("Rule '{id}' is invalid.\n"),
        errors: BTreeMap::from([("resources".to_owned(), text)]),
    };
    if own_kind == "resource-affinity" {
        let text = "rule is ineffective as there are less than two resources";
        return if sids.len() < 2 { Err(invalid(text.to_owned())) } else { Ok(()) };
    }
    let others =
        call.state.objects.list(RULES).filter(|(other, rule)| {
            *other != id && kind(rule) == "node-affinity" && is_enabled(rule)
        });
    let mut taken = others.flat_map(|(_, rule)| parts(rule, "resources"));
    match taken.find(|sid| sids.contains(*sid)) {
        Some(sid) => {
            let text = format!("resource '{sid}' is already used in another node affinity rule");
            Err(invalid(text))
        }
        None => Ok(()),
    }
}

/// Takes a guest that is no longer managed out of the rules; one without any other goes.
pub(super) fn forget(objects: &mut Objects, sid: &str) {
    let rules: Vec<(String, Fields)> = objects
        .list(RULES)
        .filter(|(_, rule)| parts(rule, "resources").any(|one| one == sid))
        .map(|(id, rule)| (id.clone(), rule.clone()))
        .collect();
    for (id, mut rule) in rules {
        let left: Vec<&str> = parts(&rule, "resources").filter(|one| *one != sid).collect();
        if left.is_empty() {
            objects.remove(RULES, &id);
            continue;
        }
        let left = json!(left.join(","));
        rule.insert("resources".to_owned(), left);
        objects.insert(RULES, &id, rule);
    }
}
