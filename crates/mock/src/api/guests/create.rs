//! `POST /nodes/{node}/qemu` and `/lxc`.

use pve_schema::Verb;
use serde_json::json;

use super::placement::Placement;
use super::restore::Restore;
use super::{Call, Row, options, privileges};
use crate::failure::{Failure, Outcome};
use crate::seed::GuestKind;
use crate::state::{Change, Effect, Guest, Options, What, disk, random_uuid};

pub(in crate::api) const ROWS: &[Row] =
    &[(Verb::Post, "/nodes/{node}/qemu", create), (Verb::Post, "/nodes/{node}/lxc", create)];

/// Guests a cluster can hold: ids up to 999,999,999 exist, but a mock is bounded.
const GUESTS: usize = 200_000;
/// Systems that the names of container templates begin with.
const SYSTEMS: [&str; 11] = [
    "debian",
    "devuan",
    "ubuntu",
    "centos",
    "fedora",
    "opensuse",
    "archlinux",
    "alpine",
    "gentoo",
    "nixos",
    "almalinux",
];

fn create(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let is_lxc = call.method.path().ends_with("/lxc");
    let kind = if is_lxc { GuestKind::Lxc } else { GuestKind::Qemu };
    let vmid = call.number("vmid").and_then(|vmid| u32::try_from(vmid).ok()).unwrap_or_default();
    let pool = call.text("pool");
    let is_restore = call.text("archive").is_some() || call.flag("restore");
    if !(is_restore && Restore::may_overwrite(call, vmid)) {
        may_create(call, vmid, pool.as_deref())?;
    }
    if is_restore {
        return Restore { node, kind, vmid, pool }.run(call);
    }
    let mut config = options::given(&call.parameters, kind);
    let given: Vec<String> = config.keys().cloned().collect();
    privileges::permitted(call, vmid, kind, pool.as_deref(), given.iter().map(String::as_str))?;
    privileges::bridges(call, &config)?;
    unused_id(call, vmid, kind)?;
    if is_lxc {
        container_defaults(call, vmid, &mut config);
    }
    Placement::new(call.state, vmid, kind, call.text("storage")).complete(&mut config)?;
    for (_, drive) in disk::volumes(&config) {
        if let Some((storage, _)) = drive.volume() {
            call.needs(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
        }
    }
    if !is_lxc {
        machine_defaults(call, &mut config);
    }
    let mut guest = Guest::with_config(vmid, kind, node.clone(), config);
    guest.set_lock(Some("create"));
    call.state.guests.insert(vmid, guest);
    if let Some(pool) = pool {
        join_pool(call, vmid, &pool)?;
    }
    if call.flag("ha-managed") {
        super::super::ha::manage(call, vmid, kind);
    }
    let what = What::Finish { start: call.flag("start") };
    let effect = Effect::Guests(vec![Change { vmid, what }]);
    let name = if is_lxc { "vzcreate" } else { "qmcreate" };
    Ok(call.task(&node, (name, 2), &vmid.to_string(), effect, Ok(())))
}

fn may_create(call: &Call<'_>, vmid: u32, pool: Option<&str>) -> Result<(), Failure> {
    if let Some(pool) = pool
        && !call.state.accounts.config().pools.contains_key(pool)
    {
        return Err(Failure::permission(&format!("pool '{pool}' does not exist")));
    }
    let in_pool = pool.is_some_and(|pool| call.may(&format!("/pool/{pool}"), &["VM.Allocate"]));
    if in_pool || call.may(&format!("/vms/{vmid}"), &["VM.Allocate"]) {
        return Ok(());
    }
    Err(Failure::permission(""))
}

/// Ids are unique in the whole cluster.
pub(super) fn unused_id(call: &Call<'_>, vmid: u32, kind: GuestKind) -> Result<(), Failure> {
    let noun = if kind == GuestKind::Lxc { "CT" } else { "VM" };
    if let Some(other) = call.state.guests.get(&vmid) {
        return Err(Failure::die(format!(
            "unable to create {noun} {vmid} - {} {vmid} already exists on node '{}'",
            other.noun(),
            other.node
        )));
    }
    if call.state.guests.len() >= GUESTS {
        return Err(Failure::die(format!("unable to create {noun} {vmid} - too many guests")));
    }
    Ok(())
}

pub(super) fn join_pool(call: &mut Call<'_>, vmid: u32, pool: &str) -> Result<(), Failure> {
    call.state.accounts.change(|config| {
        if let Some(pool) = config.pools.get_mut(pool) {
            pool.vms.insert(u64::from(vmid));
        }
        Ok(())
    })
}

fn container_defaults(call: &Call<'_>, vmid: u32, config: &mut Options) {
    let template = call.required("ostemplate").to_lowercase();
    let file = template.rsplit('/').next().unwrap_or_default();
    let system = SYSTEMS.iter().find(|name| file.starts_with(**name));
    let system = match system.copied() {
        Some("almalinux") => "centos",
        None if file.starts_with("rockylinux") => "centos",
        other => other.unwrap_or("unmanaged"),
    };
    let storage = call.text("storage").unwrap_or_else(|| "local".to_owned());
    let defaults = [
        ("arch", json!("amd64")),
        ("hostname", json!(format!("CT{vmid}"))),
        ("memory", json!(512)),
        ("ostype", json!(system)),
        ("rootfs", json!(format!("{storage}:4"))),
        ("swap", json!(512)),
    ];
    for (key, value) in defaults {
        config.entry(key.to_owned()).or_insert(value);
    }
}

/// Identities and the boot order, which a genuine node writes into every new file.
fn machine_defaults(call: &Call<'_>, config: &mut Options) {
    let order = boot_order(config);
    let created = call.now().as_secs();
    let defaults = [
        ("boot", order),
        ("meta", format!("creation-qemu=10.1.2,ctime={created}")),
        ("smbios1", format!("uuid={}", random_uuid())),
        ("vmgenid", random_uuid()),
    ];
    for (key, value) in defaults {
        config.entry(key.to_owned()).or_insert_with(|| json!(value));
    }
}

/// First disk, first CD-ROM drive, first network card. Without any it is a blank.
fn boot_order(config: &Options) -> String {
    let drives: Vec<(&str, disk::Drive)> = config
        .iter()
        .filter(|(key, _)| {
            disk::is_volume_key(key) && !matches!(key.as_str(), "efidisk0" | "tpmstate0")
        })
        .filter_map(|(key, value)| Some((key.as_str(), disk::Drive::parse(value.as_str()?))))
        .collect();
    let first = |cdrom: bool| {
        let mut fitting = drives.iter().filter(|(_, drive)| drive.is_cdrom() == cdrom);
        fitting.next().map(|(key, _)| *key)
    };
    let net = config.keys().map(String::as_str).find(|key| key.starts_with("net"));
    let devices: Vec<&str> = [first(false), first(true), net].into_iter().flatten().collect();
    if devices.is_empty() { " ".to_owned() } else { format!("order={}", devices.join(";")) }
}
