//! `/cluster/bulk-action/guest`: one task for guests of all nodes.

use pve_schema::Verb;
use serde_json::Value;

use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::state::{Change, Effect, Guest, What};

pub(super) const ROWS: &[Row] = &[
    (Verb::Post, "/cluster/bulk-action/guest/start", start),
    (Verb::Post, "/cluster/bulk-action/guest/shutdown", shutdown),
    (Verb::Post, "/cluster/bulk-action/guest/suspend", suspend),
    (Verb::Post, "/cluster/bulk-action/guest/migrate", migrate),
];

fn start(call: &mut Call<'_>) -> Outcome {
    act(call, "bulkstart", "VM.PowerMgmt", |guest| {
        (!guest.is_running() && !guest.is_template()).then_some(What::Run(true))
    })
}

fn shutdown(call: &mut Call<'_>) -> Outcome {
    act(call, "bulkshutdown", "VM.PowerMgmt", |guest| {
        guest.is_running().then_some(What::Run(false))
    })
}

fn suspend(call: &mut Call<'_>) -> Outcome {
    let to_disk = call.flag("to-disk");
    act(call, "bulksuspend", "VM.PowerMgmt", move |guest| {
        let what = if to_disk { What::Hibernate } else { What::Pause(true) };
        (guest.is_running() && guest.kind_name() == "qemu").then_some(what)
    })
}

fn migrate(call: &mut Call<'_>) -> Outcome {
    let target = call.required("target");
    if !call.state.nodes.contains_key(&target) {
        return Err(Failure::die(format!("no such cluster node '{target}'")));
    }
    act(call, "bulkmigrate", "VM.Migrate", move |guest| {
        (guest.node != target).then(|| What::Move { node: target.clone() })
    })
}

/// The ids of the list; all guests without one.
fn listed(call: &Call<'_>) -> Option<Vec<u32>> {
    let list = match call.parameters.get("vms")? {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let number = |one: &Value| one.as_u64().map_or_else(|| one.as_str()?.parse().ok(), Some);
    Some(list.iter().filter_map(number).filter_map(|id| u32::try_from(id).ok()).collect())
}

fn act(
    call: &mut Call<'_>,
    name: &'static str,
    privilege: &str,
    what: impl Fn(&Guest) -> Option<What>,
) -> Outcome {
    let listed = listed(call);
    let everywhere = call.may("/", &[privilege]);
    match &listed {
        None if !everywhere => return Err(Failure::permission(&format!("/, {privilege}"))),
        Some(ids) if !everywhere => {
            ids.iter().try_for_each(|id| call.needs(&format!("/vms/{id}"), privilege))?;
        }
        _ => {}
    }
    let guests = call.state.guests.values().filter(|guest| {
        listed.as_ref().is_none_or(|ids| ids.contains(&guest.vmid)) && guest.lock().is_none()
    });
    let changes = guests.filter_map(|guest| Some(Change { vmid: guest.vmid, what: what(guest)? }));
    let effect = Effect::Guests(changes.collect());
    let node = call.state.local.clone();
    Ok(call.task(&node, (name, 5), "", effect, Ok(())))
}
