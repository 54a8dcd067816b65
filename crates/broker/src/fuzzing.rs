//! Readers of bytes from outside, for the fuzz targets; not part of the API.

use crate::{config, peer, remote, verbs};

/// Whether pulse-sensor-proxy's configuration is read, and what it allows is accepted.
pub fn pulse_yaml(text: &str) -> Option<bool> {
    let _ = config::parse_yaml(text);
    let import = config::import_pulse("config.yaml".as_ref(), text, []).ok()?;
    Some(import.settings.check("/nonexistent".as_ref()).is_ok())
}

/// The owner of the range that holds both ids.
pub fn subid(subuid: &str, subgid: &str, uid: u32, gid: u32) -> Option<String> {
    peer::SubIds::parse(subuid, subgid).find(uid, gid).map(|range| range.owner.to_string())
}

/// What a process's files say about it.
pub fn process_files(cgroup: &str, uid_map: &str, uid: u32) -> (bool, Option<u32>) {
    (peer::cgroup_place(cgroup).is_some(), peer::inner_id(uid_map, uid))
}

/// Whether a `known_hosts` file may hold a key for the node.
pub fn known_hosts(text: &[u8], alias: &str) -> bool {
    verbs::known_hosts(text, alias)
}

/// Whether `sensors -j` printed something of use.
pub fn sensors_j(text: &str) -> bool {
    verbs::sensors::read_output(text).is_some_and(|value| value.is_object())
}

/// Whether `smartctl -j` did.
pub fn smartctl(text: &str) -> bool {
    verbs::smartctl(text).is_some()
}

/// Log pages and sectors of disks.
pub fn disks(page: &[u8; 512]) {
    let _ = (verbs::nvme_health(page), verbs::smart_data(page));
}

/// A log page of a SCSI disk.
pub fn log_page(page: u8, bytes: &[u8]) -> usize {
    verbs::log_page(page, bytes).len()
}

/// Sensors of a baseboard controller that answers with these bytes.
pub fn sdr(answers: &[u8]) -> usize {
    verbs::sdr(answers)
}

/// Names of members by corosync.conf; each is a name a node can have.
pub fn corosync(text: &str) -> Option<Vec<String>> {
    Some(remote::corosync(text)?.into_iter().map(|member| member.name).collect())
}

/// The same by pmxcfs.
pub fn dot_members(text: &str) -> Option<Vec<String>> {
    Some(remote::dot_members(text)?.into_iter().map(|member| member.name).collect())
}

/// Whether a text can be the name or address of a node.
pub fn is_node(text: &str) -> bool {
    remote::is_node_name(text)
}

/// Packets of the kernel's filter.
pub fn netlink(packet: &[u8]) -> usize {
    verbs::netlink(packet)
}
