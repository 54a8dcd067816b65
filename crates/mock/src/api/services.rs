//! `/nodes/{node}/services`: the daemons of a node. A task starts or stops one.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::Outcome;
use crate::state::Effect;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/services", list),
    (Verb::Get, "/nodes/{node}/services/{service}/state", state),
    (Verb::Post, "/nodes/{node}/services/{service}/start", act),
    (Verb::Post, "/nodes/{node}/services/{service}/stop", act),
    (Verb::Post, "/nodes/{node}/services/{service}/restart", act),
    (Verb::Post, "/nodes/{node}/services/{service}/reload", act),
];

/// Daemons: name, what it is, whether it runs where nothing was changed.
const SERVICES: [(&str, &str, bool); 16] = [
    ("chrony", "chrony, an NTP client/server", true),
    ("corosync", "Corosync Cluster Engine", true),
    ("cron", "Regular background program processing daemon", true),
    ("ksmtuned", "Kernel Samepage Merging (KSM) Tuning Daemon", true),
    ("postfix", "Postfix Mail Transport Agent", true),
    ("proxmox-firewall", "Proxmox nftables firewall", true),
    ("pve-cluster", "The Proxmox VE cluster filesystem", true),
    ("pve-firewall", "Proxmox VE firewall", true),
    ("pve-ha-crm", "PVE Cluster HA Resource Manager Daemon", true),
    ("pve-ha-lrm", "PVE Local HA Resource Manager Daemon", true),
    ("pvedaemon", "PVE API Daemon", true),
    ("pveproxy", "PVE API Proxy Server", true),
    ("pvescheduler", "Proxmox VE scheduler", true),
    ("pvestatd", "PVE Status Daemon", true),
    ("spiceproxy", "PVE SPICE Proxy Server", true),
    ("syslog", "syslog", false),
];
/// Words of a path and the tasks they leave.
const ACTIONS: [(&str, &str); 4] = [
    ("start", "srvstart"),
    ("stop", "srvstop"),
    ("restart", "srvrestart"),
    ("reload", "srvreload"),
];

fn path(node: &str) -> String {
    format!("/nodes/{node}/services")
}

/// Runs only in a cluster.
fn runs(call: &Call<'_>, node: &str, name: &str) -> bool {
    let kept = call.state.objects.settings(&path(node)).and_then(|services| services.get(name));
    let known = SERVICES.iter().any(|(known, _, runs)| *known == name && *runs);
    let here = name != "corosync" || call.state.cluster.is_some();
    kept.and_then(Value::as_bool).unwrap_or(known && here)
}

fn row(call: &Call<'_>, node: &str, name: &str) -> Value {
    let text = SERVICES.iter().find(|(known, ..)| *known == name).map_or(name, |(_, text, _)| text);
    let (state, active) =
        if runs(call, node, name) { ("running", "active") } else { ("dead", "inactive") };
    json!({
        "service": name, "name": name, "desc": text, "state": state, "active-state": active,
        "unit-state": if name == "syslog" { "not-found" } else { "enabled" },
    })
}

fn list(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    Ok(SERVICES.iter().map(|(name, ..)| row(call, &node, name)).collect::<Value>().into())
}

fn state(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    Ok(row(call, &node, &call.required("service")).into())
}

fn act(call: &mut Call<'_>) -> Outcome {
    let (node, name) = (call.node()?.name.clone(), call.required("service"));
    let word = call.method.path().rsplit('/').next().unwrap_or_default();
    let task =
        ACTIONS.iter().find(|(known, _)| *known == word).map_or("srvreload", |(_, task)| task);
    let services = call.state.objects.settings_mut(&path(&node));
    services.insert(name.clone(), json!(word != "stop"));
    Ok(call.task(&node, (task, 1), &name, Effect::Nothing, Ok(())))
}
