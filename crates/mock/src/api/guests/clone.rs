//! `clone`: a new guest with the configuration of another or of its snapshot.

use pve_schema::Verb;
use serde_json::json;

use super::placement::Placement;
use super::{Call, Row, create, migrate, privileges, unlocked};
use crate::failure::{Failure, Outcome};
use crate::seed::GuestKind;
use crate::state::disk;
use crate::state::{Change, Effect, Guest, Options, What, name_key, random_uuid};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/clone", clone),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/clone", clone),
];

/// Storages whose clones name only themselves; the others name their base too.
const PLAIN_CLONES: [&str; 2] = ["lvmthin", "rbd"];

fn clone(call: &mut Call<'_>) -> Outcome {
    let source = call.guest()?.clone();
    let is_lxc = source.kind == GuestKind::Lxc;
    let newid = call.number("newid").and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
    let snapshot = call.text("snapname");
    let full = call.text("full").map_or(!source.is_template(), |_| call.flag("full"));
    check(call, &source, newid, full)?;
    let from = match &snapshot {
        Some(name) => super::snapshots::find(&source, name)?.config.clone(),
        None => source.config().clone(),
    };
    if is_lxc && source.is_running() && full && snapshot.is_none() {
        let text = "Cannot do full clones on a running container without snapshots";
        return Err(Failure::die(text));
    }
    privileges::bridges(call, &from)?;
    let config = copied(call, &source, newid, from, full)?;
    let node = call.text("target").unwrap_or_else(|| source.node.clone());
    let mut guest = Guest::with_config(newid, source.kind, node, config);
    guest.set_lock(Some(if is_lxc { "create" } else { "clone" }));
    call.state.guests.insert(newid, guest);
    if let Some(pool) = call.text("pool") {
        create::join_pool(call, newid, &pool)?;
    }
    let name = if is_lxc { "vzclone" } else { "qmclone" };
    let change = Change { vmid: newid, what: What::Finish { start: false } };
    let id = source.vmid.to_string();
    let seconds = if full { 10 } else { 1 };
    Ok(call.task(&source.node, (name, seconds), &id, Effect::Guests(vec![change]), Ok(())))
}

/// What a genuine node refuses before it starts the task.
fn check(call: &Call<'_>, source: &Guest, newid: u32, full: bool) -> Result<(), Failure> {
    if let Some(pool) = call.text("pool")
        && !call.state.accounts.config().pools.contains_key(&pool)
    {
        return Err(Failure::permission(&format!("pool '{pool}' does not exist")));
    }
    let target = call.text("target");
    if let Some(target) = &target {
        migrate::known_node(call.state, target)?;
    }
    unlocked(source).map_err(Failure::die)?;
    for parameter in ["storage", "format"] {
        if !full && call.text(parameter).is_some() {
            let text = format!("parameter '{parameter}' not allowed for linked clones");
            return Err(Failure::parameter(parameter, &text));
        }
    }
    let elsewhere = target.is_some_and(|target| target != source.node);
    if elsewhere && !migrate::local_volumes(call.state, source).is_empty() {
        let target = call.required("target");
        let noun = source.noun();
        let text = format!("can't clone {noun} to node '{target}' ({noun} uses local storage)");
        return Err(Failure::die(text));
    }
    create::unused_id(call, newid, source.kind)?;
    if !full && !source.is_template() && call.text("snapname").is_none() {
        let mut volumes = disk::volumes(source.config());
        if let Some((key, _)) = volumes.find(|(_, drive)| !drive.is_cdrom()) {
            let text = format!("Linked clone feature is not supported for drive '{key}'");
            return Err(Failure::die(text));
        }
    }
    Ok(())
}

/// The configuration of the copy: volumes, addresses and identities of its own.
fn copied(
    call: &Call<'_>,
    source: &Guest,
    newid: u32,
    mut config: Options,
    full: bool,
) -> Result<Options, Failure> {
    config.retain(|key, _| {
        !matches!(key.as_str(), "template" | "parent" | "lock" | "snaptime" | "vmstate")
            && !key.starts_with("unused")
    });
    let storage = call.text("storage");
    let format = call.text("format").unwrap_or_else(|| "raw".to_owned());
    let mut volumes = Options::new();
    let mut placed = std::collections::BTreeMap::<String, u32>::new();
    for (key, mut drive) in disk::volumes(&config) {
        let Some((id, name)) = drive.volume() else { continue };
        let id = storage.clone().unwrap_or_else(|| id.to_owned());
        let Some(target) = call.state.storages.get(&id) else {
            return Err(Failure::die(format!("storage '{id}' does not exist")));
        };
        let placement = Placement::new(call.state, newid, source.kind, None);
        let at = placed.entry(id.clone()).or_default();
        let new = placement.next(target, &format).replacen("disk-0", &format!("disk-{at}"), 1);
        *at += 1;
        let own = new.split_once(':').map_or(new.as_str(), |(_, own)| own);
        drive.file = if full || PLAIN_CLONES.contains(&target.kind.as_str()) {
            new
        } else {
            format!("{id}:{name}/{own}")
        };
        volumes.insert(key.to_owned(), json!(drive.print()));
    }
    config.extend(volumes);
    let placement = Placement::new(call.state, newid, source.kind, None);
    for (key, value) in &mut config {
        if let Some(text) = value.as_str().filter(|_| is_network(key)) {
            *value = json!(placement.network(key, &without_address(text)));
        }
    }
    identify(call, source, &mut config);
    Ok(config)
}

fn identify(call: &Call<'_>, source: &Guest, config: &mut Options) {
    let key = name_key(source.kind);
    let old = config.get(key).and_then(|name| name.as_str()).map(str::to_owned);
    let name = call.text(key).unwrap_or_else(|| match (source.kind, old) {
        (GuestKind::Qemu, Some(old)) => format!("Copy-of-{old}"),
        (GuestKind::Qemu, None) => format!("Copy-of-VM-{}", source.vmid),
        (GuestKind::Lxc, old) => old.unwrap_or_else(|| format!("CT{}", source.vmid)),
    });
    config.insert(key.to_owned(), json!(name));
    if let Some(description) = call.text("description") {
        config.insert("description".to_owned(), json!(description));
    }
    if config.contains_key("vmgenid") {
        config.insert("vmgenid".to_owned(), json!(random_uuid()));
    }
    if config.contains_key("smbios1") {
        config.insert("smbios1".to_owned(), json!(format!("uuid={}", random_uuid())));
    }
}

pub(super) fn is_network(key: &str) -> bool {
    key.strip_prefix("net").is_some_and(|at| at.parse::<u8>().is_ok())
}

/// The card's settings without its hardware address.
pub(super) fn without_address(text: &str) -> String {
    let is_address = |value: &str| value.len() == 17 && value.matches(':').count() == 5;
    let parts = text.split(',').filter_map(|part| match part.split_once('=') {
        Some(("hwaddr" | "macaddr", _)) => None,
        Some((model, value)) if is_address(value) => Some(model),
        _ => Some(part),
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_left_behind() {
        assert_eq!(without_address("virtio=BC:24:11:00:00:01,bridge=vmbr0"), "virtio,bridge=vmbr0");
        assert_eq!(
            without_address("name=eth0,hwaddr=BC:24:11:00:00:01,type=veth"),
            "name=eth0,type=veth"
        );
    }
}
