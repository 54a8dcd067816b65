//! A virtual machine or container: its configuration, snapshots, and whether it runs.

mod row;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::disk;
use crate::seed::{GuestKind, GuestSeed};

pub(crate) use row::GuestRow;

const MIB: u64 = 1 << 20;

/// Keys and values as in a guest's configuration file: integers as numbers, the rest as text.
pub(crate) type Options = BTreeMap<String, Value>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Guest {
    pub(crate) vmid: u32,
    #[serde(with = "kind")]
    pub(crate) kind: GuestKind,
    pub(crate) node: String,
    /// `qemu/100`, at hand because lists of resources show it.
    #[serde(skip)]
    id: String,
    config: Options,
    /// Changes that wait for the next start of a running guest (`[PENDING]`).
    pub(crate) pending: Options,
    /// Options that the next start removes; true when forced.
    pub(crate) pending_delete: BTreeSet<String>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    /// Paused by `suspend`; still running.
    pub(crate) paused: bool,
    /// Seconds since 1970.
    running_since: Option<u64>,
    /// At hand because every list of guests shows it, and every figure of a node adds memory up.
    #[serde(skip)]
    size: Size,
}

/// What a configuration says of the size of a guest.
#[derive(Debug, Clone, Default)]
struct Size {
    /// Bytes of the boot disk.
    disk: u64,
    /// Bytes.
    memory: u64,
    processors: u64,
    template: bool,
}

/// A section of the configuration file: the options of that moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) config: Options,
    pub(crate) description: Option<String>,
    pub(crate) parent: Option<String>,
    /// Seconds since 1970.
    pub(crate) taken: u64,
    /// With the memory of a running machine.
    pub(crate) vmstate: bool,
}

impl Guest {
    pub(crate) fn new(seed: GuestSeed, started: Duration) -> Self {
        let GuestSeed { vmid, kind, node, name, cores, memory, disk, running, tags } = seed;
        let mut config = BTreeMap::from([
            ("cores".to_owned(), json!(cores)),
            ("memory".to_owned(), memory_value(kind, memory)),
            (name_key(kind).to_owned(), json!(name)),
        ]);
        let entries: &[(&str, String)] = match kind {
            GuestKind::Qemu => &[
                ("boot", "order=scsi0".to_owned()),
                ("net0", format!("virtio={},bridge=vmbr0", mac(vmid))),
                ("ostype", "l26".to_owned()),
                ("scsi0", format!("local-lvm:vm-{vmid}-disk-0,size={disk}G")),
                ("scsihw", "virtio-scsi-single".to_owned()),
            ],
            GuestKind::Lxc => &[
                ("arch", "amd64".to_owned()),
                ("net0", format!("name=eth0,bridge=vmbr0,hwaddr={},ip=dhcp,type=veth", mac(vmid))),
                ("ostype", "debian".to_owned()),
                ("rootfs", format!("local-lvm:vm-{vmid}-disk-0,size={disk}G")),
            ],
        };
        config.extend(entries.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        if running {
            config.insert("onboot".to_owned(), json!(1));
        }
        if !tags.is_empty() {
            config.insert("tags".to_owned(), json!(tags));
        }
        let mut guest = Self::with_config(vmid, kind, node, config);
        guest.running_since = running.then(|| started.as_secs().saturating_sub(3600));
        guest
    }

    /// A stopped guest.
    pub(crate) fn with_config(vmid: u32, kind: GuestKind, node: String, config: Options) -> Self {
        let mut guest = Self {
            vmid,
            kind,
            node,
            id: String::new(),
            config,
            pending: Options::new(),
            pending_delete: BTreeSet::new(),
            snapshots: BTreeMap::new(),
            paused: false,
            running_since: None,
            size: Size::default(),
        };
        guest.derive();
        guest
    }

    /// A guest of a state file, which keeps nothing that can be derived.
    pub(super) fn restored(mut self) -> Self {
        self.derive();
        self
    }

    fn derive(&mut self) {
        self.id = format!("{}/{}", kind_name(self.kind), self.vmid);
        self.edit(|_| ());
    }

    pub(crate) fn config(&self) -> &Options {
        &self.config
    }

    /// Changes the configuration and what is derived from it.
    pub(crate) fn edit<T>(&mut self, change: impl FnOnce(&mut Options) -> T) -> T {
        let value = change(&mut self.config);
        self.size = Size {
            disk: disk::boot_disk(&self.config).map_or(0, |drive| drive.bytes()),
            memory: memory(&self.config),
            processors: processors(self.kind, &self.config),
            template: self.flag("template"),
        };
        value
    }

    /// A text option.
    pub(crate) fn option(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.config.get(key).is_some_and(|value| *value == json!(1) || *value == json!("1"))
    }

    pub(crate) fn is_template(&self) -> bool {
        self.size.template
    }

    /// An unnamed guest is called by its id in lists.
    pub(crate) fn name(&self) -> Cow<'_, str> {
        let fallback = match self.kind {
            GuestKind::Qemu => "VM ",
            GuestKind::Lxc => "CT",
        };
        self.option(name_key(self.kind))
            .map_or_else(|| format!("{fallback}{}", self.vmid).into(), Cow::Borrowed)
    }

