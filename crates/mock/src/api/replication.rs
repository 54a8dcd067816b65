//! Replication jobs: kept, listed, never run.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::object::{extend, set};
use crate::state::{Effect, Fields};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/replication", list),
    (Verb::Post, "/cluster/replication", change),
    (Verb::Get, "/cluster/replication/{id}", show),
    (Verb::Put, "/cluster/replication/{id}", change),
    (Verb::Delete, "/cluster/replication/{id}", change),
    (Verb::Get, "/nodes/{node}/replication", on_node),
    (Verb::Get, "/nodes/{node}/replication/{id}/status", status),
    (Verb::Get, "/nodes/{node}/replication/{id}/log", log),
    (Verb::Post, "/nodes/{node}/replication/{id}/schedule_now", schedule_now),
];

const JOBS: &str = "/cluster/replication";

/// The guest and the number in `100-0`.
fn parts(id: &str) -> (u32, u32) {
    let (guest, number) = id.split_once('-').unwrap_or((id, ""));
    (guest.parse().unwrap_or(0), number.parse().unwrap_or(0))
}

fn entry(call: &Call<'_>, id: &str, fields: &Fields) -> Value {
    let (guest, number) = parts(id);
    let mut entry = json!({ "id": id, "type": "local", "guest": guest, "jobnum": number });
    if let Some(guest) = call.state.guests.get(&guest) {
        set(&mut entry, "source", guest.node.clone());
        set(&mut entry, "vmtype", guest.kind_name());
    }
    extend(&mut entry, json!(fields));
    entry
}

fn list(call: &mut Call<'_>) -> Outcome {
    let jobs = call.state.objects.list(JOBS);
    let seen = jobs.filter(|(id, _)| call.may(&format!("/vms/{}", parts(id).0), &["VM.Audit"]));
    Ok(seen.map(|(id, fields)| entry(call, id, fields)).collect::<Value>().into())
}

fn find<'c>(call: &'c Call<'_>) -> Result<(String, &'c Fields), Failure> {
    let id = call.required("id");
    match call.state.objects.find(JOBS, &id) {
        Some(fields) => Ok((id, fields)),
        None => Err(Failure::die(format!("no such replication job '{id}'"))),
    }
}

fn show(call: &mut Call<'_>) -> Outcome {
    call.needs(&format!("/vms/{}", parts(&call.required("id")).0), "VM.Audit")?;
    let (id, fields) = find(call)?;
    Ok(entry(call, &id, fields).into())
}

fn change(call: &mut Call<'_>) -> Outcome {
    let guest = parts(&call.required("id")).0;
    needs_replicate(call, guest)?;
    if call.method.verb() == Verb::Post {
        let Some(found) = call.state.guests.get(&guest) else {
            return Err(Failure::die(format!("guest '{guest}' does not exist")));
        };
        let target = call.required("target");
        if !call.state.nodes.contains_key(&target) {
            return Err(Failure::die(format!("no such cluster node '{target}'")));
        }
        if found.node == target {
            return Err(Failure::die(format!("unable to replicate to itself: '{target}'")));
        }
    }
    super::generic::answer(call)
}

fn on_node(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let wanted = call.number("guest");
    let jobs = call.state.objects.list(JOBS).filter(|(id, _)| {
        let (vmid, _) = parts(id);
        let here = call.state.guests.get(&vmid).is_some_and(|guest| guest.node == node);
        here && wanted.is_none_or(|wanted| wanted == u64::from(vmid))
            && call.may(&format!("/vms/{vmid}"), &["VM.Audit"])
    });
    let entries = jobs.map(|(id, fields)| with_status(call, id, fields));
    Ok(entries.collect::<Value>().into())
}

fn with_status(call: &Call<'_>, id: &str, fields: &Fields) -> Value {
    let mut entry = entry(call, id, fields);
    // The next quarter of an hour: the schedule of a job that names none.
    let next = (call.now().as_secs() / 900 + 1) * 900;
    extend(
        &mut entry,
        json!({ "fail_count": 0, "last_sync": 0, "last_try": 0, "duration": 0, "next_sync": next }),
    );
    entry
}

fn status(call: &mut Call<'_>) -> Outcome {
    call.needs(&format!("/vms/{}", parts(&call.required("id")).0), "VM.Audit")?;
    let (id, fields) = find(call)?;
    Ok(with_status(call, &id, fields).into())
}

/// A job that never ran has said nothing.
fn log(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    call.needs(&format!("/vms/{}", parts(&call.required("id")).0), "VM.Audit")?;
    find(call)?;
    Ok(Success { total: Some(1), ..json!([{ "n": 1, "t": "no content" }]).into() })
}

/// Release 8 has no such privilege; there the schema's expression decides alone.
fn needs_replicate(call: &Call<'_>, guest: u32) -> Result<(), Failure> {
    match call.state.accounts.release() {
        pve_access::Release::V8 => Ok(()),
        pve_access::Release::V9 => call.needs(&format!("/vms/{guest}"), "VM.Replicate"),
    }
}

fn schedule_now(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let (id, _) = find(call)?;
    needs_replicate(call, parts(&id).0)?;
    Ok(call.task(&node, ("replication", 1), &id, Effect::Nothing, Ok(())))
}
