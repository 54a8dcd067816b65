//! Backup jobs, and which guests no job covers.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::object::{extend, set};
use crate::state::{Fields, Guest, disk, random_uuid};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/backup", list),
    (Verb::Post, "/cluster/backup", create),
    (Verb::Get, "/cluster/backup/{id}", show),
    (Verb::Put, "/cluster/backup/{id}", update),
    (Verb::Delete, "/cluster/backup/{id}", existing),
    (Verb::Get, "/cluster/backup/{id}/included_volumes", included),
    (Verb::Get, "/cluster/backup-info/not-backed-up", uncovered),
];

const JOBS: &str = "/cluster/backup";
/// Parameters that root alone may give.
const ROOT_ONLY: [&str; 3] = ["tmpdir", "dumpdir", "script"];
const DAY: u64 = 86_400;

fn list(call: &mut Call<'_>) -> Outcome {
    let now = call.now().as_secs();
    let jobs = call.state.objects.list(JOBS);
    Ok(jobs.map(|(id, job)| entry(id, job, now)).collect::<Value>().into())
}

fn entry(id: &str, job: &Fields, now: u64) -> Value {
    let mut entry = json!({ "enabled": 1, "type": "vzdump" });
    extend(&mut entry, json!(job));
    set(&mut entry, "id", id);
    if job.get("enabled").is_none_or(|enabled| *enabled == json!(1)) {
        // Without a calendar of its own the mock says the next midnight (UTC).
        set(&mut entry, "next-run", (now / DAY + 1) * DAY);
    }
    entry
}

fn show(call: &mut Call<'_>) -> Outcome {
    let now = call.now().as_secs();
    let (id, job) = find(call)?;
    Ok(entry(&id, job, now).into())
}

fn find<'c>(call: &'c Call<'_>) -> Result<(String, &'c Fields), Failure> {
    let id = call.required("id");
    match call.state.objects.find(JOBS, &id) {
        Some(job) => Ok((id, job)),
        None => Err(Failure::parameter("id", &format!("No such job '{id}'"))),
    }
}

fn create(call: &mut Call<'_>) -> Outcome {
    restricted(call)?;
    if call.text("id").is_none() {
        let random = random_uuid();
        let id =
            format!("backup-{}-{}", random.get(..8).unwrap_or(""), random.get(9..13).unwrap_or(""));
        call.parameters.insert("id".to_owned(), json!(id));
    }
    if call.text("schedule").is_none() {
        let start = call.text("starttime").unwrap_or_else(|| "00:00".to_owned());
        let schedule = call.text("dow").map_or(start.clone(), |days| format!("{days} {start}"));
        call.parameters.insert("schedule".to_owned(), json!(schedule));
    }
    call.parameters.remove("starttime");
    call.parameters.remove("dow");
    super::generic::answer(call)
}

fn update(call: &mut Call<'_>) -> Outcome {
    find(call)?;
    restricted(call)?;
    super::generic::answer(call)
}

fn existing(call: &mut Call<'_>) -> Outcome {
    find(call)?;
    super::generic::answer(call)
}

fn restricted(call: &Call<'_>) -> Result<(), Failure> {
    let given = ROOT_ONLY.iter().find(|name| call.text(name).is_some());
    match given {
        Some(name) if call.caller.id() != "root@pam" => {
            Err(Failure::parameter(name, "Only root may set this option."))
        }
        _ => Ok(()),
    }
}

/// Whether the job takes the guest with it: by list, by pool, or all but some.
fn covers(call: &Call<'_>, job: &Fields, guest: &Guest) -> bool {
    let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default();
    let names = |key: &str| {
        let id = guest.vmid.to_string();
        text(key).split([',', ';', ' ']).any(|one| one == id)
    };
    if !text("node").is_empty() && text("node") != guest.node {
        return false;
    }
    let pool = call.state.accounts.config().pool_of(u64::from(guest.vmid));
    let all = job.get("all").is_some_and(|all| *all == json!(1));
    names("vmid")
        || (!text("pool").is_empty() && pool == Some(text("pool")))
        || (all && !names("exclude"))
}

fn included(call: &mut Call<'_>) -> Outcome {
    let (_, job) = find(call)?;
    let guests = call.state.guests.values().filter(|guest| covers(call, job, guest));
    let children = guests.map(|guest| {
        let volumes: Vec<Value> = disk::volumes(guest.config())
            .map(|(key, drive)| {
                let excluded = drive.options.get("backup").is_some_and(|flag| flag == "0");
                let reason = if excluded { "disabled" } else { "enabled" };
                json!({ "id": key, "name": drive.file, "included": !excluded, "reason": reason })
            })
            .collect();
        json!({
            "id": guest.vmid, "name": guest.name(), "type": guest.kind_name(), "children": volumes,
        })
    });
    Ok(json!({ "children": children.collect::<Vec<_>>() }).into())
}

fn uncovered(call: &mut Call<'_>) -> Outcome {
    let jobs: Vec<&Fields> = call.state.objects.list(JOBS).map(|(_, job)| job).collect();
    let guests = call.state.guests.values();
    let open = guests.filter(|guest| !jobs.iter().any(|job| covers(call, job, guest)));
    let seen = open.filter(|guest| call.may(&format!("/vms/{}", guest.vmid), &["VM.Audit"]));
    let entries = seen.map(
        |guest| json!({ "vmid": guest.vmid, "name": guest.name(), "type": guest.kind_name() }),
    );
    Ok(entries.collect::<Value>().into())
}
