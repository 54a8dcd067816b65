//! `/version`, `/nodes` and the node's own facts.

use pve_schema::Verb;
use serde_json::json;

use super::{Call, Row};
use crate::failure::{Outcome, Success};
use crate::state::{Node, NodeRow};

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
    let rows = audited(call)
        .map(|(row, node)| NodeRow { ssl_fingerprint: node.ssl_fingerprint.as_deref(), ..row });
    Success::written(&rows.collect::<Vec<_>>())
}

/// All nodes, with figures where the caller has `Sys.Audit`.
pub(super) fn audited<'c>(call: &'c Call<'_>) -> impl Iterator<Item = (NodeRow<'c>, &'c Node)> {
    let auditor = call.right(&["Sys.Audit"]);
    let (now, guests) = (call.now(), &call.state.guests);
    call.state.nodes.values().map(move |node| {
        let sees = auditor.at(&format!("/nodes/{}", node.name));
        let row = if sees {
            node.row_with_figures(now, guests.memory_on(&node.name))
        } else {
            node.row()
        };
        (row, node)
    })
}

fn status(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let node = call.node()?;
    let used = node.memory_used(call.state.guests.memory_on(&node.name));
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
