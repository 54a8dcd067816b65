//! `/nodes/{node}/qemu` and `/nodes/{node}/lxc`.

use std::time::Duration;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::Outcome;
use crate::object::{extend, set, set_some, take};
use crate::seed::GuestKind;
use crate::state::{Effect, Guest, Spawn, TaskKind};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/qemu", list),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/config", config),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/status/current", current),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/start", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/stop", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/shutdown", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/reboot", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/reset", power),
    (Verb::Get, "/nodes/{node}/lxc", list),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/config", config),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/status/current", current),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/start", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/stop", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/shutdown", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/reboot", power),
];

/// A power action: last word of its path, the task's name for virtual machines and containers,
/// the seconds it takes, the state it needs and the state it leaves.
struct Action {
    verb: &'static str,
    qemu: &'static str,
    lxc: &'static str,
    seconds: u64,
    needs_running: bool,
    leaves_running: bool,
}

#[rustfmt::skip]
const ACTIONS: [Action; 5] = [
    Action { verb: "start",    qemu: "qmstart",    lxc: "vzstart",    seconds: 1, needs_running: false, leaves_running: true },
    Action { verb: "stop",     qemu: "qmstop",     lxc: "vzstop",     seconds: 1, needs_running: false, leaves_running: false },
    Action { verb: "shutdown", qemu: "qmshutdown", lxc: "vzshutdown", seconds: 3, needs_running: true,  leaves_running: false },
    Action { verb: "reboot",   qemu: "qmreboot",   lxc: "vzreboot",   seconds: 3, needs_running: true,  leaves_running: true },
    Action { verb: "reset",    qemu: "qmreset",    lxc: "",           seconds: 1, needs_running: true,  leaves_running: true },
];

fn list(call: &mut Call<'_>) -> Outcome {
    let (now, node) = (call.now(), call.node()?.name.clone());
    let kind = if call.method.path().ends_with("/lxc") { GuestKind::Lxc } else { GuestKind::Qemu };
    let here = call.state.guests.values().filter(|guest| guest.node == node && guest.kind == kind);
    let seen = here.filter(|guest| call.may(&format!("/vms/{}", guest.vmid), &["VM.Audit"]));
    Ok(json!(seen.map(|guest| entry(guest, now)).collect::<Vec<_>>()).into())
}

fn config(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let mut config = json!(guest.config);
    set(&mut config, "digest", guest.digest());
    Ok(config.into())
}

fn current(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let guest = call.guest()?;
    let mut status = entry(guest, now);
    set(&mut status, "ha", json!({ "managed": 0 }));
    if guest.kind == GuestKind::Qemu {
        let qmp = status.get("status").cloned();
        set_some(&mut status, "qmpstatus", qmp);
    }
    Ok(status.into())
}

/// Leaves a task and answers its id. Whether the guest is in the right state shows in the task,
/// as it does on a genuine node.
fn power(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let guest = call.guest()?;
    let word = call.method.path().rsplit('/').next().unwrap_or_default();
    let Some(action) = ACTIONS.iter().find(|action| action.verb == word) else {
        return super::unmodelled::answer(call);
    };
    let name = if guest.kind == GuestKind::Lxc { action.lxc } else { action.qemu };
    let (vmid, node) = (guest.vmid, guest.node.clone());
    let noun = if guest.kind == GuestKind::Lxc { "CT" } else { "VM" };
    let exit = match (word, guest.is_running()) {
        ("start", true) => Err(format!("{noun} {vmid} already running")),
        (_, false) if action.needs_running => Err(format!("{noun} {vmid} not running")),
        _ => Ok(()),
    };
    let user = call.caller.id().to_owned();
    let upid = call.state.tasks.spawn(
        now,
        call.shared.time_scale,
        Spawn {
            node: &node,
            kind: TaskKind { name, takes: Duration::from_secs(action.seconds) },
            id: &vmid.to_string(),
            user: &user,
            effect: Effect::Power { vmid, running: action.leaves_running },
            exit,
        },
    );
    Ok(json!(upid).into())
}

/// One guest in a list of its node.
fn entry(guest: &Guest, now: Duration) -> Value {
    let mut entry = guest.usage(now);
    let cores = take(&mut entry, "cores");
    extend(&mut entry, json!({ "vmid": guest.vmid, "cpus": cores }));
    set_some(&mut entry, "tags", guest.config.get("tags").cloned());
    set_some(&mut entry, "pid", guest.is_running().then_some(100_000 + guest.vmid));
    if guest.kind == GuestKind::Lxc {
        extend(&mut entry, json!({ "type": "lxc", "swap": 0, "maxswap": 0 }));
    }
    entry
}
