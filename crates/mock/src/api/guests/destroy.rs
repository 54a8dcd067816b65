//! `DELETE` of a guest.

use pve_schema::Verb;

use super::{Call, Row, power, unlocked};
use crate::failure::{Failure, Outcome};
use crate::seed::GuestKind;
use crate::state::{State, What, disk};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Delete, "/nodes/{node}/qemu/{vmid}", destroy),
    (Verb::Delete, "/nodes/{node}/lxc/{vmid}", destroy),
];

/// Protection and jobs are refused by the call, a running virtual machine by the task.
fn destroy(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let (noun, vmid, purge) = (guest.noun(), guest.vmid, call.flag("purge"));
    let is_lxc = guest.kind == GuestKind::Lxc;
    if guest.flag("protection") {
        let text = format!("can't remove {noun} {vmid} - protection mode enabled");
        return Err(Failure::die(text));
    }
    if !purge {
        unreferenced(call.state, noun, vmid)?;
    }
    let force = is_lxc && call.flag("force");
    if is_lxc && guest.is_running() && !force {
        let text = format!("unable to destroy CT {vmid} - container is running");
        return Err(Failure::die(text));
    }
    let skip_lock = power::skip_lock(call)?;
    let exit = if guest.is_running() && !force {
        Err(format!("VM {vmid} is running - destroy failed"))
    } else if !skip_lock && unlocked(&guest).is_err() {
        unlocked(&guest)
    } else {
        unused_base(call.state, vmid)
    };
    let name = if is_lxc { "vzdestroy" } else { "qmdestroy" };
    Ok(call.guest_task(vmid, (name, 1), Some("destroyed"), What::Destroy { purge }, exit))
}

/// High availability and replication must let go of a guest first.
fn unreferenced(state: &State, noun: &str, vmid: u32) -> Result<(), Failure> {
    let kind = noun.to_lowercase();
    if state.objects.find("/cluster/ha/resources", &format!("{kind}:{vmid}")).is_some() {
        let text = format!(
            "unable to remove {noun} {vmid} - used in HA resources and purge parameter not set."
        );
        return Err(Failure::die(text));
    }
    let own = format!("{vmid}-");
    let mut jobs = state.objects.list("/cluster/replication");
    match jobs.find(|(id, _)| id.starts_with(&own)) {
        Some((id, _)) => Err(Failure::die(format!(
            "There is a replication job '{id}' for guest '{vmid}' - Please remove that first."
        ))),
        None => Ok(()),
    }
}

/// A template's volumes must not be the base of another guest's.
fn unused_base(state: &State, vmid: u32) -> Result<(), String> {
    let Some(guest) = state.guests.get(&vmid).filter(|guest| guest.is_template()) else {
        return Ok(());
    };
    for (_, drive) in disk::volumes(guest.config()) {
        let base = format!("{}/", drive.file);
        let others = state.guests.values().filter(|other| other.vmid != vmid);
        let mut volumes = others.flat_map(|other| disk::volumes(other.config()));
        if volumes.any(|(_, used)| used.file.starts_with(&base)) {
            return Err(format!("base volume '{}' is still in use by linked cloned", drive.file));
        }
    }
    Ok(())
}
