//! A virtual machine or container: its configuration and whether it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::seed::{GuestKind, GuestSeed};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) vmid: u32,
    pub(crate) kind: GuestKind,
    pub(crate) node: String,
    /// Keys and values as in the guest's configuration file.
    pub(crate) config: BTreeMap<String, Value>,
    /// Seconds since 1970.
    running_since: Option<u64>,
    disk_gib: u64,
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
        let running_since = running.then(|| started.as_secs().saturating_sub(3600));
        Self { vmid, kind, node, config, running_since, disk_gib: disk }
    }

    pub(crate) fn name(&self) -> &str {
        self.config.get(name_key(self.kind)).and_then(Value::as_str).unwrap_or_default()
    }

    /// `qemu` or `lxc`, as in paths and in `cluster/resources`.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            GuestKind::Qemu => "qemu",
            GuestKind::Lxc => "lxc",
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running_since.is_some()
    }

    pub(crate) fn set_running(&mut self, running: bool, at: Duration) {
        self.running_since = running.then(|| self.running_since.unwrap_or(at.as_secs()));
    }

    /// Bytes of memory a running guest holds.
    pub(crate) fn memory_used(&self) -> u64 {
        if self.is_running() { self.memory() / 10 * (3 + u64::from(self.vmid) % 5) } else { 0 }
    }

    /// Digest of the configuration: SHA-1 of the file on a genuine node, of the same facts here.
    pub(crate) fn digest(&self) -> String {
        let text: String =
            self.config.iter().map(|(key, value)| format!("{key}: {}\n", shown(value))).collect();
        super::access::sha1_hex(text.as_bytes())
    }

    /// The members that `qemu`, `lxc`, `status/current` and `cluster/resources` share.
    pub(crate) fn usage(&self, now: Duration) -> Value {
        let cores = self.config.get("cores").cloned().unwrap_or(json!(1));
        let running = self.is_running();
        let uptime = self.running_since.map_or(0, |since| now.as_secs().saturating_sub(since));
        let traffic = |rate: u64| uptime * rate * (1 + u64::from(self.vmid) % 7);
        json!({
            "status": if running { "running" } else { "stopped" },
            "name": self.name(),
            "cpu": if running { 0.01 + 0.002 * f64::from(self.vmid % 20) } else { 0.0 },
            "mem": self.memory_used(),
            "maxmem": self.memory(),
            "disk": if self.kind == GuestKind::Lxc && running { self.disk_gib * GIB / 4 } else { 0 },
            "maxdisk": self.disk_gib * GIB,
            "netin": traffic(900),
            "netout": traffic(400),
            "diskread": traffic(2000),
            "diskwrite": traffic(1000),
            "uptime": uptime,
            "cores": cores,
        })
    }

    fn memory(&self) -> u64 {
        let mib = match self.config.get("memory") {
            Some(Value::String(text)) => text.parse().unwrap_or(512),
            Some(number) => number.as_u64().unwrap_or(512),
            None => 512,
        };
        mib * MIB
    }
}

fn name_key(kind: GuestKind) -> &'static str {
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

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
