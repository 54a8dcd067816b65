//! New volumes and network addresses: `local-lvm:32` becomes a volume with a name and a size.

use std::collections::BTreeSet;

use crate::failure::Failure;
use crate::seed::GuestKind;
use crate::state::disk::{self, Drive};
use crate::state::{Guest, Options, State, Storage, sha1_hex};

/// Storages that hold volumes as files in a directory of the guest.
const FILE_BASED: [&str; 5] = ["dir", "nfs", "cifs", "cephfs", "btrfs"];
const GIB: u64 = 1 << 30;

/// Places the volumes of one guest.
pub(super) struct Placement<'s> {
    state: &'s State,
    vmid: u32,
    kind: GuestKind,
    /// Volumes that exist already.
    taken: BTreeSet<String>,
    /// What stands for the storage in `:32`.
    default_storage: Option<String>,
}

impl<'s> Placement<'s> {
    pub(super) fn new(
        state: &'s State,
        vmid: u32,
        kind: GuestKind,
        default_storage: Option<String>,
    ) -> Self {
        let taken = state.guests.get(&vmid).map(all_volumes).unwrap_or_default();
        Self { state, vmid, kind, taken, default_storage }
    }

    /// Fills in what a configuration file spells out: volumes, sizes, hardware addresses.
    pub(super) fn complete(&mut self, options: &mut Options) -> Result<(), Failure> {
        for (key, value) in options {
            let Some(text) = value.as_str() else { continue };
            if disk::is_volume_key(key) && !key.starts_with("unused") {
                *value = self.drive(key, text)?.into();
            } else if key.strip_prefix("net").is_some_and(|at| at.parse::<u8>().is_ok()) {
                *value = self.network(key, text).into();
            }
        }
        Ok(())
    }

    fn drive(&mut self, key: &str, text: &str) -> Result<String, Failure> {
        let mut drive = Drive::parse(text);
        if drive.file.is_empty() || drive.file == "none" || drive.file == "cdrom" {
            return Ok(drive.print());
        }
        if drive.file.starts_with('/') {
            return Ok(drive.print());
        }
        let is_cloud_init = drive.file == "cloudinit" || drive.file.ends_with(":cloudinit");
        let requested = requested(&drive.file);
        if !is_cloud_init && requested.is_none() {
            return self.existing(drive);
        }
        let storage = match drive.file.split_once(':') {
            Some((storage, _)) if !storage.is_empty() => Some(storage.to_owned()),
            _ => self.default_storage.clone(),
        };
        let storage = storage
            .ok_or_else(|| Failure::die("no storage ID specified (and no default storage)"))?;
        let storage = self.storage(&storage)?;
        let format = drive.options.remove("format");
        if is_cloud_init {
            drive.file = self.name(storage, "cloudinit", format.as_deref().unwrap_or("qcow2"));
            drive.options.insert("media".to_owned(), "cdrom".to_owned());
            drive.options.insert("size".to_owned(), "4M".to_owned());
        } else {
            let mut bytes = requested.unwrap_or(GIB);
            if let Some(source) = drive.options.remove("import-from") {
                bytes = self.imported(&source);
            }
            let fixed = match key {
                "efidisk0" if drive.options.get("efitype").is_some_and(|kind| kind == "4m") => "4M",
                "efidisk0" => "528K",
                "tpmstate0" => "4M",
                _ => "",
            };
            let size = if fixed.is_empty() { disk::size_text(bytes) } else { fixed.to_owned() };
            drive.file = self.next(storage, format.as_deref().unwrap_or("raw"));
            drive.options.insert("size".to_owned(), size);
        }
        self.taken.insert(drive.file.clone());
        Ok(drive.print())
    }

    /// A volume that is named: those of guests must exist, images are taken at their word.
    fn existing(&self, mut drive: Drive) -> Result<String, Failure> {
        let Some((storage, name)) = drive.volume() else { return Ok(drive.print()) };
        if !self.state.storages.contains_key(storage) {
            return Err(Failure::die(format!("storage '{storage}' does not exist")));
        }
        let is_guest_volume = owner(name).is_some();
        // A volume that was allocated by hand; those of guests are searched for, which takes longer.
        let allocated = self.state.volumes.named(storage, name);
        let allocated = allocated.map(|volume| disk::size_text(volume.size));
        let known = allocated.or_else(|| self.size_of(&drive.file));
        if is_guest_volume && known.is_none() && !self.taken.contains(&drive.file) {
            return Err(Failure::die(format!("volume {} does not exist", drive.file)));
        }
        if let Some(size) = known {
            drive.options.entry("size".to_owned()).or_insert(size);
        }
        Ok(drive.print())
    }

