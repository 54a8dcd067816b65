//! Volumes of storages that belong to no guest's configuration: uploaded images and templates,
//! backups, and disks that were allocated by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::Guest;
use super::kept_secret::Word;
use crate::limits::VOLUMES;
use crate::object::set_some;

/// Facts of an uploaded file between the end of its form and its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spooled {
    pub(crate) size: u64,
    /// In hex, by the algorithm that the form named.
    pub(crate) digest: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) kind: VolumeKind,
    /// Bytes.
    pub(crate) size: u64,
    /// When the task that makes it ends; it is not there before.
    pub(crate) since: Duration,
    pub(crate) notes: Option<String>,
    pub(crate) protected: bool,
    /// The guest as it was, in an archive that a backup left.
    pub(crate) archived: Option<Box<Guest>>,
}

/// What the name of a volume tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeKind {
    /// One of [`CONTENT`].
    #[serde(deserialize_with = "content")]
    pub(crate) content: Word,
    pub(crate) format: String,
    pub(crate) vmid: Option<u32>,
}

/// What a volume can be.
const CONTENT: &[&str] = &["iso", "vztmpl", "backup", "images", "rootdir", "snippets", "import"];

fn content<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    super::kept_secret::word_of(from, CONTENT)
}

/// Where a volume is: storage, node (empty when shared), name.
pub(crate) type VolumeKey = (String, String, String);

/// By storage and node (empty when shared), then by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Volumes {
    by_place: BTreeMap<(String, String), BTreeMap<String, Volume>>,
    /// Uploads whose call is under way, by the name of their temporary file.
    pub(crate) spool: BTreeMap<String, Spooled>,
    /// What may have changed; `None` while nobody keeps the changes.
    touched: Option<BTreeSet<VolumeKey>>,
}

impl Volumes {
    pub(crate) fn list(&self, storage: &str, node: &str) -> impl Iterator<Item = (&str, &Volume)> {
        let place = (storage.to_owned(), node.to_owned());
        let here = self.by_place.get(&place).into_iter().flatten();
        here.map(|(name, volume)| (name.as_str(), volume))
    }

    /// Notes changes from now on.
    pub(crate) fn track(&mut self) {
        self.touched.get_or_insert_default();
    }

    /// What may have changed since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<VolumeKey> {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn at(&self, (storage, node, name): &VolumeKey) -> Option<&Volume> {
        self.by_place.get(&(storage.clone(), node.clone()))?.get(name)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = VolumeKey> {
        self.by_place.iter().flat_map(|((storage, node), here)| {
            here.keys().map(|name| (storage.clone(), node.clone(), name.clone()))
        })
    }

    fn touch(&mut self, storage: &str, node: &str, name: &str) {
        if let Some(touched) = &mut self.touched {
            touched.insert((storage.to_owned(), node.to_owned(), name.to_owned()));
        }
    }

    pub(crate) fn find(&mut self, storage: &str, node: &str, name: &str) -> Option<&mut Volume> {
        self.touch(storage, node, name);
        self.by_place.get_mut(&(storage.to_owned(), node.to_owned()))?.get_mut(name)
    }

    /// A volume of that name, on whatever node.
    pub(crate) fn named(&self, storage: &str, name: &str) -> Option<&Volume> {
        let mut places = self.by_place.iter().filter(|((id, _), _)| id == storage);
        places.find_map(|(_, volumes)| volumes.get(name))
    }

    /// Adds or overwrites; false when the storage is full.
    pub(crate) fn insert(
        &mut self,
        storage: &str,
        node: &str,
        name: String,
        volume: Volume,
    ) -> bool {
        self.touch(storage, node, &name);
        let here = self.by_place.entry((storage.to_owned(), node.to_owned())).or_default();
        let fits = here.len() < VOLUMES || here.contains_key(&name);
        if fits {
            here.insert(name, volume);
        }
        fits
    }

    pub(crate) fn remove(&mut self, storage: &str, node: &str, name: &str) -> Option<Volume> {
        self.touch(storage, node, name);
        self.by_place.get_mut(&(storage.to_owned(), node.to_owned()))?.remove(name)
    }
}

impl Volume {
    pub(crate) fn new(kind: VolumeKind, size: u64, since: Duration) -> Self {
        Self { kind, size, since, notes: None, protected: false, archived: None }
    }

    /// The entry in a storage's `content`.
    pub(crate) fn entry(&self, volid: &str) -> Value {
        let mut entry = json!({
            "volid": volid,
            "content": self.kind.content,
            "format": self.kind.format,
            "size": self.size,
            "ctime": self.since.as_secs(),
        });
        set_some(&mut entry, "vmid", self.kind.vmid);
        if self.kind.content == "backup" {
            let subtype = if volid.contains("/vzdump-lxc-") { "lxc" } else { "qemu" };
            set_some(&mut entry, "subtype", Some(subtype));
            set_some(
                &mut entry,
                "notes",
                self.notes.as_deref().and_then(|text| text.lines().next()),
            );
            set_some(&mut entry, "protected", self.protected.then_some(1));
        }
        entry
    }
}

