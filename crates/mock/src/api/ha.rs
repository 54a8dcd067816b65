//! `/cluster/ha`: managed guests, groups, and what the manager would say.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::data::Data;
use crate::failure::{Failure, Outcome, Success};
use crate::object::{extend, set_some};
use crate::seed::GuestKind;
use crate::state::{Change, Effect, Fields, Guest, Objects, What};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/ha/resources", resources),
    (Verb::Post, "/cluster/ha/resources", create),
    (Verb::Get, "/cluster/ha/resources/{sid}", normalized),
    (Verb::Put, "/cluster/ha/resources/{sid}", normalized),
    (Verb::Delete, "/cluster/ha/resources/{sid}", normalized),
    (Verb::Post, "/cluster/ha/resources/{sid}/migrate", relocate),
    (Verb::Post, "/cluster/ha/resources/{sid}/relocate", relocate),
    (Verb::Get, "/cluster/ha/groups", groups),
    (Verb::Post, "/cluster/ha/groups", groups),
    (Verb::Get, "/cluster/ha/groups/{group}", groups),
    (Verb::Put, "/cluster/ha/groups/{group}", groups),
    (Verb::Delete, "/cluster/ha/groups/{group}", groups),
    (Verb::Get, "/cluster/ha/status/current", status),
    (Verb::Get, "/cluster/ha/status/manager_status", manager),
];

pub(super) const RESOURCES: &str = "/cluster/ha/resources";

/// The member `ha` of a guest's status.
pub(super) fn managed(objects: &Objects, guest: &Guest) -> Value {
    match objects.find(RESOURCES, &sid(guest.kind, guest.vmid)) {
        Some(fields) => {
            let mut answer = json!({ "managed": 1, "state": requested(fields) });
            set_some(&mut answer, "group", fields.get("group").cloned());
            answer
        }
        None => json!({ "managed": 0 }),
    }
}

/// The state in `cluster/resources` of a managed guest.
pub(super) fn state<'o>(objects: &'o Objects, guest: &Guest) -> Option<&'o str> {
    // Most clusters manage no guest, and every one of them is asked about in every poll.
    if objects.count(RESOURCES) == 0 {
        return None;
    }
    objects.find(RESOURCES, &sid(guest.kind, guest.vmid)).map(requested)
}

pub(super) fn is_managed(objects: &Objects, guest: &Guest) -> bool {
    objects.find(RESOURCES, &sid(guest.kind, guest.vmid)).is_some()
}

/// Puts a new guest under management.
pub(super) fn manage(call: &mut Call<'_>, vmid: u32, kind: GuestKind) {
    let state = if call.flag("start") { "started" } else { "stopped" };
    let fields = Fields::from_iter([("state".to_owned(), json!(state))]);
    call.state.objects.insert(RESOURCES, &sid(kind, vmid), fields);
}

fn sid(kind: GuestKind, vmid: u32) -> String {
    let word = if kind == GuestKind::Lxc { "ct" } else { "vm" };
    format!("{word}:{vmid}")
}

fn requested(fields: &Fields) -> &str {
    fields.get("state").and_then(Value::as_str).unwrap_or("started")
}

/// `vm:100` of `vm:100` and of `100`, which needs the guest to tell what it is.
fn parsed(call: &Call<'_>) -> Result<(String, u32), Failure> {
    let text = call.required("sid");
    let digits = text.split_once(':').map_or(text.as_str(), |(_, id)| id);
    let vmid: u32 =
        digits.parse().map_err(|_| Failure::die(format!("unable to parse service id '{text}'")))?;
    if text.contains(':') {
        return Ok((text, vmid));
    }
    match call.state.guests.get(&vmid) {
        Some(guest) => Ok((sid(guest.kind, vmid), vmid)),
        None => Err(Failure::die(format!("unable to get vmid '{vmid}' type"))),
    }
}

/// The service id in full; an id of no guest stays as it is.
pub(super) fn full_id(call: &Call<'_>, text: &str) -> String {
    let guest = text.parse().ok().and_then(|vmid: u32| call.state.guests.get(&vmid));
    guest.map_or_else(|| text.to_owned(), |guest| sid(guest.kind, guest.vmid))
}

fn resources(call: &mut Call<'_>) -> Outcome {
    let kind = call.text("type");
    let list = call.state.objects.list(RESOURCES);
    let entries = list.filter_map(|(sid, fields)| {
        let own = sid.split(':').next().unwrap_or_default();
        if kind.as_deref().is_some_and(|kind| kind != own) {
            return None;
        }
        let mut entry = json!(fields);
        extend(&mut entry, json!({ "sid": sid, "type": own, "state": requested(fields) }));
        Some(entry)
    });
    Ok(entries.collect::<Value>().into())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (sid, vmid) = parsed(call)?;
    let Some(guest) = call.state.guests.get(&vmid) else {
        return Err(Failure::die(format!("unable to find VM '{vmid}'")));
    };
    if sid != self::sid(guest.kind, vmid) {
        return Err(Failure::die(format!("resource '{sid}' is not of that type")));
    }
    if call.text("group").is_some() && is_rules_only(call) {
        let text = "invalid parameter 'group': ha groups have been migrated to rules";
        return Err(Failure::die(text));
    }
    call.parameters.insert("sid".to_owned(), json!(sid));
    call.parameters.remove("type");
    super::generic::answer(call)
}

