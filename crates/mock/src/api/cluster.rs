//! `/cluster`.

use std::time::Duration;

use pve_schema::Verb;
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::{Value, json};

use super::nodes::audited;
use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::object::extend;
use crate::state::{Guest, GuestRow, NodeRow, State};

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
    Success::written(&Resources { call, wanted: call.text("type") })
}

/// The list of resources, of one type or of all.
struct Resources<'c> {
    call: &'c Call<'c>,
    wanted: Option<String>,
}

impl Serialize for Resources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let wants = |kind: &str| self.wanted.as_deref().is_none_or(|wanted| wanted == kind);
        let mut list = serializer.serialize_seq(None)?;
        if self.wanted.is_none() {
            self.pools(&mut list)?;
        }
        if wants("vm") {
            self.guests(&mut list)?;
        }
        if wants("node") {
            self.nodes(&mut list)?;
        }
        if wants("storage") {
            self.storages(&mut list)?;
        }
        if wants("sdn") {
            super::sdn::resources(self.call, &mut list)?;
        }
        list.end()
    }
}

impl Resources<'_> {
    fn pools<L: SerializeSeq>(&self, list: &mut L) -> Result<(), L::Error> {
        let auditor = self.call.right(&["Pool.Audit"]);
        for name in self.call.state.accounts.config().pools.keys() {
            let id = format!("/pool/{name}");
            if auditor.at(&id) {
                list.serialize_element(&json!({ "id": id, "type": "pool", "pool": name }))?;
            }
        }
        Ok(())
    }

    fn guests<L: SerializeSeq>(&self, list: &mut L) -> Result<(), L::Error> {
        let auditor = self.call.right(&["VM.Audit"]);
        let mut seen = self.call.state.guests.values().filter(|guest| auditor.at_guest(guest));
        let now = self.call.now();
        seen.try_for_each(|guest| list.serialize_element(&guest_row(self.call.state, guest, now)))
    }

    fn nodes<L: SerializeSeq>(&self, list: &mut L) -> Result<(), L::Error> {
        audited(self.call).try_for_each(|(row, _)| {
            let cgroup_mode = row.cpu.map(|_| 2);
            list.serialize_element(&NodeRow { cgroup_mode, ..row })
        })
    }

    fn storages<L: SerializeSeq>(&self, list: &mut L) -> Result<(), L::Error> {
        let auditor = self.call.right(&["Datastore.Audit", "Datastore.AllocateSpace"]);
        for storage in self.call.state.storages.values() {
            if auditor.at(&format!("/storage/{}", storage.id)) {
                let mut nodes = self.call.state.nodes.keys();
                nodes.try_for_each(|node| list.serialize_element(&storage.resource(node)))?;
            }
        }
        Ok(())
    }
}

/// A guest in `cluster/resources` and among the members of a pool.
pub(super) fn guest_row<'s>(state: &'s State, guest: &'s Guest, now: Duration) -> GuestRow<'s> {
    GuestRow {
        hastate: super::ha::state(&state.objects, guest),
        id: Some(guest.id()),
        maxcpu: Some(guest.processors()),
        node: Some(&guest.node),
        pool: state.accounts.config().pool_of(u64::from(guest.vmid)),
        template: Some(u8::from(guest.is_template())),
        kind: Some(guest.kind_name()),
        ..guest.row(now)
    }
}
