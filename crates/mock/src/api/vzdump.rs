//! `/nodes/{node}/vzdump`: a backup as a task, and the archive it leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use pve_schema::Verb;
use serde_json::json;

use super::content::{Place, keep};
use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::seed::GuestKind;
use crate::state::{Effect, Guest, Spawn, TaskKind, Volume, VolumeKind};

pub(super) const ROWS: &[Row] = &[(Verb::Post, "/nodes/{node}/vzdump", backup)];

const BACKUP: TaskKind = TaskKind { name: "vzdump", takes: Duration::from_secs(5) };
/// Options that only `root@pam` may set (`assert_param_permission_common`).
const ROOT_ONLY: [&str; 4] = ["tmpdir", "dumpdir", "script", "job-id"];
const NEED_MODIFY: [&str; 3] = ["bwlimit", "ionice", "performance"];
/// How much smaller an archive is than the disks it holds.
const SHRINK: u64 = 4;
const DAY: u64 = 86_400;

fn backup(call: &mut Call<'_>) -> Outcome {
    check(call)?;
    let node = call.node()?.name.clone();
    let all = call.flag("all") || call.parameters.contains_key("exclude");
    let here = chosen(call, &node, all);
    // Guests of other nodes are left to them; a call that is about none of ours ends silently.
    if here.is_empty() && !all {
        return Ok(json!("OK").into());
    }
    let (mut lines, mut failed) = (vec![job_line(call)], Vec::new());
    for vmid in &here {
        match archive(call, *vmid) {
            Ok(mut more) => lines.append(&mut more),
            Err(text) => {
                lines.push(format!("ERROR: Backup of VM {vmid} failed - {text}"));
                failed.push(*vmid);
            }
        }
    }
    lines.push(
        "INFO: Backup job finished".to_owned()
            + if failed.is_empty() { " successfully" } else { " with errors" },
    );
    let exit = if failed.is_empty() { Ok(()) } else { Err("job errors".to_owned()) };
    let id = match here.as_slice() {
        [one] => one.to_string(),
        _ => String::new(),
    };
    let (now, user) = (call.now(), call.caller.id().to_owned());
    let spawn =
        Spawn { node: &node, kind: BACKUP, id: &id, user: &user, effect: Effect::Nothing, exit };
    let upid = call.state.tasks.spawn(now, call.shared.time_scale(), spawn);
    call.state.tasks.explain(&upid, lines);
    Ok(json!(upid).into())
}

/// The checks before the task.
fn check(call: &Call<'_>) -> Result<(), Failure> {
    let given = |name: &str| call.parameters.contains_key(name);
    let any = |names: &[&str]| names.iter().copied().any(given);
    let root = call.caller.subject().is_some_and(pve_access::Subject::is_root);
    if let Some(name) = ROOT_ONLY.iter().find(|name| given(name)).filter(|_| !root) {
        return Err(Failure::parameter(name, "Only root may set this option."));
    }
    if any(&NEED_MODIFY) && !call.may("/", &["Sys.Modify"]) {
        return Err(Failure::permission("/, Sys.Modify"));
    }
    let path = format!("/storage/{}", call.text("storage").unwrap_or_else(|| "local".to_owned()));
    if any(&["maxfiles", "prune-backups"]) && !call.may(&path, &["Datastore.Allocate"]) {
        return Err(Failure::permission(&format!("{path}, Datastore.Allocate")));
    }
    for other in ["all", "exclude", "pool"] {
        if given(other) && given("vmid") {
            return Err(Failure::parameter(other, "option conflicts with option 'vmid'"));
        }
    }
    if !any(&["vmid", "all", "pool", "exclude"]) {
        return Err(Failure::parameter("vmid", "property is missing and it is not optional"));
    }
    Ok(())
}

/// Guests of this node that the call names, and those that exist nowhere: they fail visibly.
fn chosen(call: &Call<'_>, node: &str, all: bool) -> Vec<u32> {
    let excluded: BTreeSet<u32> = numbers(&call.list("exclude")).collect();
    let guests = &call.state.guests;
    let here = |vmid: &u32| guests.get(vmid).is_some_and(|guest| guest.node == node);
    let named: BTreeSet<u32> = if let Some(pool) = call.text("pool") {
        let pool = call.state.accounts.config().pools.get(&pool);
        let members = pool.into_iter().flat_map(|pool| pool.vms.iter());
        members.filter_map(|vmid| u32::try_from(*vmid).ok()).filter(here).collect()
    } else if all {
        guests.keys().copied().filter(here).collect()
    } else {
        let named = call.list("vmid");
        numbers(&named).filter(|vmid| here(vmid) || !guests.contains_key(vmid)).collect()
    };
    named.difference(&excluded).copied().collect()
}

