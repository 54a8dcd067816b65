//! One task for many guests of a node.

use pve_schema::Verb;

use super::{Call, Row, migrate};
use crate::failure::{Failure, Outcome};
use crate::state::{Change, Effect, Guest, What};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Post, "/nodes/{node}/startall", start),
    (Verb::Post, "/nodes/{node}/stopall", stop),
    (Verb::Post, "/nodes/{node}/suspendall", suspend),
    (Verb::Post, "/nodes/{node}/migrateall", relocate),
];

/// Guests that start with the node, or with `force` and a list all of those.
fn start(call: &mut Call<'_>) -> Outcome {
    let force = call.flag("force");
    let wanted = |guest: &Guest| !guest.is_running() && (force || guest.flag("onboot"));
    bulk(call, "startall", wanted, |_| What::Run(true))
}

fn stop(call: &mut Call<'_>) -> Outcome {
    bulk(call, "stopall", Guest::is_running, |_| What::Run(false))
}

fn suspend(call: &mut Call<'_>) -> Outcome {
    let wanted = |guest: &Guest| guest.is_running() && guest.kind_name() == "qemu";
    bulk(call, "suspendall", wanted, |_| What::Hibernate)
}

fn relocate(call: &mut Call<'_>) -> Outcome {
    let target = call.required("target");
    if target == call.node()?.name {
        return Err(Failure::parameter("target", "target is local node."));
    }
    migrate::known_node(call.state, &target)?;
    bulk(call, "migrateall", |_| true, |_| What::Move { node: target.clone() })
}

fn bulk(
    call: &mut Call<'_>,
    name: &'static str,
    wanted: impl Fn(&Guest) -> bool,
    what: impl Fn(&Guest) -> What,
) -> Outcome {
    let node = call.node()?.name.clone();
    let only = call.list("vms");
    let here = call.state.guests.values().filter(|guest| {
        let listed = only.is_empty() || only.contains(&guest.vmid.to_string());
        guest.node == node && listed && !guest.is_template() && guest.lock().is_none()
    });
    let changes = here
        .filter(|guest| wanted(guest))
        .map(|guest| Change { vmid: guest.vmid, what: what(guest) })
        .collect();
    Ok(call.task(&node, (name, 5), "", Effect::Guests(changes), Ok(())))
}
