//! The seeds that come with the mock.

use super::{GuestKind, GuestSeed, Hardware, NodeSeed, Seed, StorageSeed, Version};

const GIB: u64 = 1 << 30;

type Row = (u32, GuestKind, usize, &'static str, u32, u64, u64, bool, &'static str);

/// Guests of the `cluster` seed: id, kind, node, name, cores, memory MiB, disk GiB, running, tags.
#[rustfmt::skip]
const CLUSTER: [Row; 12] = [
    (100, GuestKind::Qemu, 0, "gateway",    2,  2048,  16, true,  "infra"),
    (101, GuestKind::Qemu, 0, "mail",       4,  8192,  64, true,  "prod"),
    (102, GuestKind::Qemu, 1, "db1",        8, 32768, 256, true,  "db;prod"),
    (103, GuestKind::Qemu, 2, "db2",        8, 32768, 256, true,  "db;prod"),
    (104, GuestKind::Qemu, 1, "build",      8, 16384, 128, false, "ci"),
    (105, GuestKind::Qemu, 2, "windows",    4,  8192,  96, false, "test"),
    (200, GuestKind::Lxc,  0, "dns1",       1,   512,   4, true,  "infra"),
    (201, GuestKind::Lxc,  1, "dns2",       1,   512,   4, true,  "infra"),
    (202, GuestKind::Lxc,  0, "web1",       2,  2048,  16, true,  "prod;web"),
    (203, GuestKind::Lxc,  1, "web2",       2,  2048,  16, true,  "prod;web"),
    (204, GuestKind::Lxc,  2, "monitoring", 2,  4096,  32, true,  "infra"),
    (205, GuestKind::Lxc,  2, "scratch",    1,  1024,   8, false, "test"),
];

impl Version {
    /// The release whose schema is shipped.
    fn v9() -> Self {
        Self::of("9.2.3", "9.2")
    }

    /// The older one. A seed that is of no 8.x is taken for it when that schema is asked for.
    pub(crate) fn v8() -> Self {
        Self::of("8.4.14", "8.4")
    }

    fn of(version: &str, release: &str) -> Self {
        let (version, release) = (version.to_owned(), release.to_owned());
        Self { version, release, repoid: "0000000000000000".to_owned() }
    }
}

impl Seed {
    /// One node, the `local` storage, `root@pam`, nothing else.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            version: Version::v9(),
            cluster: None,
            nodes: vec![node(0, 8)],
            guests: Vec::new(),
            storages: vec![storage(
                "local",
                "dir",
                "iso,vztmpl,backup",
                Some("/var/lib/vz"),
                false,
            )],
            user_cfg: "user:root@pam:1:0:::::\n".to_owned(),
            passwords: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// One node with the guests that stand on the first node of [`Seed::cluster`].
    #[must_use]
    pub fn small() -> Self {
        let cluster = Self::cluster();
        let first = cluster.nodes.into_iter().take(1).collect::<Vec<_>>();
        let guests = cluster.guests.into_iter().filter(|guest| guest.node == "pve1").collect();
        Self { cluster: None, nodes: first, guests, ..Self::empty_with_lvm() }
    }

    /// Three nodes, twelve guests, a shared storage, a pool and an auditor.
    #[must_use]
    pub fn cluster() -> Self {
        let guest = |row: &Row| GuestSeed {
            vmid: row.0,
            kind: row.1,
            node: format!("pve{}", row.2 + 1),
            name: row.3.to_owned(),
            cores: row.4,
            memory: row.5,
            disk: row.6,
            running: row.7,
            tags: row.8.to_owned(),
        };
        let mut seed = Self::empty_with_lvm();
        seed.cluster = Some("demo".to_owned());
        seed.nodes = vec![node(0, 16), node(1, 32), node(2, 32)];
        seed.guests = CLUSTER.iter().map(guest).collect();
        seed.storages.push(storage(
            "shared",
            "nfs",
            "images,iso,backup",
            Some("/mnt/pve/shared"),
            true,
        ));
        seed.user_cfg += "user:auditor@pve:1:0:::::\n\n\
            pool:production:production guests:101,102,103,202,203::\n\n\
            acl:1:/:auditor@pve:PVEAuditor:\n";
        seed
    }

    fn empty_with_lvm() -> Self {
        let mut seed = Self::empty();
        seed.storages.push(storage("local-lvm", "lvmthin", "images,rootdir", None, false));
        seed
    }

    /// Adds generated guests until there are `count`, spread over the nodes; every third is a
    /// container and every fifth is stopped.
    #[must_use]
    pub fn with_guests(mut self, count: usize) -> Self {
        let mut vmid =
            self.guests.iter().map(|guest| guest.vmid).max().map_or(100, |last| last + 1);
        let nodes: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let mut spread = nodes.iter().cycle();
        while self.guests.len() < count {
            let Some(node) = spread.next() else { break };
            let kind = if vmid % 3 == 0 { GuestKind::Lxc } else { GuestKind::Qemu };
            self.guests.push(GuestSeed {
                vmid,
                kind,
                node: node.clone(),
                name: format!("guest{vmid}"),
                cores: 1 + vmid % 4,
                memory: 1024 * u64::from(1 + vmid % 8),
                disk: 8 + u64::from(vmid % 32),
                running: vmid % 5 != 0,
                tags: String::new(),
            });
            vmid += 1;
        }
        self
    }
}

fn node(index: u32, cpus: u32) -> NodeSeed {
    NodeSeed {
        name: format!("pve{}", index + 1),
        // Documentation addresses (RFC 5737): nothing answers there.
        ip: format!("192.0.2.{}", 11 + index),
        ssl_fingerprint: None,
        hardware: Some(Hardware { cpus, memory: u64::from(cpus) * 4 * GIB, disk: 100 * GIB }),
    }
}

fn storage(id: &str, kind: &str, content: &str, path: Option<&str>, shared: bool) -> StorageSeed {
    StorageSeed {
        id: id.to_owned(),
        kind: kind.to_owned(),
        content: content.to_owned(),
        path: path.map(str::to_owned),
        shared,
        size: Some(1024 * GIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_nodes_exist() {
        for seed in
            [Seed::empty(), Seed::small(), Seed::cluster(), Seed::cluster().with_guests(500)]
        {
            let ids: BTreeSet<u32> = seed.guests.iter().map(|guest| guest.vmid).collect();
            assert_eq!(ids.len(), seed.guests.len());
            let nodes: BTreeSet<&str> = seed.nodes.iter().map(|node| node.name.as_str()).collect();
            assert!(seed.guests.iter().all(|guest| nodes.contains(guest.node.as_str())));
        }
    }

    #[test]
    fn guests_are_filled_up_to_the_count() {
        assert_eq!(Seed::cluster().with_guests(500).guests.len(), 500);
        assert_eq!(Seed::cluster().with_guests(3).guests.len(), 12);
    }
}
