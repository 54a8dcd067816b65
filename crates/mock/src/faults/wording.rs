//! The words of the genuine server for what goes wrong.

use super::effect::Lock;

/// Status and reason: HTTP's own below 595. From 595 on those that pveproxy passes on when it
/// can not reach the node that a call is for; `AnyEvent::HTTP` makes them, the text is that of the
/// system or of the TLS library.
const REASONS: [(u16, &str); 11] = [
    (500, "Internal Server Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Gateway Timeout"),
    (507, "Insufficient Storage"),
    // Connecting: refused, or no route ("No route to host").
    (595, "Connection refused"),
    // TLS, sending, reading the head.
    (596, "Connection timed out"),
    // Reading the body.
    (597, "Broken pipe"),
    (598, "User aborted"),
    (599, "Too many redirections"),
];

/// The reason of a status when a rule names none.
pub(crate) fn reason(code: u16) -> Option<&'static str> {
    REASONS.iter().find(|(known, _)| *known == code).map(|(_, reason)| *reason)
}

/// What a call dies of. Sources: `PVE::Tools::lock_file`, `PVE::Cluster::cfs_lock`,
/// `PVE::AbstractConfig::check_lock` and the lock paths of qemu-server and pve-container.
pub(crate) fn lock_text(lock: &Lock, path: &str, vmid: &str) -> String {
    let is_container = path.contains("/lxc/");
    match lock {
        Lock::File if is_container => {
            format!("can't lock file '/run/lock/lxc/pve-config-{vmid}.lock' - got timeout")
        }
        Lock::File => {
            format!("can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout")
        }
        Lock::Cluster => {
            format!("error with cfs lock '{}': got lock request timeout", guarded(path))
        }
        Lock::Guest(word) => {
            format!("{} is locked ({word})", if is_container { "CT" } else { "VM" })
        }
    }
}

/// First part of a path and the file of the cluster file system that its calls lock.
const GUARDED: [(&str, &str); 8] = [
    ("/access", "file-user_cfg"),
    ("/pools", "file-user_cfg"),
    ("/storage", "file-storage_cfg"),
    ("/cluster/ha", "domain-ha"),
    ("/cluster/replication", "file-replication_cfg"),
    ("/cluster/backup", "file-jobs_cfg"),
    ("/cluster/sdn", "domain-sdn"),
    ("/cluster/firewall", "file-cluster_fw"),
];

fn guarded(path: &str) -> &'static str {
    GUARDED
        .iter()
        .find(|(start, _)| path.starts_with(start))
        .map_or("file-datacenter_cfg", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_name_what_they_guard() {
        let text = |lock, path| lock_text(&lock, path, "100");
        assert_eq!(
            text(Lock::File, "/nodes/{node}/qemu/{vmid}/config"),
            "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
        );
        assert_eq!(
            text(Lock::File, "/nodes/{node}/lxc/{vmid}/config"),
            "can't lock file '/run/lock/lxc/pve-config-100.lock' - got timeout"
        );
        assert_eq!(
            text(Lock::Guest("backup".to_owned()), "/nodes/{node}/lxc/{vmid}/config"),
            "CT is locked (backup)"
        );
        assert_eq!(
            text(Lock::Cluster, "/access/acl"),
            "error with cfs lock 'file-user_cfg': got lock request timeout"
        );
    }
}