    fn storage(&self, id: &str) -> Result<&'s Storage, Failure> {
        let found = self.state.storages.get(id);
        let storage =
            found.ok_or_else(|| Failure::die(format!("storage '{id}' does not exist")))?;
        let (content, noun) = match self.kind {
            GuestKind::Qemu => ("images", "vm images"),
            GuestKind::Lxc => ("rootdir", "container directories"),
        };
        if storage.content.split(',').any(|one| one == content) {
            return Ok(storage);
        }
        Err(Failure::parameter("storage", &format!("storage '{id}' does not support {noun}")))
    }

    /// The first free `vm-<vmid>-disk-<n>`.
    pub(super) fn next(&self, storage: &Storage, format: &str) -> String {
        let names = (0..1000).map(|at| self.name(storage, &format!("disk-{at}"), format));
        let mut free = names.filter(|name| !self.taken.contains(name));
        free.next().unwrap_or_default()
    }

    fn name(&self, storage: &Storage, suffix: &str, format: &str) -> String {
        let (id, vmid) = (&storage.id, self.vmid);
        if FILE_BASED.contains(&storage.kind.as_str()) {
            return format!("{id}:{vmid}/vm-{vmid}-{suffix}.{format}");
        }
        let word = match (self.kind, storage.kind.as_str()) {
            (GuestKind::Lxc, "zfspool") => "subvol",
            _ => "vm",
        };
        format!("{id}:{word}-{vmid}-{suffix}")
    }

    fn size_of(&self, file: &str) -> Option<String> {
        let drives = self.state.guests.values().flat_map(|guest| disk::volumes(guest.config()));
        let mut sizes = drives.filter(|(_, drive)| drive.file == file);
        sizes.find_map(|(_, drive)| drive.options.get("size").cloned())
    }

    fn imported(&self, source: &str) -> u64 {
        self.size_of(source).and_then(|size| disk::bytes(&size)).unwrap_or(8 * GIB)
    }

    /// A card gets a hardware address unless it has one.
    pub(super) fn network(&self, key: &str, text: &str) -> String {
        let address = hardware_address(self.vmid, key);
        let mut parts: Vec<String> = text.split(',').map(str::to_owned).collect();
        if self.kind == GuestKind::Lxc {
            for (name, value) in [("hwaddr", address.as_str()), ("type", "veth")] {
                if !parts.iter().any(|part| part.starts_with(&format!("{name}="))) {
                    parts.push(format!("{name}={value}"));
                }
            }
            parts.sort_by_key(|part| (!part.starts_with("name="), part.clone()));
            return parts.join(",");
        }
        let value = |name: &str| {
            parts.iter().find_map(|part| part.strip_prefix(&format!("{name}=")).map(str::to_owned))
        };
        let first = parts.first().cloned().unwrap_or_default();
        let model = match (value("model"), first.split_once('=')) {
            (Some(model), _) => format!("{model}={}", value("macaddr").unwrap_or(address)),
            (None, Some(_)) => first.clone(),
            (None, None) => format!("{first}={}", value("macaddr").unwrap_or(address)),
        };
        let is_model = |part: &String| {
            *part == first || part.starts_with("model=") || part.starts_with("macaddr=")
        };
        let mut rest: Vec<String> = parts.iter().filter(|part| !is_model(part)).cloned().collect();
        rest.sort();
        rest.insert(0, model);
        rest.join(",")
    }
}

/// Bytes of `storage:SIZE` and `SIZE` in GiB; `None` names a volume.
fn requested(file: &str) -> Option<u64> {
    let size = file.rsplit_once(':').map_or(file, |(_, size)| size);
    let is_number = size.starts_with(|c: char| c.is_ascii_digit())
        && size.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { disk::bytes(&format!("{size}G")) } else { None }
}

/// The guest in `vm-100-disk-0`, `100/vm-100-disk-0.raw` and the like.
pub(crate) fn owner(name: &str) -> Option<u32> {
    let name = name.rsplit('/').next()?;
    let mut parts = name.split('-');
    let word = parts.next()?;
    let vmid = parts.next()?.parse().ok()?;
    matches!(word, "vm" | "base" | "subvol" | "basevol").then_some(vmid)
}

/// Volumes of the configuration and of all snapshots.
fn all_volumes(guest: &Guest) -> BTreeSet<String> {
    let snapshots = guest.snapshots.values().map(|snapshot| &snapshot.config);
    let configs = snapshots.chain([guest.config(), &guest.pending]);
    configs.flat_map(disk::volumes).map(|(_, drive)| drive.file).collect()
}

/// An address in Proxmox' own prefix, the rest from the guest and the card.
fn hardware_address(vmid: u32, key: &str) -> String {
    let digest = sha1_hex(format!("{vmid}/{key}").as_bytes()).to_uppercase();
    let part = |at: usize| digest.get(at..at + 2).unwrap_or("00").to_owned();
    format!("BC:24:11:{}:{}:{}", part(0), part(2), part(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_for_new_volumes_are_numbers() {
        assert_eq!(requested("local-lvm:32"), Some(32 * GIB));
        assert_eq!(requested("8"), Some(8 * GIB));
        assert_eq!(requested("local-lvm:0.5"), Some(GIB / 2));
        assert_eq!(requested("local-lvm:vm-100-disk-0"), None);
        assert_eq!(requested("local:iso/1.iso"), None);
    }

    #[test]
    fn owners_stand_in_names() {
        assert_eq!(owner("vm-100-disk-0"), Some(100));
        assert_eq!(owner("100/base-100-disk-0.qcow2/101/vm-101-disk-0.qcow2"), Some(101));
        assert_eq!(owner("iso/vm.iso"), None);
    }
}
