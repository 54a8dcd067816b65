//! What PVE calls things of which the mock knows only the schema: texts about ids, and tasks.

/// Texts about ids by the end of the collection's path: taken, unknown. `{}` is the id.
#[rustfmt::skip]
const TEXTS: [(&str, &str, &str); 8] = [
    ("/ha/resources", "resource ID '{}' already defined", "no such resource '{}'"),
    ("/ha/groups", "ha group ID '{}' already defined", "no such ha group '{}'"),
    ("/cluster/replication", "replication job '{}' already exists", "no such replication job '{}'"),
    ("/metrics/server", "Metric server '{}' already exists", "status server entry '{}' does not exist"),
    ("/acme/plugins", "ACME plugin ID '{}' already exists", "ACME plugin '{}' not defined"),
    ("/mapping/pci", "pci ID '{}' already defined", "pci mapping '{}' not found"),
    ("/mapping/usb", "usb ID '{}' already defined", "usb mapping '{}' not found"),
    ("/custom-cpu-models", "custom CPU model '{}' already exists", "Custom cputype '{}' not found"),
];

/// Actions that leave a task: end of the path, the task's name.
#[rustfmt::skip]
const TASKS: [(&str, &str); 17] = [
    ("/apt/update", "aptupdate"),
    ("/acme/account", "acmeregister"),
    ("/certificates/acme/certificate", "acmenewcert"), ("/domains/{realm}/sync", "auth-realm-sync"),
    ("/disks/lvm", "lvmcreate"), ("/disks/lvmthin", "lvmthincreate"),
    ("/disks/directory", "dircreate"), ("/disks/zfs", "zfscreate"),
    ("/disks/initgpt", "diskinit"), ("/disks/wipedisk", "wipedisk"), ("/ceph/osd", "cephcreateosd"),
    ("/ceph/pool", "cephcreatepool"), ("/ceph/start", "srvstart"), ("/ceph/stop", "srvstop"),
    ("/ceph/restart", "srvrestart"), ("/remote_migrate", "qmigrate"),
    ("/cluster/config/join", "clusterjoin"),
];

/// The name of the task that a call on this path leaves.
pub(super) fn task_name(path: &str) -> Option<&'static str> {
    TASKS.iter().find(|(end, _)| path.ends_with(end)).map(|(_, name)| *name)
}

/// Why an id can not be used: it is taken, or unknown.
pub(super) fn text(collection: &str, id: &str, taken: bool) -> String {
    let noun = collection.rsplit('/').next().unwrap_or_default();
    match TEXTS.iter().find(|(end, ..)| collection.ends_with(end)) {
        Some((_, known, _)) if taken => known.replace("{}", id),
        Some((_, _, unknown)) => unknown.replace("{}", id),
        None if taken => format!("{noun} '{id}' already exists"),
        None => format!("{noun} '{id}' does not exist"),
    }
}
