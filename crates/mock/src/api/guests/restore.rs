//! `POST /nodes/{node}/qemu` with `archive`, `/lxc` with `restore`: a guest out of a backup.
//!
//! Archives that a backup of the mock left hold the configuration; an uploaded one is taken for
//! the backup of an empty guest, because its content is not kept.

use serde_json::json;

use super::clone::{is_network, without_address};
use super::create::{join_pool, unused_id};
use super::placement::Placement;
use super::{Call, options, privileges};
use crate::api::content::Place;
use crate::failure::{Failure, Outcome};
use crate::seed::GuestKind;
use crate::state::{Change, Effect, Guest, Options, What, disk, random_uuid};

const GIB: u64 = 1 << 30;

/// What a call asks for.
pub(super) struct Restore {
    pub(super) node: String,
    pub(super) kind: GuestKind,
    pub(super) vmid: u32,
    pub(super) pool: Option<String>,
}

impl Restore {
    /// Whether the caller may overwrite the guest without being allowed to make guests.
    pub(super) fn may_overwrite(call: &Call<'_>, vmid: u32) -> bool {
        let exists = call.state.guests.contains_key(&vmid);
        exists && call.flag("force") && call.may(&format!("/vms/{vmid}"), &["VM.Backup"])
    }

    /// Runs the call; the rights to make the guest are checked already.
    pub(super) fn run(&self, call: &mut Call<'_>) -> Outcome {
        let Self { node, kind, vmid, pool } = self;
        let given = options::given(&call.parameters, *kind);
        let keys = given.keys().map(String::as_str);
        privileges::permitted(call, *vmid, *kind, pool.as_deref(), keys)?;
        if *kind == GuestKind::Qemu
            && let Some(drive) = given.keys().find(|key| disk::is_volume_key(key))
        {
            let text = "option conflicts with option 'archive'";
            return Err(Failure::parameter(drive, text));
        }
        let archived = self.archived(call)?;
        self.replaceable(call)?;
        let mut config = self.placed(call, archived)?;
        config.extend(given);
        Placement::new(call.state, *vmid, *kind, None).complete(&mut config)?;
        for (_, drive) in disk::volumes(&config) {
            if let Some((storage, _)) = drive.volume() {
                call.needs(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
            }
        }
        let mut guest = Guest::with_config(*vmid, *kind, node.clone(), config);
        guest.set_lock(Some("create"));
        call.state.guests.insert(*vmid, guest);
        if let Some(pool) = pool {
            join_pool(call, *vmid, pool)?;
        }
        let what = What::Finish { start: call.flag("start") };
        let effect = Effect::Guests(vec![Change { vmid: *vmid, what }]);
        let name = if *kind == GuestKind::Lxc { "vzrestore" } else { "qmrestore" };
        Ok(call.task(node, (name, 2), &vmid.to_string(), effect, Ok(())))
    }

    /// The configuration in the archive.
    fn archived(&self, call: &mut Call<'_>) -> Result<Options, Failure> {
        let parameter = if self.kind == GuestKind::Lxc { "ostemplate" } else { "archive" };
        let archive = call.required(parameter);
        let missing = || Failure::die(format!("can't find archive file '{archive}'"));
        let (storage, name) = archive.split_once(':').ok_or_else(missing)?;
        let place = Place::of(call, storage)?;
        let now = call.now();
        let found = call.state.volumes.at(&(place.storage, place.owner, name.to_owned()));
        let found = found.filter(|volume| volume.since <= now && volume.kind.content == "backup");
        let archived = found.ok_or_else(missing)?.archived.clone();
        if !call.may(&format!("/storage/{storage}"), &["Datastore.Allocate"]) {
            let owner = archived.as_ref().map_or(self.vmid, |guest| guest.vmid);
            call.needs(&format!("/vms/{owner}"), "VM.Backup")?;
        }
        match archived {
            Some(guest) if guest.kind != self.kind => {
                Err(Failure::die(format!("archive '{archive}' holds another kind of guest")))
            }
            Some(guest) => Ok(guest.config().clone()),
            None => Ok(Options::new()),
        }
    }

    /// An id in use is taken only by force, and not from a running or protected guest.
    fn replaceable(&self, call: &Call<'_>) -> Result<(), Failure> {
        let noun = if self.kind == GuestKind::Lxc { "CT" } else { "VM" };
        let prefix = format!("unable to restore {noun} {} -", self.vmid);
        let Some(old) = call.state.guests.get(&self.vmid) else {
            return unused_id(call, self.vmid, self.kind);
        };
        let same = old.kind == self.kind && old.node == self.node;
        let why = if !call.flag("force") || !same {
            format!("{} {} already exists on node '{}'", old.noun(), self.vmid, old.node)
        } else if old.flag("protection") {
            "- protection mode enabled".to_owned()
        } else if old.is_running() {
            format!("{} is running", noun.to_lowercase())
        } else {
            return Ok(());
        };
        Err(Failure::die(format!("{prefix} {why}")))
    }

    /// The archived options with volumes to be made: on the storage of the call, or else for a
    /// machine on the one the volume was on, for a container on `local`.
    fn placed(&self, call: &Call<'_>, mut config: Options) -> Result<Options, Failure> {
        let is_lxc = self.kind == GuestKind::Lxc;
        let target = call.text("storage").or_else(|| is_lxc.then(|| "local".to_owned()));
        config.retain(|key, _| {
            !matches!(key.as_str(), "parent" | "lock" | "snaptime" | "vmstate" | "template")
                && !key.starts_with("unused")
        });
        let drives: Vec<(String, disk::Drive)> =
            disk::volumes(&config).map(|(key, drive)| (key.to_owned(), drive)).collect();
        for (key, mut drive) in drives {
            if drive.options.get("backup").is_some_and(|kept| kept == "0") {
                config.remove(&key);
                continue;
            }
            let Some((own, _)) = drive.volume() else { continue };
            let storage = target.clone().unwrap_or_else(|| own.to_owned());
            let size = drive.bytes();
            drive.file = match drive.file.contains("cloudinit") {
                true => format!("{storage}:cloudinit"),
                false => format!("{storage}:{}", size.div_ceil(GIB).max(1)),
            };
            config.insert(key, json!(drive.print()));
        }
        if is_lxc && !config.contains_key("rootfs") {
            let storage = target.unwrap_or_default();
            config.insert("rootfs".to_owned(), json!(format!("{storage}:4")));
        }
        if call.flag("unique") {
            for (key, value) in &mut config {
                if let Some(text) = value.as_str().filter(|_| is_network(key)) {
                    *value = json!(without_address(text));
                }
            }
            if !is_lxc {
                config.insert("smbios1".to_owned(), json!(format!("uuid={}", random_uuid())));
            }
        }
        // A restored machine is another generation of the same one.
        if config.contains_key("vmgenid") {
            config.insert("vmgenid".to_owned(), json!(random_uuid()));
        }
        Ok(config)
    }
}
