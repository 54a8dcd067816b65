//! What the grammars of the named property strings leave out: bounds, patterns, formats of fields.
//!
//! Each row is laid over the fields read from `typetext`; a field the grammar does not have in a
//! release is not added. Sources: qemu-server, pve-guest-common, pve-access-control.

use serde_json::Value;

use crate::property_string::Fields;

/// Fields (JSON schemas) laid over those of the grammar; `None` when the name is no property string.
pub(crate) fn refinement(format: &str) -> Option<Value> {
    let (_, text) = REFINEMENTS.iter().find(|(name, _)| *name == format)?;
    serde_json::from_str(text).ok()
}

/// A rule between the fields of a format; the error is PVE's text.
pub(crate) type CrossCheck = fn(&Fields) -> Result<(), String>;

/// The rule of a named format, when it has one.
pub(crate) fn cross_check(format: &str) -> Option<CrossCheck> {
    match format {
        "prune-backups" => Some(prune_backups),
        _ => None,
    }
}

/// Property strings whose fields no document names at all.
pub(crate) fn definition(format: &str) -> Option<Value> {
    let (_, text) = DEFINITIONS.iter().find(|(name, _)| *name == format)?;
    serde_json::from_str(text).ok()
}

fn prune_backups(fields: &Fields) -> Result<(), String> {
    let is_positive = |value: &Value| value.as_i64().is_some_and(|count| count > 0);
    let keep_all = fields.get("keep-all").is_some_and(|all| all.as_bool() == Some(true));
    let counts = fields.iter().filter(|(name, value)| *name != "keep-all" && is_positive(value));
    if keep_all && counts.count() > 0 {
        return Err("keep-all cannot be set together with other options.\n".to_owned());
    }
    Ok(())
}

const DEFINITIONS: [(&str, &str); 2] = [
    ("pve-sdn-dhcp-range", r#"{"start-address": {"type": "ip"}, "end-address": {"type": "ip"}}"#),
    (
        "pve-sdn-fabric-wireguard-interface",
        r#"{"name": {"type": "string", "format": "pve-sdn-wireguard-iface-name"},
            "public_key": {"type": "string", "optional": 1},
            "ip": {"type": "string", "format": "CIDRv4", "optional": 1},
            "ip6": {"type": "string", "format": "CIDRv6", "optional": 1},
            "listen_port": {"type": "number", "minimum": 1, "maximum": 65535, "optional": 1}}"#,
    ),
];

const REFINEMENTS: [(&str, &str); 16] = [
    ("pve-qemu-tdx-fmt", "{}"),
    ("backup-fleecing", r#"{"storage": {"format": "pve-storage-id"}}"#),
    (
        "backup-performance",
        r#"{"max-workers": {"minimum": 1, "maximum": 256}, "pbs-entries-max": {"minimum": 1}}"#,
    ),
    (
        "proxmox-remote",
        r#"{"port": {"type": "integer"}, "fingerprint": {"pattern": "([A-Fa-f0-9]{2}:){31}[A-Fa-f0-9]{2}"}}"#,
    ),
    (
        "prune-backups",
        r#"{"keep-last": {"minimum": 0}, "keep-hourly": {"minimum": 0}, "keep-daily": {"minimum": 0},
            "keep-weekly": {"minimum": 0}, "keep-monthly": {"minimum": 0}, "keep-yearly": {"minimum": 0}}"#,
    ),
    ("pve-qemu-sev-fmt", r#"{"type": {"pattern": "(?:std|es|snp)"}}"#),
    (
        "pve-qm-boot",
        r#"{"legacy": {"pattern": "[acdn]{1,4}"}, "order": {"format": "pve-qm-bootdev-list"}}"#,
    ),
    (
        "pve-qm-cicustom",
        r#"{"meta": {"format": "pve-volume-id"}, "network": {"format": "pve-volume-id"},
            "user": {"format": "pve-volume-id"}, "vendor": {"format": "pve-volume-id"}}"#,
    ),
    (
        "pve-qm-hostpci",
        r#"{"host": {"pattern": "(?:(?:[a-f0-9]{4,}:)?[a-f0-9]{2}:[a-f0-9]{2}(?:\\.[a-f0-9])?;)*(?:[a-f0-9]{4,}:)?[a-f0-9]{2}:[a-f0-9]{2}(?:\\.[a-f0-9])?"},
            "mapping": {"format": "pve-configid"}, "romfile": {"pattern": "[^,;]+"},
            "vendor-id": {"pattern": "0x[0-9a-fA-F]{4}"}, "device-id": {"pattern": "0x[0-9a-fA-F]{4}"},
            "sub-vendor-id": {"pattern": "0x[0-9a-fA-F]{4}"}, "sub-device-id": {"pattern": "0x[0-9a-fA-F]{4}"}}"#,
    ),
    (
        "pve-qm-ipconfig",
        r#"{"ip": {"format": "pve-ipv4-config"}, "gw": {"format": "ipv4", "requires": "ip"},
            "ip6": {"format": "pve-ipv6-config"}, "gw6": {"format": "ipv6", "requires": "ip6"}}"#,
    ),
    (
        "pve-qm-smbios1",
        r#"{"uuid": {"pattern": "[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"},
            "version": {"pattern": "[A-Za-z0-9+\\/]+={0,2}"}, "serial": {"pattern": "[A-Za-z0-9+\\/]+={0,2}"},
            "manufacturer": {"pattern": "[A-Za-z0-9+\\/]+={0,2}"}, "product": {"pattern": "[A-Za-z0-9+\\/]+={0,2}"},
            "sku": {"pattern": "[A-Za-z0-9+\\/]+={0,2}"}, "family": {"pattern": "[A-Za-z0-9+\\/]+={0,2}"}}"#,
    ),
    (
        "pve-qm-watchdog",
        r#"{"action": {"enum": ["reset", "shutdown", "poweroff", "pause", "debug", "none"]}}"#,
    ),
    (
        "pve-tfa-config",
        r#"{"type": {"enum": ["yubico", "oath"]}, "digits": {"type": "integer", "minimum": 6, "maximum": 8},
            "step": {"type": "integer", "minimum": 10}}"#,
    ),
    (
        "pve-vm-cpu-conf",
        r#"{"phys-bits": {"enum": null, "format": "pve-phys-bits"}, "hv-vendor-id": {"pattern": "[a-zA-Z0-9]{1,12}"},
            "guest-phys-bits": {"minimum": 32, "maximum": 64},
            "flags": {"pattern": "(?:[+-][a-zA-Z0-9\\-_\\.]+)(?:;[+-][a-zA-Z0-9\\-_\\.]+)*"}}"#,
    ),
    (
        "realm-sync-options",
        r#"{"remove-vanished": {"pattern": "(?:(?:(?:acl|properties|entry);)*(?:acl|properties|entry))|none"}}"#,
    ),
    ("pve-qm-rng", r#"{"max_bytes": {"type": "integer"}, "period": {"type": "integer"}}"#),
];

#[cfg(test)]
mod tests {
    use super::{DEFINITIONS, REFINEMENTS};

    #[test]
    fn every_row_is_an_object_of_objects() {
        for (name, text) in REFINEMENTS.iter().chain(&DEFINITIONS) {
            let row: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(row.as_object().unwrap().values().all(serde_json::Value::is_object), "{name}");
        }
    }
}
