//! A guest of a seed: created by the API's own method, then brought into its state.

use pve_schema::{Params, Verb};
use serde_json::{Value, json};

use super::apply::{Done, Refusal, call};
use super::{GuestStep, Power};
use crate::api::owner_of_volume;
use crate::seed::GuestKind;
use crate::shared::Shared;
use crate::state::disk::{self, Drive};
use crate::state::{State, Volume, VolumeKind};

/// Options of configuration files that no call takes: kept as they are, or computed anyway.
const KEPT: [&str; 1] = ["meta"];
const COMPUTED: [&str; 1] = ["digest"];
/// Stands for the template of a container that names none.
const NO_TEMPLATE: &str = "local:vztmpl/unmanaged.tar.zst";

pub(super) fn create(shared: &Shared, state: &mut State, step: GuestStep) -> Done<()> {
    let GuestStep { kind, node, mut parameters, power, lock, snapshots } = step;
    let vmid = parameters.get("vmid").and_then(Value::as_u64);
    let vmid = vmid.and_then(|vmid| u32::try_from(vmid).ok());
    let vmid = vmid.ok_or_else(|| Refusal::parameter("vmid", "expected a number from 100"))?;
    let is_template =
        parameters.get("template").is_some_and(|flag| *flag != json!(0) && *flag != json!(false));
    if is_template && power != Power::Stopped {
        return Err(Refusal::parameter("status", "a template can not run"));
    }
    let word = match kind {
        GuestKind::Qemu => "qemu",
        GuestKind::Lxc => "lxc",
    };
    if kind == GuestKind::Lxc && !parameters.contains_key("ostemplate") {
        parameters.insert("ostemplate".to_owned(), json!(NO_TEMPLATE));
    }
    super::apply::node(state, Some(&node))?;
    check_lock(shared, kind, lock.as_deref())?;
    COMPUTED.iter().for_each(|key| drop(parameters.remove(*key)));
    let kept = KEPT.iter().filter_map(|key| Some((*key, parameters.remove(*key)?)));
    let kept: Vec<(&str, Value)> = kept.collect();
    let lent = lend(shared, state, &node, vmid, &parameters)?;
    parameters.insert("start".to_owned(), json!(u8::from(power != Power::Stopped)));
    let created = call(shared, state, Verb::Post, &format!("/nodes/{node}/{word}"), parameters);
    take_back(state, lent);
    created?;
    let path = format!("/nodes/{node}/{word}/{vmid}");
    for (at, snapshot) in snapshots.into_iter().enumerate() {
        let taken = call(shared, state, Verb::Post, &format!("{path}/snapshot"), snapshot);
        taken.map_err(|refusal| refusal.within("snapshots", at))?;
    }
    if power == Power::Paused {
        call(shared, state, Verb::Post, &format!("{path}/status/suspend"), Params::new())?;
    }
    if let Some(guest) = state.guests.get_mut(&vmid) {
        guest.edit(|config| {
            config.extend(kept.into_iter().map(|(key, value)| (key.to_owned(), value)));
        });
        if lock.is_some() {
            guest.set_lock(lock.as_deref());
        }
    }
    Ok(())
}

/// The lock is not given to the call, which takes one of its own while it runs.
fn check_lock(shared: &Shared, kind: GuestKind, lock: Option<&str>) -> Done<()> {
    let Some(lock) = lock else { return Ok(()) };
    let path =
        if kind == GuestKind::Lxc { "/nodes/n/lxc/1/config" } else { "/nodes/n/qemu/1/config" };
    let matched = shared.schema().find(path);
    let method = matched.as_ref().and_then(|at| at.method(Verb::Put));
    let property = method.and_then(|method| method.parameters().property("lock"));
    let known = property.and_then(|property| property.enumeration.as_ref());
    match known {
        Some(known) if !known.iter().any(|one| one == lock) => Err(Refusal::parameter(
            "lock",
            format!("no lock: {lock}; there are {}", known.join(", ")),
        )),
        _ => Ok(()),
    }
}

/// A volume that stands in the storage while the guest that names it is created.
struct Lent {
    storage: String,
    owner: String,
    name: String,
}

/// A configuration that was copied names its volumes. They exist by their being named, with the
/// size that is given; an API call alone could not say so.
fn lend(
    shared: &Shared,
    state: &mut State,
    node: &str,
    vmid: u32,
    parameters: &Params,
) -> Done<Vec<Lent>> {
    let now = shared.clock.unix();
    let mut lent = Vec::new();
    for (key, value) in parameters {
        let Some(text) = value.as_str().filter(|_| disk::is_volume_key(key)) else { continue };
        let drive = Drive::parse(text);
        let Some((storage, name)) = drive.volume() else { continue };
        if owner_of_volume(name) != Some(vmid) {
            continue;
        }
        let Some(known) = state.storages.get(storage) else { continue };
        let kind = match known.path {
            Some(_) => VolumeKind::in_directory(name),
            None => VolumeKind::in_blocks(name),
        };
        let kind = kind.ok_or_else(|| {
            Refusal::parameter(key, format!("no name of a volume in {storage}: {name}"))
        })?;
        if drive.bytes() == 0 {
            return Err(Refusal::parameter(key, "a volume without size=, such as size=32G"));
        }
        let owner = if known.shared { String::new() } else { node.to_owned() };
        let lent_one =
            Lent { storage: storage.to_owned(), owner: owner.clone(), name: name.to_owned() };
        let volume = Volume::new(kind, drive.bytes(), now);
        if !state.volumes.insert(storage, &owner, name.to_owned(), volume) {
            return Err(Refusal::parameter(key, format!("storage {storage} is full")));
        }
        lent.push(lent_one);
    }
    Ok(lent)
}

/// From now on the guest's configuration holds them.
fn take_back(state: &mut State, lent: Vec<Lent>) {
    for Lent { storage, owner, name } in lent {
        state.volumes.remove(&storage, &owner, &name);
    }
}
