//! Security groups: named lists of rules in the cluster's file.

use pve_schema::Verb;
use serde_json::{Map, Value, json};

use super::{Call, Row, read, rules, write};
use crate::failure::{Failure, Outcome, Success};
use crate::state::Firewall;
use crate::state::firewall::{Group, with_digest};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/firewall/groups", list),
    (Verb::Post, "/cluster/firewall/groups", create),
    (Verb::Delete, "/cluster/firewall/groups/{group}", delete),
    (Verb::Get, "/cluster/firewall/groups/{group}", rules::list),
    (Verb::Post, "/cluster/firewall/groups/{group}", rules::create),
    (Verb::Get, "/cluster/firewall/groups/{group}/{pos}", rules::show),
    (Verb::Put, "/cluster/firewall/groups/{group}/{pos}", rules::update),
    (Verb::Delete, "/cluster/firewall/groups/{group}/{pos}", rules::delete),
];

pub(super) fn find<'f>(firewall: &'f Firewall, name: &str) -> Result<&'f Group, Failure> {
    firewall.groups.get(name).ok_or_else(|| missing(name))
}

pub(super) fn find_mut<'f>(
    firewall: &'f mut Firewall,
    name: &str,
) -> Result<&'f mut Group, Failure> {
    firewall.groups.get_mut(name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Failure {
    Failure::die(format!("no such security group '{name}'"))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let entries = entries(read(call, &empty)?);
    Ok(json!(with_digest(&entries).0).into())
}

fn entries(firewall: &Firewall) -> Vec<Map<String, Value>> {
    let entry = |(name, group): (&String, &Group)| {
        let mut entry = Map::from_iter([("group".to_owned(), json!(name))]);
        if let Some(comment) = &group.comment {
            entry.insert("comment".to_owned(), json!(comment));
        }
        entry
    };
    firewall.groups.iter().map(entry).collect()
}

/// Creates a group, or with `rename` changes the name and comment of one.
fn create(call: &mut Call<'_>) -> Outcome {
    let (name, rename, comment) =
        (call.required("group"), call.text("rename"), call.text("comment"));
    let empty = Firewall::default();
    call.unmodified(&with_digest(&entries(read(call, &empty)?)).1)?;
    let firewall = write(call)?;
    let Some(old) = rename else {
        if firewall.groups.contains_key(&name) {
            let text = format!("Security group '{name}' already exists");
            return Err(Failure::parameter("group", &text));
        }
        firewall.groups.insert(name, Group { comment, entries: Vec::new() });
        return Ok(Success::default());
    };
    if old != name && firewall.groups.contains_key(&name) {
        let text = format!("Security group '{name}' already exists");
        return Err(Failure::parameter("group", &text));
    }
    let Some(mut group) = firewall.groups.remove(&old) else {
        let text = format!("Security group '{old}' does not exist");
        return Err(Failure::parameter("group", &text));
    };
    group.comment = comment.or(group.comment);
    firewall.groups.insert(name, group);
    Ok(Success::default())
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let name = call.required("group");
    let firewall = write(call)?;
    if !find(firewall, &name)?.entries.is_empty() {
        return Err(Failure::die(format!("Security group '{name}' is not empty")));
    }
    firewall.groups.remove(&name);
    Ok(Success::default())
}
