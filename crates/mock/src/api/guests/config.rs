//! `config` and `pending`: what a guest is, and what it will be after its next start.

use std::collections::BTreeSet;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::placement::Placement;
use super::{Call, Row, options, power, privileges, unlocked};
use crate::failure::{Failure, Outcome, Success};
use crate::object::{set, set_some};
use crate::seed::GuestKind;
use crate::state::{Effect, Guest, Options, disk};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/config", config),
    (Verb::Put, "/nodes/{node}/qemu/{vmid}/config", update),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/config", update_in_task),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/pending", pending),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/config", config),
    (Verb::Put, "/nodes/{node}/lxc/{vmid}/config", update),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/pending", pending),
];

/// What a call asks to change.
#[derive(Default)]
struct Request {
    set: Options,
    delete: Vec<String>,
    revert: Vec<String>,
}

fn config(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let mut config = match call.text("snapshot") {
        Some(name) => super::snapshots::find(guest, &name)?.config.clone(),
        None => guest.config().clone(),
    };
    if !call.flag("current") && call.text("snapshot").is_none() {
        config.extend(guest.pending.clone());
        guest.pending_delete.iter().for_each(|key| {
            config.remove(key);
        });
    }
    let mut answer = json!(hidden(config));
    set(&mut answer, "digest", guest.digest());
    Ok(answer.into())
}

/// Passwords are never shown.
fn hidden(mut config: Options) -> Options {
    if let Some(password) = config.get_mut("cipassword") {
        *password = json!("**********");
    }
    config
}

/// Every option with its value, the value that waits, or that it is to go.
fn pending(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let current = hidden(guest.config().clone());
    let waiting = hidden(guest.pending.clone());
    let mut keys: BTreeSet<&String> = current.keys().chain(waiting.keys()).collect();
    keys.extend(&guest.pending_delete);
    let mut entries: Vec<Value> = keys
        .into_iter()
        .map(|key| {
            let mut entry = json!({ "key": key });
            set_some(&mut entry, "value", current.get(key).cloned());
            set_some(&mut entry, "pending", waiting.get(key).cloned());
            set_some(&mut entry, "delete", guest.pending_delete.contains(key).then_some(1));
            entry
        })
        .collect();
    entries.push(json!({ "key": "digest", "value": guest.digest() }));
    Ok(Value::Array(entries).into())
}

fn update(call: &mut Call<'_>) -> Outcome {
    let request = request(call)?;
    apply(call, request)?;
    Ok(Success::default())
}

/// The same in a task. What is wrong with the change shows in the task.
fn update_in_task(call: &mut Call<'_>) -> Outcome {
    let request = request(call)?;
    let (node, vmid) = (call.guest()?.node.clone(), call.required("vmid"));
    let exit = apply(call, request).map_err(|failure| failure.message().trim_end().to_owned());
    Ok(call.task(&node, ("qmconfig", 1), &vmid, Effect::Nothing, exit))
}

/// Reads and checks the parameters (`update_vm_api`, `update_pct_config`).
fn request(call: &mut Call<'_>) -> Result<Request, Failure> {
    let guest = call.guest()?;
    let (vmid, kind) = (guest.vmid, guest.kind);
    power::skip_lock(call)?;
    let alias = |key: String| if key == "cdrom" { "ide2".to_owned() } else { key };
    let list = |name: &str| call.list(name).into_iter().map(alias).collect::<Vec<_>>();
    let request = Request {
        set: options::given(&call.parameters, kind),
        delete: list("delete"),
        revert: list("revert"),
    };
    for (name, keys) in [("delete", &request.delete), ("revert", &request.revert)] {
        for key in keys {
            if request.set.contains_key(key) {
                let text = format!("you can't use '-{key}' and '-{name} {key}' at the same time");
                return Err(Failure::parameter(name, &text));
            }
            if call.method.parameters().property(key).is_none() {
                return Err(Failure::parameter(name, &format!("unknown option '{key}'")));
            }
        }
    }
    if let Some(both) = request.revert.iter().find(|key| request.delete.contains(key)) {
        let text = format!("you can't use '-delete {both}' and '-revert {both}' at the same time");
        return Err(Failure::parameter("revert", &text));
    }
    let keys = request.set.keys().chain(&request.delete).chain(&request.revert);
    privileges::permitted(call, vmid, kind, None, keys.map(String::as_str))?;
    privileges::bridges(call, &request.set)?;
    Ok(request)
}

