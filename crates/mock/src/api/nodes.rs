//! `/version`, `/nodes` and the node's own facts.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::Outcome;
use crate::object::{extend, set, set_some};
use crate::state::{Node, State};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes", list),
    (Verb::Get, "/nodes/{node}/status", status),
    (Verb::Get, "/nodes/{node}/subscription", subscription),
    (Verb::Get, "/nodes/{node}/time", time),
    (Verb::Get, "/nodes/{node}/version", version),
];

pub(super) fn api_version(call: &mut Call<'_>) -> Outcome {
    let version = &call.state.version;
    Ok(json!({
        "version": version.version,
        "release": version.release,
        "repoid": version.repoid,
    })
    .into())
}

fn version(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    api_version(call)
}

/// Names and certificates are for every caller, figures for those with `Sys.Audit`.
fn list(call: &mut Call<'_>) -> Outcome {
    let entries = call.state.nodes.values().map(|node| {
        let mut entry = json!({
            "id": format!("node/{}", node.name),
            "node": node.name,
            "type": "node",
            "status": node.status(),
        });
        set_some(&mut entry, "ssl_fingerprint", node.ssl_fingerprint.clone());
        if node.hardware.is_some() && call.may(&format!("/nodes/{}", node.name), &["Sys.Audit"]) {
            extend(&mut entry, figures(call, node));
            set(&mut entry, "level", "");
        }
        entry
    });
    Ok(entries.collect::<Value>().into())
}

fn status(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let node = call.node()?;
    let used = node.memory_used(guests_memory(call.state, node));
    let (cpus, memory, disk) = match &node.hardware {
        Some(hardware) => (hardware.cpus, hardware.memory, hardware.disk),
        None => (1, 0, 0),
    };
    let version = &call.state.version;
    let kernel = "6.14.8-2-pve";
    Ok(json!({
        "uptime": node.uptime(now),
        "loadavg": ["0.12", "0.10", "0.08"],
        "cpu": 0.03,
        "wait": 0,
        "idle": 0,
        "cpuinfo": {
            "cpus": cpus, "cores": cpus, "sockets": 1, "model": "Mock CPU", "mhz": "2400.000",
            "flags": "fpu", "hvm": "1", "user_hz": 100,
        },
        "memory": {
            "total": memory, "used": used, "free": memory - used, "available": memory - used,
        },
        "swap": { "total": 0, "used": 0, "free": 0 },
        "ksm": { "shared": 0 },
        "rootfs": { "total": disk, "used": disk / 10, "free": disk - disk / 10, "avail": disk - disk / 10 },
        "pveversion": format!("pve-manager/{}/{}", version.version, version.repoid),
        "kversion": format!("Linux {kernel} #1 SMP"),
        "current-kernel": {
            "sysname": "Linux", "release": kernel, "version": "#1 SMP", "machine": "x86_64",
        },
        "boot-info": { "mode": "efi", "secureboot": 0 },
    })
    .into())
}

fn subscription(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    Ok(json!({
        "status": "notfound",
        "message": "There is no subscription key",
        "serverid": "00000000000000000000000000000000",
        "url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing",
    })
    .into())
}

fn time(call: &mut Call<'_>) -> Outcome {
    let timezone = call.node()?.timezone.clone();
    let now = call.now().as_secs();
    Ok(json!({ "time": now, "localtime": now, "timezone": timezone }).into())
}

/// What a node reports of its use, its running guests counted in.
pub(super) fn figures(call: &Call<'_>, node: &Node) -> Value {
    node.usage(call.now(), guests_memory(call.state, node))
}

fn guests_memory(state: &State, node: &Node) -> u64 {
    let guests = state.guests.values().filter(|guest| guest.node == node.name);
    guests.map(crate::state::Guest::memory_used).sum()
}
