//! `/cluster`.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::nodes::figures;
use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::object::{extend, set_some, take};
use crate::state::Guest;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/nextid", next_id),
    (Verb::Get, "/cluster/options", options),
    (Verb::Put, "/cluster/options", set_options),
    (Verb::Get, "/cluster/resources", resources),
    (Verb::Get, "/cluster/status", status),
];

fn next_id(call: &mut Call<'_>) -> Outcome {
    let Some(wanted) = call.text("vmid") else {
        return Ok(json!(call.state.next_id().to_string()).into());
    };
    let taken = wanted.parse().is_ok_and(|vmid: u32| call.state.guests.contains_key(&vmid));
    if taken {
        return Err(Failure::parameter("vmid", &format!("VM {wanted} already exists")));
    }
    Ok(json!(wanted).into())
}

/// The settings of the data centre; a caller without `Sys.Audit` sees what the interface needs.
fn options(call: &mut Call<'_>) -> Outcome {
    let mut options = json!({ "mac_prefix": "BC:24:11" });
    if let Some(fields) = call.state.objects.settings("/cluster/options") {
        extend(&mut options, json!(fields));
    }
    if !call.may("/", &["Sys.Audit"]) {
        let open = ["console", "tag-style", "allowed-tags", "consent-text"];
        options = open.iter().filter_map(|key| Some((*key, options.get(key)?.clone()))).collect();
    }
    extend(&mut options, json!({ "allowed-tags": [] }));
    Ok(options.into())
}

fn set_options(call: &mut Call<'_>) -> Outcome {
    super::generic::answer(call)
}

fn status(call: &mut Call<'_>) -> Outcome {
    let state = &*call.state;
    let mut entries = Vec::new();
    if let Some(name) = &state.cluster {
        entries.push(json!({
            "type": "cluster",
            "id": "cluster",
            "name": name,
            "nodes": state.nodes.len(),
            "quorate": 1,
            "version": state.nodes.len(),
        }));
    }
    // A node without a cluster has node id 0.
    let first_id = usize::from(state.cluster.is_some());
    entries.extend(state.nodes.values().map(|node| {
        json!({
            "type": "node",
            "id": format!("node/{}", node.name),
            "name": node.name,
            "nodeid": node.index + first_id,
            "ip": node.ip,
            "local": u8::from(node.name == state.local),
            "online": 1,
            "level": "",
        })
    }));
    Ok(Value::Array(entries).into())
}

fn resources(call: &mut Call<'_>) -> Outcome {
    let wanted = call.text("type");
    let wants = |kind: &str| wanted.as_deref().is_none_or(|wanted| wanted == kind);
    let mut entries = Vec::new();
    if wanted.is_none() {
        pools(call, &mut entries);
    }
    if wants("vm") {
        let guests = call.state.guests.values();
        entries.extend(guests.filter_map(|guest| resource(call, guest)));
    }
    if wants("node") {
        nodes(call, &mut entries);
    }
    if wants("storage") {
        storages(call, &mut entries);
    }
    if wants("sdn") {
        zones(call, &mut entries);
    }
    Ok(Value::Array(entries).into())
}

fn pools(call: &Call<'_>, entries: &mut Vec<Value>) {
    let names = call.state.accounts.config().pools.keys();
    let seen = names.filter(|name| call.may(&format!("/pool/{name}"), &["Pool.Audit"]));
    entries.extend(
        seen.map(|name| json!({ "id": format!("/pool/{name}"), "type": "pool", "pool": name })),
    );
}

fn resource(call: &Call<'_>, guest: &Guest) -> Option<Value> {
    call.may(&format!("/vms/{}", guest.vmid), &["VM.Audit"]).then(|| guest_entry(call, guest))
}

/// A guest in `cluster/resources` and among the members of a pool.
pub(super) fn guest_entry(call: &Call<'_>, guest: &Guest) -> Value {
    let mut entry = guest.usage(call.now());
    let cores = take(&mut entry, "cores");
    extend(
        &mut entry,
        json!({
            "id": format!("{}/{}", guest.kind_name(), guest.vmid),
            "type": guest.kind_name(),
            "vmid": guest.vmid,
            "node": guest.node,
            "maxcpu": cores,
            "template": u8::from(guest.is_template()),
        }),
    );
    set_some(&mut entry, "pool", call.state.accounts.config().pool_of(u64::from(guest.vmid)));
    set_some(&mut entry, "hastate", super::ha::state(&call.state.objects, guest));
    entry
}

fn nodes(call: &Call<'_>, entries: &mut Vec<Value>) {
    for node in call.state.nodes.values() {
        let mut entry = json!({
            "id": format!("node/{}", node.name),
            "type": "node",
            "node": node.name,
            "status": node.status(),
        });
        if node.hardware.is_some() && call.may(&format!("/nodes/{}", node.name), &["Sys.Audit"]) {
            extend(&mut entry, figures(call, node));
            extend(&mut entry, json!({ "level": "", "cgroup-mode": 2 }));
        }
        entries.push(entry);
    }
}

fn storages(call: &Call<'_>, entries: &mut Vec<Value>) {
    let audit = ["Datastore.Audit", "Datastore.AllocateSpace"];
    for storage in call.state.storages.values() {
        if !call.may(&format!("/storage/{}", storage.id), &audit) {
            continue;
        }
        entries.extend(call.state.nodes.keys().map(|node| storage.resource(node)));
    }
}

/// The built-in zone that stands for bridges outside of SDN.
fn zones(call: &Call<'_>, entries: &mut Vec<Value>) {
    if !call.may("/sdn/zones/localnetwork", &["SDN.Audit"]) {
        return;
    }
    entries.extend(call.state.nodes.keys().map(|node| {
        json!({
            "id": format!("sdn/{node}/localnetwork"),
            "type": "sdn",
            "sdn": "localnetwork",
            "node": node,
            "status": "ok",
        })
    }));
}