/// Passes the call on with the service id in full.
fn normalized(call: &mut Call<'_>) -> Outcome {
    let (sid, _) = parsed(call)?;
    if call.state.objects.find(RESOURCES, &sid).is_none() && call.method.verb() == Verb::Delete {
        let text = format!("cannot delete service '{sid}', not HA managed!");
        return Err(Failure::die(text));
    }
    if call.method.verb() == Verb::Delete && call.text("purge").is_none_or(|_| call.flag("purge")) {
        super::ha_rules::forget(&mut call.state.objects, &sid);
    }
    let mut matched = call.matched.clone();
    for (name, value) in &mut matched.variables {
        if *name == "sid" {
            value.clone_from(&sid);
        }
    }
    let mut inner = Call {
        state: &mut *call.state,
        shared: call.shared,
        caller: call.caller,
        method: call.method,
        matched: &matched,
        parameters: std::mem::take(&mut call.parameters),
        keys: None,
    };
    inner.parameters.remove("purge");
    let answer = super::generic::answer(&mut inner)?;
    let Data::Value(Value::Object(mut fields)) = answer.data else { return Ok(answer) };
    let kind = sid.split(':').next().unwrap_or_default();
    fields.insert("type".to_owned(), json!(kind));
    fields.entry("state").or_insert_with(|| json!("started"));
    Ok(Value::Object(fields).into())
}

/// Moves the guest, running or not; the manager would do so within its next rounds.
fn relocate(call: &mut Call<'_>) -> Outcome {
    let (sid, vmid) = parsed(call)?;
    if call.state.objects.find(RESOURCES, &sid).is_none() {
        return Err(Failure::die(format!("no such resource '{sid}'")));
    }
    let node = call.required("node");
    if !call.state.nodes.contains_key(&node) {
        return Err(Failure::die(format!("no such cluster node '{node}'")));
    }
    let from = call.state.guests.get(&vmid).map(|guest| guest.node.clone()).unwrap_or_default();
    if from != node {
        let what = What::Move { node: node.clone() };
        let effect = Effect::Guests(vec![Change { vmid, what }]);
        let name = if sid.starts_with("ct:") { "vzmigrate" } else { "qmigrate" };
        call.task(&from, (name, 10), &vmid.to_string(), effect, Ok(()));
    }
    Ok(json!({ "sid": sid, "requested-node": node }).into())
}

/// Release 9 knows rules instead of groups.
fn groups(call: &mut Call<'_>) -> Outcome {
    if !is_rules_only(call) {
        return super::generic::answer(call);
    }
    let single = call.method.path().ends_with('}');
    let what = match call.method.verb() {
        Verb::Get if single => "cannot read group",
        Verb::Get => "cannot index groups",
        Verb::Post => "cannot create group",
        Verb::Put => "cannot update group",
        Verb::Delete => "cannot delete group",
    };
    Err(Failure::die(format!("{what}: ha groups have been migrated to rules")))
}

fn is_rules_only(call: &Call<'_>) -> bool {
    let major = call.state.version.release.split('.').next().and_then(|text| text.parse().ok());
    major.is_some_and(|major: u32| major >= 9)
}

fn status(call: &mut Call<'_>) -> Outcome {
    let (now, local) = (call.now().as_secs(), call.state.local.clone());
    let mut entries = vec![json!({
        "id": "quorum", "type": "quorum", "node": local, "status": "OK", "quorate": 1,
    })];
    let services: Vec<(&String, &Fields)> = call.state.objects.list(RESOURCES).collect();
    if services.is_empty() {
        return Ok(Value::Array(entries).into());
    }
    entries.push(json!({
        "id": "master", "type": "master", "node": local, "timestamp": now,
        "status": format!("{local} (active, {now})"),
    }));
    entries.extend(call.state.nodes.keys().map(|node| {
        json!({
            "id": format!("lrm:{node}"), "type": "lrm", "node": node, "timestamp": now,
            "status": format!("{node} (active, {now})"),
        })
    }));
    entries.extend(services.into_iter().filter_map(|(sid, fields)| {
        let vmid: u32 = sid.split(':').nth(1)?.parse().ok()?;
        let guest = call.state.guests.get(&vmid)?;
        let state = if guest.is_running() { "started" } else { "stopped" };
        let mut entry = json!({
            "id": format!("service:{sid}"), "type": "service", "sid": sid, "node": guest.node,
            "state": state, "crm_state": state, "request_state": requested(fields),
            "status": format!("{sid} ({}, {state})", guest.node),
        });
        for key in ["group", "max_relocate", "max_restart", "comment"] {
            set_some(&mut entry, key, fields.get(key).cloned());
        }
        Some(entry)
    }));
    Ok(Value::Array(entries).into())
}

fn manager(call: &mut Call<'_>) -> Outcome {
    let nodes: Fields =
        call.state.nodes.keys().map(|node| (node.clone(), json!("online"))).collect();
    Ok(Success::from(json!({
        "manager_status": {
            "master_node": call.state.local, "node_status": nodes, "service_status": {},
            "timestamp": call.now().as_secs(),
        },
        "quorum": { "node": call.state.local, "quorate": "1" },
    })))
}
