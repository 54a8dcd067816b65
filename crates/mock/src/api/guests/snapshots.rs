//! `snapshot`: the chain of a guest's former configurations.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row, unlocked};
use crate::failure::{Failure, Outcome, Success};
use crate::object::{set, set_some};
use crate::seed::GuestKind;
use crate::state::{Guest, Snapshot, State, What, disk};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/snapshot", list),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/snapshot", create),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", index),
    (Verb::Delete, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}", delete),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", config),
    (Verb::Put, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", describe),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback", rollback),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/snapshot", list),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/snapshot", create),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", index),
    (Verb::Delete, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}", delete),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", config),
    (Verb::Put, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config", describe),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback", rollback),
];

/// Storages whose volumes can be frozen; files can when they are qcow2.
const CAPABLE: [&str; 4] = ["lvmthin", "zfspool", "rbd", "btrfs"];
/// Snapshots of one guest; a genuine file of this many would not be read any more.
const SNAPSHOTS: usize = 500;

/// Whether all volumes can be frozen.
pub(super) fn possible(state: &State, guest: &Guest) -> bool {
    disk::volumes(guest.config()).all(|(_, drive)| {
        let storage = drive.volume().and_then(|(id, _)| state.storages.get(id));
        drive.is_cdrom()
            || drive.file.ends_with(".qcow2")
            || storage.is_some_and(|storage| CAPABLE.contains(&storage.kind.as_str()))
    })
}

pub(super) fn find<'g>(guest: &'g Guest, name: &str) -> Result<&'g Snapshot, Failure> {
    let found = guest.snapshots.get(name);
    found.ok_or_else(|| Failure::die(missing(name)))
}

fn missing(name: &str) -> String {
    format!("snapshot '{name}' does not exist")
}

fn list(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let is_qemu = guest.kind == GuestKind::Qemu;
    let mut entries: Vec<Value> = guest
        .snapshots
        .iter()
        .map(|(name, snapshot)| {
            let description = snapshot.description.clone().unwrap_or_default();
            let mut entry =
                json!({ "name": name, "description": description, "snaptime": snapshot.taken });
            set_some(&mut entry, "parent", snapshot.parent.clone());
            set_some(&mut entry, "vmstate", is_qemu.then_some(u8::from(snapshot.vmstate)));
            entry
        })
        .collect();
    let mut current = json!({
        "name": "current",
        "description": "You are here!",
        "digest": guest.digest(),
        "running": u8::from(guest.is_running()),
    });
    set_some(&mut current, "parent", guest.option("parent"));
    entries.push(current);
    Ok(Value::Array(entries).into())
}

fn index(call: &mut Call<'_>) -> Outcome {
    call.guest()?;
    let mut names: Vec<&str> = call.matched.children().collect();
    names.sort_unstable();
    Ok(crate::format::index("cmd", names).into())
}

fn config(call: &mut Call<'_>) -> Outcome {
    let snapshot = find(call.guest()?, &call.required("snapname"))?;
    let mut config = json!(snapshot.config);
    set(&mut config, "snaptime", snapshot.taken);
    set_some(&mut config, "description", snapshot.description.clone());
    set_some(&mut config, "parent", snapshot.parent.clone());
    set_some(&mut config, "vmstate", snapshot.vmstate.then_some(1));
    Ok(config.into())
}

fn describe(call: &mut Call<'_>) -> Outcome {
    let (vmid, name) = (call.guest()?.vmid, call.required("snapname"));
    unlocked(call.guest()?).map_err(Failure::die)?;
    let description = call.text("description");
    let guest = call.state.guests.get_mut(&vmid);
    let found = guest.and_then(|guest| guest.snapshots.get_mut(&name));
    let snapshot = found.ok_or_else(|| Failure::die(missing(&name)))?;
    if description.is_some() {
        snapshot.description = description;
    }
    Ok(Success::default())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let name = call.required("snapname");
    if name == "current" || name == "pending" {
        let text = format!("unable to use snapshot name '{name}' (reserved name)");
        return Err(Failure::die(text));
    }
    let exit = if let Err(text) = unlocked(&guest) {
        Err(text)
    } else if guest.is_template() {
        Err("you can't take a snapshot if it's a template".to_owned())
    } else if guest.snapshots.contains_key(&name) {
        Err(format!("snapshot name '{name}' already used"))
    } else if guest.snapshots.len() >= SNAPSHOTS || !possible(call.state, &guest) {
        Err("snapshot feature is not available".to_owned())
    } else {
        Ok(())
    };
    let what = What::Snapshot {
        name,
        description: call.text("description"),
        vmstate: call.flag("vmstate") && guest.is_running(),
    };
    let task = if guest.kind == GuestKind::Lxc { "vzsnapshot" } else { "qmsnapshot" };
    Ok(call.guest_task(guest.vmid, (task, 2), Some("snapshot"), what, exit))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let name = call.required("snapname");
    let exit = present(&guest, &name);
    let task = if guest.kind == GuestKind::Lxc { "vzdelsnapshot" } else { "qmdelsnapshot" };
    let what = What::DeleteSnapshot { name };
    Ok(call.guest_task(guest.vmid, (task, 2), Some("snapshot-delete"), what, exit))
}

fn rollback(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let name = call.required("snapname");
    let exit = if guest.is_template() {
        Err("you can't rollback if vm is a template".to_owned())
    } else {
        present(&guest, &name)
    };
    let resumes = guest.snapshots.get(&name).is_some_and(|snapshot| snapshot.vmstate);
    let task = if guest.kind == GuestKind::Lxc { "vzrollback" } else { "qmrollback" };
    let what = What::Rollback { name, start: resumes || call.flag("start") };
    Ok(call.guest_task(guest.vmid, (task, 3), Some("rollback"), what, exit))
}

fn present(guest: &Guest, name: &str) -> Result<(), String> {
    unlocked(guest)?;
    if guest.snapshots.contains_key(name) { Ok(()) } else { Err(missing(name)) }
}