fn apply(call: &mut Call<'_>, request: Request) -> Result<(), Failure> {
    let Request { mut set, delete, revert } = request;
    let guest = call.guest()?;
    let (vmid, kind, running) = (guest.vmid, guest.kind, guest.is_running());
    call.unmodified(&guest.digest())?;
    if !power::skip_lock(call)? {
        unlocked(guest).map_err(Failure::die)?;
    }
    allowed(guest, &set, &delete)?;
    Placement::new(call.state, vmid, kind, None).complete(&mut set)?;
    for key in set.keys().filter(|key| disk::is_volume_key(key)) {
        let drive = set.get(key).and_then(Value::as_str).map(disk::Drive::parse);
        let storage = drive.as_ref().and_then(disk::Drive::volume).map(|(storage, _)| storage);
        if let Some(storage) = storage.filter(|storage| !call.may_use(storage)) {
            let path = format!("/storage/{storage}");
            return Err(Failure::permission(&format!("{path}, Datastore.AllocateSpace")));
        }
    }
    let Some(guest) = call.state.guests.get_mut(&vmid) else { return Ok(()) };
    for key in revert {
        guest.pending.remove(&key);
        guest.pending_delete.remove(&key);
    }
    for key in delete {
        guest.pending.remove(&key);
        if guest.config().contains_key(&key) {
            guest.pending_delete.insert(key);
        }
    }
    for (key, value) in set {
        guest.pending_delete.remove(&key);
        attach(guest, &value);
        guest.pending.insert(key, value);
    }
    if running {
        apply_live(guest);
    } else {
        guest.apply_pending();
    }
    Ok(())
}

/// A volume that was unused and is attached again is no longer unused.
fn attach(guest: &mut Guest, value: &Value) {
    let Some(file) = value.as_str().map(|text| disk::Drive::parse(text).file) else { return };
    let unused = guest
        .config()
        .iter()
        .find(|(key, value)| key.starts_with("unused") && value.as_str() == Some(file.as_str()));
    if let Some(key) = unused.map(|(key, _)| key.clone()) {
        guest.edit(|config| config.remove(&key));
    }
}

fn allowed(guest: &Guest, set: &Options, delete: &[String]) -> Result<(), Failure> {
    let noun = if guest.kind == GuestKind::Qemu { "drive" } else { "volume" };
    for key in delete {
        if guest.flag("protection") && disk::is_volume_key(key) {
            let text = format!("can't remove {noun} '{key}' - protection mode enabled");
            return Err(Failure::die(text));
        }
        if guest.kind == GuestKind::Lxc && matches!(key.as_str(), "hostname" | "memory" | "rootfs")
        {
            return Err(Failure::die(format!("unable to delete required option '{key}'")));
        }
    }
    if guest.kind == GuestKind::Lxc && set.contains_key("unprivileged") {
        return Err(Failure::die("unable to modify read-only option: 'unprivileged'"));
    }
    let number = |key: &str| {
        let value = set.get(key).or_else(|| guest.config().get(key))?;
        value.as_u64().or_else(|| value.as_str()?.trim_start_matches("current=").parse().ok())
    };
    let balloon = number("balloon").filter(|_| guest.kind == GuestKind::Qemu);
    let changes = set.contains_key("balloon") || set.contains_key("memory");
    if changes && balloon.unwrap_or(0) > number("memory").unwrap_or(512) {
        let text = "balloon value too large (must be smaller than assigned memory)";
        return Err(Failure::parameter("balloon", text));
    }
    Ok(())
}

/// A running guest takes what it can; the rest waits.
fn apply_live(guest: &mut Guest) {
    let kind = guest.kind;
    let waits = |key: &String| !options::is_live(kind, key);
    let (later, now): (Options, Options) =
        std::mem::take(&mut guest.pending).into_iter().partition(|(key, _)| waits(key));
    let (delete_later, delete_now): (BTreeSet<String>, BTreeSet<String>) =
        std::mem::take(&mut guest.pending_delete).into_iter().partition(waits);
    guest.pending = now;
    guest.pending_delete = delete_now;
    guest.apply_pending();
    // A value that is the current one already has nothing to wait for.
    guest.pending =
        later.into_iter().filter(|(key, value)| guest.config().get(key) != Some(value)).collect();
    guest.pending_delete = delete_later;
}

impl Call<'_> {
    fn may_use(&self, storage: &str) -> bool {
        self.may(&format!("/storage/{storage}"), &["Datastore.AllocateSpace", "Datastore.Audit"])
    }
}
