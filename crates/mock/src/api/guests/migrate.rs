//! `migrate`: the guest moves to another node.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row, unlocked};
use crate::failure::{Failure, Outcome};
use crate::object::{extend, set};
use crate::seed::GuestKind;
use crate::state::{Guest, State, What, disk};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/migrate", precondition),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/migrate", migrate),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/migrate", precondition),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/migrate", migrate),
];

/// Volumes on storages that are not shared.
pub(super) fn local_volumes(state: &State, guest: &Guest) -> Vec<disk::Drive> {
    let volumes = disk::volumes(guest.config()).map(|(_, drive)| drive);
    let is_local = |drive: &disk::Drive| {
        let storage = drive.volume().and_then(|(id, _)| state.storages.get(id));
        storage.is_none_or(|storage| !storage.shared)
    };
    volumes.filter(is_local).collect()
}

pub(super) fn known_node(state: &State, name: &str) -> Result<(), Failure> {
    if state.nodes.contains_key(name) {
        return Ok(());
    }
    Err(Failure::die(format!("no such cluster node '{name}'")))
}

fn precondition(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let others: Vec<&String> =
        call.state.nodes.keys().filter(|name| **name != guest.node).collect();
    let running = u8::from(guest.is_running());
    if guest.kind == GuestKind::Lxc {
        return Ok(json!({
            "running": running, "allowed-nodes": others, "not-allowed-nodes": {},
        })
        .into());
    }
    let disks: Vec<Value> = local_volumes(call.state, guest)
        .iter()
        .map(|drive| {
            let unused = guest.config().iter().any(|(key, value)| {
                key.starts_with("unused") && value.as_str() == Some(drive.file.as_str())
            });
            json!({
                "volid": drive.file, "size": drive.bytes(), "cdrom": u8::from(drive.is_cdrom()),
                "is_unused": u8::from(unused),
            })
        })
        .collect();
    let mut answer = json!({
        "running": running, "local_disks": disks, "local_resources": [], "mapped-resources": [],
        "mapped-resource-info": {}, "has-dbus-vmstate": 1,
    });
    if running == 0 {
        extend(&mut answer, json!({ "allowed_nodes": others, "not_allowed_nodes": {} }));
    }
    set(&mut answer, "dependent-ha-resources", json!([]));
    Ok(answer.into())
}

fn migrate(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let is_lxc = guest.kind == GuestKind::Lxc;
    let target = call.required("target");
    if target == guest.node {
        return Err(Failure::parameter("target", "target is local node."));
    }
    known_node(call.state, &target)?;
    let moving = call.flag("online") || (is_lxc && call.flag("restart"));
    if guest.is_running() && !moving {
        let text = if is_lxc {
            "can't migrate running container without --online or --restart"
        } else {
            "can't migrate running VM without --online"
        };
        return Err(Failure::die(text));
    }
    let managed = super::super::ha::is_managed(&call.state.objects, &guest);
    let exit = outcome(call, &guest);
    let name = match (managed, is_lxc) {
        (true, _) => "hamigrate",
        (false, false) => "qmigrate",
        (false, true) => "vzmigrate",
    };
    let what = What::Move { node: target };
    Ok(call.guest_task(guest.vmid, (name, 10), Some("migrate"), what, exit))
}

/// How the task ends.
fn outcome(call: &Call<'_>, guest: &Guest) -> Result<(), String> {
    unlocked(guest)?;
    let is_lxc = guest.kind == GuestKind::Lxc;
    if is_lxc && guest.is_running() && !call.flag("restart") {
        return Err("lxc live migration is currently not implemented".to_owned());
    }
    let attached = !local_volumes(call.state, guest).is_empty();
    if !is_lxc && guest.is_running() && attached && !call.flag("with-local-disks") {
        return Err("migration aborted".to_owned());
    }
    if attached && guest.is_template() {
        return Err("migration aborted".to_owned());
    }
    Ok(())
}