fn numbers(list: &[String]) -> impl Iterator<Item = u32> + '_ {
    list.iter().filter_map(|text| text.parse().ok())
}

fn job_line(call: &Call<'_>) -> String {
    let shown =
        call.parameters.iter().filter(|(name, _)| !["node", "vmid"].contains(&name.as_str()));
    let shown: String =
        shown.filter_map(|(name, _)| Some(format!(" --{name} {}", call.text(name)?))).collect();
    format!("INFO: starting new backup job: vzdump {}{shown}", call.list("vmid").join(" "))
}

/// Leaves the archive of one guest; the lines are those of its log.
fn archive(call: &mut Call<'_>, vmid: u32) -> Result<Vec<String>, String> {
    let said = |failure: Failure| failure.message().trim_end().to_owned();
    if !call.may(&format!("/vms/{vmid}"), &["VM.Backup"]) {
        return Err(format!("Permission check failed (/vms/{vmid}, VM.Backup)"));
    }
    let Some(guest) = call.state.guests.get(&vmid) else {
        return Err(format!("unable to find VM '{vmid}'"));
    };
    let storage = call.text("storage").unwrap_or_else(|| "local".to_owned());
    let place = Place::of(call, &storage).map_err(said)?;
    let holds = call
        .state
        .storages
        .get(&storage)
        .is_some_and(|known| known.content.split(',').any(|kind| kind == "backup"));
    if !holds {
        return Err(format!("storage '{storage}' does not support backups"));
    }
    let (kind, ending) = match guest.kind {
        GuestKind::Qemu => ("qemu", "vma"),
        GuestKind::Lxc => ("lxc", "tar"),
    };
    let compression = match call.text("compress").as_deref() {
        Some("zstd") => ".zst",
        Some("gzip") => ".gz",
        Some("lzo" | "1") => ".lzo",
        _ => "",
    };
    let begun = call.now();
    let stamp = stamp(begun.as_secs());
    let name = format!("backup/vzdump-{kind}-{vmid}-{stamp}.{ending}{compression}");
    let volume_kind = VolumeKind::in_directory(&name).ok_or("unexpected archive name")?;
    let disks: u64 =
        crate::state::disk::volumes(guest.config()).map(|(_, disk)| disk.bytes()).sum();
    let shown = guest.name().into_owned();
    // A restore makes neither snapshots nor pending changes.
    let archived = Guest::with_config(vmid, guest.kind, guest.node.clone(), guest.config().clone());
    let ends = begun + BACKUP.takes.mul_f64(call.shared.time_scale());
    let mut volume = Volume::new(volume_kind, (disks / SHRINK).max(1), ends);
    volume.protected = call.flag("protected");
    volume.archived = Some(Box::new(archived));
    let template = call.text("notes-template").unwrap_or_else(|| "{{guestname}}".to_owned());
    let notes = template.replace("{{guestname}}", &shown).replace("{{vmid}}", &vmid.to_string());
    volume.notes = Some(notes.replace("{{node}}", &call.required("node")));
    keep(call, &place, name.clone(), volume).map_err(said)?;
    Ok(vec![
        format!("INFO: Starting Backup of VM {vmid} ({kind})"),
        format!("INFO: VM Name: {shown}"),
        format!("INFO: creating vzdump archive '{storage}:{name}'"),
        format!("INFO: Finished Backup of VM {vmid}"),
    ])
}

/// `2026_11_20-22_48_36`, the time in the name of an archive.
pub(super) fn stamp(unix: u64) -> String {
    let date = telemetry::HttpDate(unix / DAY * DAY).to_string();
    let mut words = date.split(' ').skip(1);
    let day = words.next().unwrap_or_default();
    let month = words.next().unwrap_or_default();
    let year = words.next().unwrap_or_default();
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(month).unwrap_or(0) / 3 + 1;
    let (hour, minute, second) = (unix % DAY / 3600, unix / 60 % 60, unix % 60);
    format!("{year}_{month:02}_{day}-{hour:02}_{minute:02}_{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_named_by_their_time() {
        assert_eq!(stamp(0x6B00_CE44), "2026_11_20-22_48_36");
        assert_eq!(stamp(951_782_400), "2000_02_29-00_00_00");
    }
}
