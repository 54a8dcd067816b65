//! `/nodes/{node}/qemu` and `/nodes/{node}/lxc`: lists, status, and what the topics share.

pub(super) mod agent;
pub(super) mod bulk;
pub(super) mod clone;
pub(super) mod cloudinit;
pub(super) mod config;
pub(super) mod create;
pub(super) mod destroy;
pub(super) mod disks;
pub(super) mod migrate;
mod options;
mod placement;
pub(super) mod power;
mod privileges;
mod restore;
pub(super) mod snapshots;

pub(crate) use placement::owner as owner_of_volume;

use std::time::Duration;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::data::List;
use crate::failure::{Failure, Outcome, Success};
use crate::object::{extend, set, set_some};
use crate::seed::GuestKind;
use crate::state::{Change, Effect, Guest, GuestRow, Spawn, TaskKind, What};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/qemu", list),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}", index),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/feature", feature),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/status/current", current),
    (Verb::Get, "/nodes/{node}/lxc", list),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}", index),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/feature", feature),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/status/current", current),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/interfaces", interfaces),
];

/// The text of a digest that no longer fits (`PVE::Tools::assert_if_modified`).
pub(super) const MODIFIED: &str =
    "detected modified configuration - file changed by other user? Try again.";

impl Call<'_> {
    /// Starts a task on `node` and answers its id.
    pub(super) fn task(
        &mut self,
        node: &str,
        (name, seconds): (&'static str, u64),
        id: &str,
        effect: Effect,
        exit: Result<(), String>,
    ) -> Success {
        let user = self.caller.id().to_owned();
        let kind = TaskKind { name, takes: Duration::from_secs(seconds) };
        let spawn = Spawn { node, kind, id, user: &user, effect, exit };
        let (now, scale) = (self.now(), self.shared.time_scale());
        json!(self.state.tasks.spawn(now, scale, spawn)).into()
    }

    /// As [`Call::task`] for a change of one guest. While the task runs the guest has the lock;
    /// a task that is going to fail takes none.
    pub(super) fn guest_task(
        &mut self,
        vmid: u32,
        name: (&'static str, u64),
        lock: Option<&str>,
        what: What,
        exit: Result<(), String>,
    ) -> Success {
        let Some(guest) = self.state.guests.get_mut(&vmid) else { return Success::default() };
        let node = guest.node.clone();
        if exit.is_ok() && lock.is_some() {
            guest.set_lock(lock);
        }
        let effect = Effect::Guests(vec![Change { vmid, what }]);
        self.task(&node, name, &vmid.to_string(), effect, exit)
    }

    /// Refuses when the given digest is not this one.
    pub(super) fn unmodified(&self, digest: &str) -> Result<(), Failure> {
        match self.text("digest") {
            Some(given) if given != digest => Err(Failure::die(MODIFIED)),
            _ => Ok(()),
        }
    }

    /// Refuses with the genuine text unless the caller holds the privilege.
    pub(super) fn needs(&self, path: &str, privilege: &str) -> Result<(), Failure> {
        if self.may(path, &[privilege]) {
            return Ok(());
        }
        Err(Failure::permission(&format!("{path}, {privilege}")))
    }
}

/// `VM is locked (backup)`, unless the lock is to be passed over.
pub(super) fn unlocked(guest: &Guest) -> Result<(), String> {
    match guest.lock() {
        Some(lock) => Err(format!("{} is locked ({lock})", guest.noun())),
        None => Ok(()),
    }
}

fn list(call: &mut Call<'_>) -> Outcome {
    let (now, node) = (call.now(), call.node()?.name.clone());
    let kind = if call.method.path().ends_with("/lxc") { GuestKind::Lxc } else { GuestKind::Qemu };
    let auditor = call.right(&["VM.Audit"]);
    Success::written(&List(|| {
        let guests = call.state.guests.values();
        let here = guests.filter(|guest| guest.node == node && guest.kind == kind);
        here.filter(|guest| auditor.at_guest(guest)).map(|guest| row(guest, now))
    }))
}

fn index(call: &mut Call<'_>) -> Outcome {
    call.guest()?;
    let mut names: Vec<&str> = call.matched.children().collect();
    names.sort_unstable();
    Ok(crate::format::index("subdir", names).into())
}

fn current(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let guest = call.guest()?;
    let mut status = json!(row(guest, now));
    set(&mut status, "ha", super::ha::managed(&call.state.objects, guest));
    if guest.kind == GuestKind::Qemu {
        let qmp = match (guest.is_running(), guest.paused) {
            (true, true) => "paused",
            (true, false) => "running",
            (false, _) => "stopped",
        };
        set(&mut status, "qmpstatus", qmp);
        let agent = agent::is_enabled(guest);
        set_some(&mut status, "agent", agent.then_some(1));
        if guest.is_running() {
            extend(
                &mut status,
                json!({ "running-machine": "pc-i440fx-10.1+pve0", "running-qemu": "10.1.2" }),
            );
        }
    }
    Ok(status.into())
}

/// Snapshots and clones are possible when every volume's storage can do them.
fn feature(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let snapshot = call.text("snapname");
    if let Some(name) = snapshot.as_ref().filter(|name| !guest.snapshots.contains_key(*name)) {
        return Err(Failure::die(format!("snapshot '{name}' does not exist")));
    }
    let has = match call.required("feature").as_str() {
        "snapshot" => snapshots::possible(call.state, guest),
        "clone" => guest.is_template() || snapshot.is_some(),
        _ => true,
    };
    let mut answer = json!({ "hasFeature": u8::from(has) });
    if guest.kind == GuestKind::Qemu {
        let nodes: Vec<&String> = call.state.nodes.keys().collect();
        let here = vec![&guest.node];
        let shared = migrate::local_volumes(call.state, guest).is_empty();
        set(&mut answer, "nodes", json!(if shared { nodes } else { here }));
    }
    Ok(answer.into())
}

/// The addresses of a running container: loopback, and the first network card.
fn interfaces(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    if !guest.is_running() {
        return Ok(json!([]).into());
    }
    let net = guest.option("net0").unwrap_or_default();
    let mac = net.split(',').find_map(|part| part.strip_prefix("hwaddr=")).unwrap_or_default();
    let mac = mac.to_ascii_lowercase();
    let host = 2 + guest.vmid % 250;
    Ok(json!([
        { "name": "lo", "hwaddr": "00:00:00:00:00:00", "hardware-address": "00:00:00:00:00:00",
          "inet": "127.0.0.1/8", "inet6": "::1/128", "ip-addresses": [
            { "ip-address": "127.0.0.1", "ip-address-type": "inet", "prefix": 8 },
            { "ip-address": "::1", "ip-address-type": "inet6", "prefix": 128 },
          ] },
        { "name": "eth0", "hwaddr": mac, "hardware-address": mac,
          "inet": format!("198.51.100.{host}/24"), "ip-addresses": [
            { "ip-address": format!("198.51.100.{host}"), "ip-address-type": "inet", "prefix": 24 },
          ] },
    ])
    .into())
}

/// One guest in a list of its node.
fn row(guest: &Guest, now: Duration) -> GuestRow<'_> {
    let container = guest.kind == GuestKind::Lxc;
    let swap = || guest.config().get("swap").and_then(Value::as_u64).unwrap_or(0) << 20;
    GuestRow {
        cpus: Some(guest.processors()),
        maxswap: container.then(swap),
        pid: guest.is_running().then_some(100_000 + guest.vmid),
        swap: container.then_some(0),
        template: guest.is_template().then_some(1),
        kind: container.then_some("lxc"),
        ..guest.row(now)
    }
}
