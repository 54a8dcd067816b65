//! `/cluster/sdn/fabrics`: routed networks below the virtual ones. Texts are those of
//! `proxmox-ve-config`, which keeps them on a genuine cluster.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::super::{Call, Row};
use super::fabric_nodes;
use super::file::{CONTROLLERS, FABRIC_NODES, FABRICS, Sections, View, ZONES, text};
use super::lock::locked;
use super::sections::SEEN_WITH;
use crate::failure::{Failure, Outcome, Success};
use crate::format::index as index_of;
use crate::state::Fields;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/sdn/fabrics", index),
    (Verb::Get, "/cluster/sdn/fabrics/all", all),
    (Verb::Get, "/cluster/sdn/fabrics/fabric", list),
    (Verb::Post, "/cluster/sdn/fabrics/fabric", create),
    (Verb::Get, "/cluster/sdn/fabrics/fabric/{id}", show),
    (Verb::Put, "/cluster/sdn/fabrics/fabric/{id}", update),
    (Verb::Delete, "/cluster/sdn/fabrics/fabric/{id}", delete),
];

/// Parameters that are not kept.
const CONTROL: [&str; 4] = ["delete", "digest", "lock-token", "node"];

fn index(_call: &mut Call<'_>) -> Outcome {
    Ok(index_of("subdir", ["fabric", "node", "all"]).into())
}

/// The members that are given and kept.
pub(super) fn given(call: &Call<'_>) -> Fields {
    let kept = call.parameters.iter();
    let kept = kept.filter(|(key, value)| !CONTROL.contains(&key.as_str()) && !value.is_null());
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What a change deletes: a list, or a text with commas.
pub(super) fn deleted(call: &Call<'_>) -> Vec<String> {
    match call.parameters.get("delete").and_then(Value::as_array) {
        Some(list) => list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        None => call.list("delete"),
    }
}

/// The section with what a change sets and deletes.
pub(super) fn changed(call: &Call<'_>, before: &Fields) -> Fields {
    let mut fields = before.clone();
    for key in deleted(call) {
        fields.remove(&key);
    }
    fields.extend(given(call));
    fields
}

/// Members that name a section stay on top, also of one that is new.
pub(super) fn named(mut section: Fields, names: &[&str]) -> Fields {
    let pending = section.get("pending").cloned();
    for name in names {
        let new = pending.as_ref().and_then(|pending| pending.get(name));
        if let Some(value) = new.filter(|_| !section.contains_key(*name)) {
            section.insert((*name).to_owned(), value.clone());
        }
    }
    section
}

fn rows(call: &Call<'_>) -> Value {
    let (view, objects) = (View::of(call), &call.state.objects);
    let right = call.right(SEEN_WITH);
    let sections: Sections = FABRICS.sections(objects, view);
    let seen = sections.into_iter().filter(|(id, _)| right.at(&format!("/sdn/fabrics/{id}")));
    let shown = seen.map(|(id, fabric)| {
        Value::Object(FABRICS.shown(objects, view, &id, named(fabric, &["protocol"])))
    });
    shown.collect()
}

fn list(call: &mut Call<'_>) -> Outcome {
    Ok(rows(call).into())
}

fn all(call: &mut Call<'_>) -> Outcome {
    let nodes = fabric_nodes::rows(call, None);
    Ok(json!({ "fabrics": rows(call), "nodes": nodes }).into())
}

fn show(call: &mut Call<'_>) -> Outcome {
    let (id, objects) = (call.required("id"), &call.state.objects);
    let fabric = FABRICS.existing(objects, &id)?.clone();
    Ok(Value::Object(FABRICS.shown(objects, View::Configured, &id, fabric)).into())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let id = call.required("id");
    locked(call, "adding fabric failed", |call| {
        call.unmodified(&FABRICS.digest(&call.state.objects))?;
        if call.state.objects.find(FABRICS.at, &id).is_some() {
            return Err(Failure::die(format!("fabric '{id}' already exists in config")));
        }
        let fabric = given(call);
        verify(&id, &fabric)?;
        FABRICS.write(&mut call.state.objects, &id, fabric)?;
        Ok(Success::default())
    })
}

/// A network whose nodes have addresses says from where.
fn verify(id: &str, fabric: &Fields) -> Result<(), Failure> {
    let needs_prefix = text(fabric, "protocol") != Some("wireguard");
    if needs_prefix && !fabric.contains_key("ip_prefix") && !fabric.contains_key("ip6_prefix") {
        let text = format!("fabric '{id}' does not have an IP prefix configured");
        return Err(Failure::die(text));
    }
    Ok(())
}

fn update(call: &mut Call<'_>) -> Outcome {
    let id = call.required("id");
    locked(call, "updating fabric failed", |call| {
        call.unmodified(&FABRICS.digest(&call.state.objects))?;
        let before = FABRICS.existing(&call.state.objects, &id)?;
        let fabric = changed(call, before);
        if text(&fabric, "protocol") != text(before, "protocol") {
            return Err(Failure::die("node has a different protocol than the referenced fabric"));
        }
        verify(&id, &fabric)?;
        FABRICS.write(&mut call.state.objects, &id, fabric)?;
        Ok(Success::default())
    })
}

/// Takes the sections of its nodes with it.
fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.required("id");
    locked(call, "deleting fabric failed", |call| {
        let objects = &call.state.objects;
        FABRICS.existing(objects, &id)?;
        let start = format!("{id}/");
        let nodes = objects.list(FABRIC_NODES.at).filter(|(key, _)| key.starts_with(&start));
        let nodes: Vec<String> = nodes.map(|(key, _)| key.clone()).collect();
        for node in nodes.iter().filter_map(|key| key.strip_prefix(&start)) {
            if !call.may(&format!("/nodes/{node}"), &["Sys.Modify"]) {
                let text = format!("permission check failed: missing 'Sys.Modify' on node {node}");
                return Err(Failure::die(text));
            }
        }
        for (file, kind, what) in
            [(&CONTROLLERS, "evpn", "EVPN controller"), (&ZONES, "vxlan", "VXLAN zone")]
        {
            let uses =
                |one: &Fields| text(one, "type") == Some(kind) && text(one, "fabric") == Some(&id);
            if let Some((user, _)) = objects.list(file.at).find(|(_, one)| uses(one)) {
                let text = format!("this fabric is still used in the {what} \"{user}\"");
                return Err(Failure::die(text));
            }
        }
        for node in nodes {
            call.state.objects.remove(FABRIC_NODES.at, &node);
        }
        call.state.objects.remove(FABRICS.at, &id);
        Ok(Success::default())
    })
}
