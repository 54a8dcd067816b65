//! `/nodes/{node}/storage/{storage}/prunebackups`: which backups a policy keeps
//! (`PVE::Storage::Plugin::prune_mark_backup_group`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::content::{self, Place};
use super::vzdump::stamp;
use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::object::set_some;
use crate::state::TaskKind;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/storage/{storage}/prunebackups", preview),
    (Verb::Delete, "/nodes/{node}/storage/{storage}/prunebackups", prune),
];

const PRUNE: TaskKind = TaskKind { name: "prunebackups", takes: Duration::from_secs(1) };
const DAY: u64 = 86_400;

/// Names the period that a backup is the last of.
type Period = fn(u64) -> String;

/// Kinds of periods in the order they choose.
const PERIODS: [(&str, Period); 6] = [
    ("keep-last", |time| time.to_string()),
    ("keep-hourly", |time| part(time, 13)),
    ("keep-daily", |time| part(time, 10)),
    // Weeks begin on Monday; the count of days began on a Thursday.
    ("keep-weekly", |time| ((time / DAY + 3) / 7).to_string()),
    ("keep-monthly", |time| part(time, 7)),
    ("keep-yearly", |time| part(time, 4)),
];

fn part(time: u64, length: usize) -> String {
    stamp(time).get(..length).unwrap_or_default().to_owned()
}

/// A backup and what is to become of it.
struct Backup {
    name: String,
    kind: &'static str,
    vmid: Option<u32>,
    time: u64,
    mark: Option<&'static str>,
}

/// The policy of the call, or the storage's own.
fn policy(call: &Call<'_>, storage: &str) -> Result<BTreeMap<String, usize>, Failure> {
    let kept = call.state.objects.find("/storage", storage);
    let kept = kept.and_then(|fields| fields.get("prune-backups")?.as_str());
    let text = call.text("prune-backups").or_else(|| kept.map(str::to_owned));
    let text = text.ok_or_else(|| {
        Failure::die(format!("no prune-backups options configured for storage '{storage}'"))
    })?;
    let parts = text.split(',').filter_map(|part| part.split_once('='));
    Ok(parts.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect())
}

fn marked(call: &Call<'_>, place: &Place) -> Result<Vec<Backup>, Failure> {
    let policy = policy(call, &place.storage)?;
    let (now, vmid, wanted) = (call.now(), call.number("vmid"), call.text("type"));
    let mut groups: BTreeMap<(&str, Option<u32>), Vec<Backup>> = BTreeMap::new();
    for (name, volume) in call.state.volumes.list(&place.storage, &place.owner) {
        let kind = if name.contains("/vzdump-lxc-") { "lxc" } else { "qemu" };
        let of_guest = vmid.is_none_or(|vmid| volume.kind.vmid.map(u64::from) == Some(vmid));
        let of_kind = wanted.as_deref().is_none_or(|wanted| wanted == kind);
        if volume.kind.content != "backup" || volume.since > now || !of_guest || !of_kind {
            continue;
        }
        let mark = match volume.kind.vmid {
            None => Some("renamed"),
            Some(_) => volume.protected.then_some("protected"),
        };
        let (name, time) = (name.to_owned(), volume.since.as_secs());
        let backup = Backup { name, kind, vmid: volume.kind.vmid, time, mark };
        groups.entry((kind, backup.vmid)).or_default().push(backup);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|backup| std::cmp::Reverse(backup.time));
        decide(group, &policy);
    }
    Ok(groups.into_values().flatten().collect())
}

/// Newest first. A period whose backup is kept already counts for none.
fn decide(group: &mut [Backup], policy: &BTreeMap<String, usize>) {
    let all = policy.get("keep-all").is_some_and(|flag| *flag == 1) || policy.is_empty();
    for (name, period) in PERIODS {
        let count = policy.get(name).copied().unwrap_or(0);
        let kept = group.iter().filter(|backup| backup.mark == Some("keep"));
        let before: BTreeSet<String> = kept.map(|backup| period(backup.time)).collect();
        let mut new: BTreeSet<String> = BTreeSet::new();
        for backup in group.iter_mut().filter(|backup| backup.mark.is_none()) {
            let id = period(backup.time);
            if before.contains(&id) || new.contains(&id) {
                continue;
            }
            if new.len() >= count {
                break;
            }
            new.insert(id);
            backup.mark = Some("keep");
        }
    }
    for backup in group {
        backup.mark.get_or_insert(if all { "keep" } else { "remove" });
    }
}

fn row(place: &Place, backup: &Backup) -> Value {
    let mut row = json!({
        "volid": format!("{}:{}", place.storage, backup.name), "type": backup.kind,
        "ctime": backup.time, "mark": backup.mark,
    });
    set_some(&mut row, "vmid", backup.vmid);
    row
}

fn preview(call: &mut Call<'_>) -> Outcome {
    let place = Place::of(call, &call.required("storage"))?;
    Ok(marked(call, &place)?.iter().map(|backup| row(&place, backup)).collect::<Value>().into())
}

fn prune(call: &mut Call<'_>) -> Outcome {
    let storage = call.required("storage");
    let path = format!("/storage/{storage}");
    let id = match call.number("vmid") {
        Some(vmid) => {
            call.needs(&path, "Datastore.AllocateSpace")?;
            call.needs(&format!("/vms/{vmid}"), "VM.Backup")?;
            format!("{vmid}@{storage}")
        }
        None => {
            call.needs(&path, "Datastore.Allocate")?;
            storage.clone()
        }
    };
    let place = Place::of(call, &storage)?;
    let backups = marked(call, &place)?;
    let gone = backups.iter().filter(|backup| backup.mark == Some("remove"));
    for backup in gone {
        call.state.volumes.remove(&place.storage, &place.owner, &backup.name);
    }
    let lines = backups.iter().map(|backup| {
        format!("{} {}:{}", backup.mark.unwrap_or_default(), place.storage, backup.name)
    });
    let lines = lines.collect();
    Ok(json!(content::spawn(call, &place, PRUNE, &id, Ok(()), lines)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(times: &[u64], policy: &[(&str, usize)]) -> Vec<u64> {
        let backup = |time: &u64| Backup {
            name: String::new(),
            kind: "qemu",
            vmid: Some(100),
            time: *time,
            mark: None,
        };
        let mut group: Vec<Backup> = times.iter().map(backup).collect();
        group.sort_by_key(|backup| std::cmp::Reverse(backup.time));
        decide(&mut group, &policy.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect());
        group.iter().filter(|one| one.mark == Some("keep")).map(|one| one.time).collect()
    }

    #[test]
    fn each_period_keeps_its_newest() {
        let hours: Vec<u64> = (0..72).map(|hour| 1_795_219_200 + hour * 3600).collect();
        let last = 1_795_219_200 + 71 * 3600;
        assert_eq!(kept(&hours, &[("keep-last", 2)]), [last, last - 3600]);
        assert_eq!(kept(&hours, &[("keep-daily", 2)]), [last, last - DAY]);
        // The day of the last one is taken care of.
        assert_eq!(
            kept(&hours, &[("keep-last", 1), ("keep-daily", 2)]),
            [last, last - DAY, last - 2 * DAY]
        );
        assert_eq!(kept(&hours, &[("keep-all", 1)]).len(), 72);
        assert_eq!(kept(&hours, &[]).len(), 72);
    }
}
