//! Which parameters of a call are options of the guest, and how they are written.

use pve_schema::Params;
use serde_json::{Value, json};

use super::privileges::fits;
use crate::seed::GuestKind;
use crate::state::{Options, disk};

/// Parameters of create and update calls that are no options.
const CONTROL: [&str; 22] = [
    "archive",
    "background_delay",
    "bwlimit",
    "delete",
    "digest",
    "force",
    "ha-managed",
    "ignore-unpack-errors",
    "import-working-storage",
    "live-restore",
    "node",
    "ostemplate",
    "password",
    "pool",
    "restore",
    "revert",
    "skiplock",
    "ssh-public-keys",
    "start",
    "storage",
    "unique",
    "vmid",
];

/// The options among the parameters, as a configuration file holds them.
pub(super) fn given(parameters: &Params, kind: GuestKind) -> Options {
    let options = parameters
        .iter()
        .filter(|(key, value)| !CONTROL.contains(&key.as_str()) && !value.is_null());
    options.map(|(key, value)| written(key, value, kind)).collect()
}

fn written(key: &str, value: &Value, kind: GuestKind) -> (String, Value) {
    let key = if key == "cdrom" { "ide2" } else { key };
    let value = match (key, value) {
        ("tags", Value::String(text)) => json!(tags(text)),
        ("cdrom", Value::String(text)) if !text.contains("media=") => {
            json!(format!("{text},media=cdrom"))
        }
        // The parser of container files keeps the line break of the last comment line.
        ("description", Value::String(text)) if kind == GuestKind::Lxc => {
            json!(format!("{}\n", text.trim_end_matches('\n')))
        }
        ("cipassword", Value::String(text)) => {
            json!(format!("$5$mock${}", crate::state::sha1_hex(text.as_bytes())))
        }
        (_, Value::Bool(flag)) => json!(u8::from(*flag)),
        (_, other) => other.clone(),
    };
    (key.to_owned(), value)
}

/// Tags are unique, lower case and sorted.
fn tags(text: &str) -> String {
    let text = text.to_lowercase();
    let mut tags: Vec<&str> = text.split([',', ';', ' ']).filter(|tag| !tag.is_empty()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags.join(";")
}

/// Whether a running guest takes the change at once; other changes wait for its next start.
pub(super) fn is_live(kind: GuestKind, key: &str) -> bool {
    const QEMU_LIVE: [&str; 22] = [
        "agent",
        "balloon",
        "cicustom",
        "cipassword",
        "citype",
        "ciupgrade",
        "ciuser",
        "cpulimit",
        "cpuunits",
        "description",
        "hookscript",
        "lock",
        "name",
        "nameserver",
        "onboot",
        "protection",
        "searchdomain",
        "shares",
        "sshkeys",
        "startup",
        "tags",
        "vmstatestorage",
    ];
    const LXC_WAITS: [&str; 9] = [
        "arch",
        "cmode",
        "console",
        "features",
        "hostname",
        "ostype",
        "rootfs",
        "tty",
        "unprivileged",
    ];
    match kind {
        // The guest agent's channel is a device: it waits.
        GuestKind::Qemu if key == "agent" => false,
        GuestKind::Qemu => {
            QEMU_LIVE.contains(&key)
                || ["net*", "scsi*", "virtio*", "usb*", "ipconfig*", "unused*"]
                    .iter()
                    .any(|name| fits(name, key))
                || (key.starts_with("ide") && disk::is_volume_key(key) && key == "ide2")
        }
        GuestKind::Lxc => !LXC_WAITS.contains(&key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_parameters_are_no_options() {
        let parameters = Params::from([
            ("vmid".to_owned(), json!(100)),
            ("digest".to_owned(), json!("x")),
            ("name".to_owned(), json!("a")),
            ("onboot".to_owned(), json!(true)),
            ("tags".to_owned(), json!("b,a A")),
        ]);
        let options = given(&parameters, GuestKind::Qemu);
        assert_eq!(json!(options), json!({ "name": "a", "onboot": 1, "tags": "a;b" }));
    }
}
