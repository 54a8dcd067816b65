//! `/nodes/{node}/qemu/{vmid}/cloudinit`: what a machine's first boot is told.

use std::fmt::Write as _;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::object::set;
use crate::state::{Guest, sha1_hex};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/cloudinit", list),
    (Verb::Put, "/nodes/{node}/qemu/{vmid}/cloudinit", regenerate),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/cloudinit/dump", dump),
];

/// Options that go onto the image, beside `ipconfig*` and the addresses of `net*`.
const OPTIONS: [&str; 10] = [
    "cicustom",
    "cipassword",
    "ciupgrade",
    "ciuser",
    "citype",
    "name",
    "nameserver",
    "searchdomain",
    "sshkeys",
    "hostname",
];

fn concerns(key: &str) -> bool {
    OPTIONS.contains(&key) || key.starts_with("ipconfig") || key.starts_with("net")
}

/// The image is always up to date here: nothing waits but what waits in the configuration.
fn list(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let shown = |key: &str, value: &Value| match key {
        "cipassword" => json!("**********"),
        _ => json!(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    };
    let mut rows: Vec<Value> = Vec::new();
    for (key, value) in guest.config().iter().filter(|(key, _)| concerns(key)) {
        let mut row = json!({ "key": key, "value": shown(key, value) });
        if let Some(waiting) = guest.pending.get(key) {
            set(&mut row, "pending", shown(key, waiting));
        }
        if guest.pending_delete.contains(key) {
            set(&mut row, "delete", 1);
        }
        rows.push(row);
    }
    Ok(Value::Array(rows).into())
}

fn regenerate(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let drives = guest.config().values().filter_map(Value::as_str);
    if !drives.clone().any(|text| text.contains("cloudinit")) {
        return Err(Failure::die("no cloudinit drive defined"));
    }
    Ok(Success::default())
}

fn dump(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let text = match call.required("type").as_str() {
        "user" => user(guest),
        "network" => network(guest),
        _ => {
            let id = sha1_hex((user(guest) + &network(guest)).as_bytes());
            format!("instance-id: {id}\n")
        }
    };
    Ok(json!(text).into())
}

fn user(guest: &Guest) -> String {
    let name = guest.name();
    let mut text = format!("#cloud-config\nhostname: {name}\nmanage_etc_hosts: true\n");
    if let Some(domain) = guest.option("searchdomain") {
        let _ = writeln!(text, "fqdn: {name}.{domain}");
    } else {
        let _ = writeln!(text, "fqdn: {name}");
    }
    if let Some(user) = guest.option("ciuser") {
        let _ = writeln!(text, "user: {user}");
    }
    if guest.option("cipassword").is_some() {
        text.push_str("password: '*'\n");
    }
    if let Some(keys) = guest.option("sshkeys") {
        text.push_str("ssh_authorized_keys:\n");
        let keys = crate::wire::unescape(keys);
        keys.lines().filter(|key| !key.is_empty()).for_each(|key| _ = writeln!(text, "  - {key}"));
    }
    text.push_str("chpasswd:\n  expire: False\nusers:\n  - default\n");
    if guest.option("ciupgrade") != Some("0") {
        text.push_str("package_upgrade: true\n");
    }
    text
}

/// The old form, version 1, one entry for each network card.
fn network(guest: &Guest) -> String {
    let mut text = "version: 1\nconfig:\n".to_owned();
    let cards = guest.config().iter().filter_map(|(key, value)| {
        let index: u8 = key.strip_prefix("net")?.parse().ok()?;
        Some((index, value.as_str()?))
    });
    for (index, card) in cards {
        let mac = hardware_address(card).unwrap_or_default().to_ascii_lowercase();
        let _ = writeln!(
            text,
            "    - type: physical\n      name: eth{index}\n      mac_address: '{mac}'\n      subnets:"
        );
        let address = guest.option(&format!("ipconfig{index}")).unwrap_or_default();
        let part = |name: &str| address.split(',').find_map(|part| part.strip_prefix(name));
        match part("ip=") {
            Some("dhcp") => text.push_str("      - type: dhcp4\n"),
            Some(ip) => {
                let _ = writeln!(text, "      - type: static\n        address: '{ip}'");
                if let Some(gateway) = part("gw=") {
                    let _ = writeln!(text, "        gateway: '{gateway}'");
                }
            }
            None => {}
        }
    }
    text
}

/// The address in `virtio=BC:24:11:00:00:01,bridge=vmbr0`.
pub(super) fn hardware_address(card: &str) -> Option<&str> {
    let values = card.split(',').filter_map(|part| part.split_once('='));
    let mut addresses = values.map(|(_, value)| value);
    addresses.find(|value| value.len() == 17 && value.matches(':').count() == 5)
}