impl VolumeKind {
    /// Reads the name of a volume in a directory (`PVE::Storage::Plugin::parse_volname`).
    pub(crate) fn in_directory(name: &str) -> Option<Self> {
        let (directory, file) = name.split_once('/')?;
        if directory.bytes().all(|byte| byte.is_ascii_digit()) && !directory.is_empty() {
            let disk = file.rsplit('/').next()?;
            let extension = disk.rsplit_once('.')?.1;
            let known = ["raw", "qcow2", "vmdk", "subvol"].contains(&extension);
            let vmid = directory.parse().ok()?;
            let content = if extension == "subvol" { "rootdir" } else { "images" };
            return known.then(|| Self::new(content, extension, Some(vmid)));
        }
        if file.is_empty() || file.contains('/') {
            return None;
        }
        let lower = file.to_ascii_lowercase();
        let ends = |endings: &'static [&str]| {
            endings
                .iter()
                .copied()
                .find(|ending| lower.len() > ending.len() && lower.ends_with(ending))
        };
        match directory {
            "iso" => ends(ISO).map(|_| Self::new("iso", "iso", None)),
            "vztmpl" => {
                let compression = ends(TEMPLATE)?.rsplit('.').next()?;
                Some(Self::new("vztmpl", &format!("t{compression}"), None))
            }
            "import" => {
                ends(IMPORT).map(|ending| Self::new("import", ending.trim_start_matches('.'), None))
            }
            "snippets" => Some(Self::new("snippets", "snippet", None)),
            "backup" => {
                let format = ends(BACKUP)?.trim_start_matches('.');
                let owner = file.strip_prefix("vzdump-").and_then(|rest| rest.split('-').nth(1));
                Some(Self::new("backup", format, owner.and_then(|vmid| vmid.parse().ok())))
            }
            _ => None,
        }
    }

    /// Reads `vm-100-disk-0`, the form of names in block storages.
    pub(crate) fn in_blocks(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let known = matches!(parts.next()?, "vm" | "base" | "subvol" | "basevol");
        let vmid = parts.next()?.parse().ok()?;
        (known && parts.next().is_some_and(|rest| !rest.is_empty()))
            .then(|| Self::new("images", "raw", Some(vmid)))
    }

    fn new(content: &'static str, format: &str, vmid: Option<u32>) -> Self {
        Self { content, format: format.to_owned(), vmid }
    }
}

const ISO: &[&str] = &[".iso", ".img"];
const TEMPLATE: &[&str] = &[".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"];
const IMPORT: &[&str] = &[".ova", ".ovf", ".qcow2", ".raw", ".vmdk"];
#[rustfmt::skip]
const BACKUP: &[&str] = &[
    ".vma", ".vma.gz", ".vma.lzo", ".vma.zst", ".tar", ".tgz", ".tar.gz", ".tar.lzo", ".tar.zst",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_tell_what_a_volume_is() {
        let facts = |name| {
            VolumeKind::in_directory(name).map(|kind| (kind.content, kind.format, kind.vmid))
        };
        let is = |content, format: &str, vmid| Some((content, format.to_owned(), vmid));
        assert_eq!(facts("iso/Debian.ISO"), is("iso", "iso", None));
        assert_eq!(facts("vztmpl/a.tar.zst"), is("vztmpl", "tzst", None));
        assert_eq!(facts("import/a.ova"), is("import", "ova", None));
        assert_eq!(facts("100/vm-100-disk-0.qcow2"), is("images", "qcow2", Some(100)));
        let backup = "backup/vzdump-qemu-100-2026_11_20-22_48_36.vma.zst";
        assert_eq!(facts(backup), is("backup", "vma.zst", Some(100)));
        for wrong in
            ["iso/.iso", "iso/a/b.iso", "iso/a.sh", "x.iso", "100/vm.exe", "etc/passwd", ""]
        {
            assert_eq!(facts(wrong), None, "{wrong}");
        }
        assert_eq!(VolumeKind::in_blocks("vm-7-disk-0").and_then(|kind| kind.vmid), Some(7));
        assert_eq!(VolumeKind::in_blocks("iso/a.iso"), None);
    }

    #[test]
    fn a_storage_can_be_full_and_still_overwrite() {
        let volume = || {
            let kind = VolumeKind::in_directory("iso/a.iso").unwrap();
            Volume::new(kind, 1, Duration::ZERO)
        };
        let mut volumes = Volumes::default();
        for at in 0..VOLUMES {
            assert!(volumes.insert("s", "", format!("iso/{at}.iso"), volume()));
        }
        assert!(!volumes.insert("s", "", "iso/x.iso".to_owned(), volume()));
        assert!(volumes.insert("s", "", "iso/1.iso".to_owned(), volume()));
        assert!(volumes.insert("s", "n", "iso/x.iso".to_owned(), volume()));
    }

    proptest! {
        #[test]
        fn any_name_is_read_without_panic(name in "\\PC{0,40}") {
            VolumeKind::in_directory(&name);
            VolumeKind::in_blocks(&name);
        }
    }
}