    /// `qemu` or `lxc`, as in paths and in `cluster/resources`.
    pub(crate) fn kind_name(&self) -> &'static str {
        kind_name(self.kind)
    }

    /// `qemu/100`, as in `cluster/resources`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// `VM` or `CT`, as in messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            GuestKind::Qemu => "VM",
            GuestKind::Lxc => "CT",
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running_since.is_some()
    }

    /// Starting applies what waited for it.
    pub(crate) fn set_running(&mut self, running: bool, at: Duration) {
        if !(running && self.is_running()) {
            self.apply_pending();
        }
        self.paused = false;
        self.running_since = running.then(|| self.running_since.unwrap_or(at.as_secs()));
    }

    /// Makes the pending changes current.
    pub(crate) fn apply_pending(&mut self) {
        let deleted = std::mem::take(&mut self.pending_delete);
        let mut pending = std::mem::take(&mut self.pending);
        if deleted.is_empty() && pending.is_empty() {
            return;
        }
        self.edit(|config| {
            for key in deleted {
                disk::forget(config, &key);
            }
            for (key, value) in &pending {
                disk::replaced(config, key, value);
            }
            config.append(&mut pending);
        });
    }

    pub(crate) fn lock(&self) -> Option<&str> {
        self.option("lock")
    }

    /// Sets or, with `None`, removes the lock.
    pub(crate) fn set_lock(&mut self, lock: Option<&str>) {
        match lock {
            Some(lock) => self.config.insert("lock".to_owned(), json!(lock)),
            None => self.config.remove("lock"),
        };
    }

    /// Bytes of memory a running guest holds.
    pub(crate) fn memory_used(&self) -> u64 {
        if self.is_running() { self.size.memory / 10 * (3 + u64::from(self.vmid) % 5) } else { 0 }
    }

    /// Digest of the configuration: SHA-1 of the file on a genuine node, of the same facts here.
    pub(crate) fn digest(&self) -> String {
        let mut text = lines(&self.config);
        if !self.pending.is_empty() || !self.pending_delete.is_empty() {
            let deleted: Vec<&str> = self.pending_delete.iter().map(String::as_str).collect();
            text +=
                &format!("\n[PENDING]\n{}delete: {}\n", lines(&self.pending), deleted.join(","));
        }
        for (name, snapshot) in &self.snapshots {
            text += &format!(
                "\n[{name}]\n{:?}{:?}{}\n{}",
                snapshot.description,
                snapshot.parent,
                snapshot.taken,
                lines(&snapshot.config)
            );
        }
        super::access::sha1_hex(text.as_bytes())
    }

    pub(crate) fn processors(&self) -> u64 {
        self.size.processors
    }
}

fn processors(kind: GuestKind, config: &Options) -> u64 {
    let number = |key: &str| config.get(key).and_then(Value::as_u64);
    match kind {
        GuestKind::Qemu => number("vcpus")
            .unwrap_or_else(|| number("cores").unwrap_or(1) * number("sockets").unwrap_or(1)),
        GuestKind::Lxc => number("cores").unwrap_or(1),
    }
}

fn kind_name(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "qemu",
        GuestKind::Lxc => "lxc",
    }
}

/// `qemu` or `lxc` in the state file.
mod kind {
    use serde::{Deserializer, Serializer};

    use super::GuestKind;
    use crate::state::kept_secret::word_of;

    pub(super) fn serialize<S: Serializer>(kind: &GuestKind, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match kind {
            GuestKind::Qemu => "qemu",
            GuestKind::Lxc => "lxc",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<GuestKind, D::Error> {
        let word = word_of(from, &["qemu", "lxc"])?;
        Ok(if word == "qemu" { GuestKind::Qemu } else { GuestKind::Lxc })
    }
}

/// Bytes; a property string in virtual machines since 8.1.
fn memory(config: &Options) -> u64 {
    let mib = match config.get("memory") {
        Some(Value::String(text)) => text.trim_start_matches("current=").parse().unwrap_or(512),
        Some(number) => number.as_u64().unwrap_or(512),
        None => 512,
    };
    mib * MIB
}

/// The option that holds the name.
pub(crate) fn name_key(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Qemu => "name",
        GuestKind::Lxc => "hostname",
    }
}

/// Memory is a property string in virtual machines since 8.1 and a number in containers.
fn memory_value(kind: GuestKind, mib: u64) -> Value {
    match kind {
        GuestKind::Qemu => json!(mib.to_string()),
        GuestKind::Lxc => json!(mib),
    }
}

/// An address in Proxmox' own prefix (BC:24:11), the rest from the guest's id.
fn mac(vmid: u32) -> String {
    let [_, a, b, c] = vmid.to_be_bytes();
    format!("BC:24:11:{a:02X}:{b:02X}:{c:02X}")
}

fn lines(options: &Options) -> String {
    options.iter().map(|(key, value)| format!("{key}: {}\n", shown(value))).collect()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
