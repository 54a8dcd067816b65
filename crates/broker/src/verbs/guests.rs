//! CPU of guests, from their control groups: PVE's own figures are ten seconds old.
//!
//! Machines are `qemu.slice/VMID.scope`, containers `lxc/VMID` (or `lxc.payload.VMID`), below
//! `/sys/fs/cgroup` (cgroup v2, `cpu.stat`: microseconds).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use broker_api::Refusal;
use serde_json::{Map, Value, json};

use super::routes::call;
use crate::limits::GUESTS;
use crate::serve::{Emitter, Gone};
use crate::worker::WorkerKind;

/// Microseconds of CPU that each guest has used so far.
pub(super) fn read(root: &Path) -> Value {
    let group = root.join("sys/fs/cgroup");
    let mut used = Map::new();
    let places = [("qemu.slice", "", ".scope"), ("lxc", "", ""), ("", "lxc.payload.", "")];
    for (folder, before, after) in places {
        let entries = std::fs::read_dir(group.join(folder)).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix(before)?.strip_suffix(after));
            let Some(id) = id.filter(|id| is_vmid(id)) else { continue };
            let stat = std::fs::read_to_string(entry.path().join("cpu.stat"));
            let micros = stat.ok().and_then(|text| usage(&text));
            if let Some(micros) = micros
                && used.len() < GUESTS
            {
                used.insert(id.to_owned(), json!(micros));
            }
        }
    }
    json!({"usage_us": used})
}

fn usage(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
}

fn is_vmid(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// One answer for each sample; the first is taken one interval after the request.
pub(super) async fn stream(
    emitter: &mut Emitter<'_>,
    params: &Map<String, Value>,
) -> Result<Result<Value, Refusal>, Gone> {
    let number =
        |name: &str, otherwise| params.get(name).and_then(Value::as_u64).unwrap_or(otherwise);
    let samples = number("samples", 1);
    let interval = Duration::from_millis(number("interval_ms", 1000));
    let shared = emitter.shared();
    let sample = || async {
        let value = call(shared, WorkerKind::Reader, "guests.cpu", &Map::new()).await?;
        Ok::<_, Refusal>((shared.clock().monotonic(), counts(&value)))
    };
    let mut before = match sample().await {
        Ok(before) => before,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for left in (0..samples).rev() {
        emitter.wait(tokio::time::sleep(interval)).await?;
        let now = match sample().await {
            Ok(now) => now,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let value = between(&before, &now);
        if left == 0 {
            return Ok(Ok(value));
        }
        emitter.more(&value).await?;
        before = now;
    }
    Ok(Ok(json!({"guests": {}})))
}

type Sample = (Duration, BTreeMap<String, u64>);

fn counts(value: &Value) -> BTreeMap<String, u64> {
    let used = value.get("usage_us").and_then(Value::as_object);
    let row = |(id, micros): (&String, &Value)| Some((id.clone(), micros.as_u64()?));
    used.into_iter().flatten().filter_map(row).collect()
}

/// Cores in use on average. A guest that was not there before, or began anew, is left out once.
fn between(before: &Sample, now: &Sample) -> Value {
    let micros = now.0.saturating_sub(before.0).as_micros();
    let guest = |(id, used): (&String, &u64)| {
        let used = used.checked_sub(*before.1.get(id)?)?;
        let span = u32::try_from(micros).ok().filter(|span| *span > 0)?;
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        Some((id.clone(), json!({"cores": f64::from(used) / f64::from(span)})))
    };
    let guests: Map<String, Value> = now.1.iter().filter_map(guest).collect();
    let span = u64::try_from(micros / 1000).unwrap_or(u64::MAX);
    json!({"guests": guests, "span_ms": span})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_and_containers_as_pve_names_them() {
        let root = tempfile::tempdir().unwrap();
        for (path, micros) in [
            ("qemu.slice/100.scope", "5"),
            ("lxc/101", "7"),
            ("lxc.payload.102", "9"),
            ("lxc.monitor/101", "1"),
            ("qemu.slice/x.scope", "1"),
            ("system.slice/103", "1"),
        ] {
            let group = root.path().join("sys/fs/cgroup").join(path);
            std::fs::create_dir_all(&group).unwrap();
            std::fs::write(group.join("cpu.stat"), format!("usage_usec {micros}\nuser_usec 1\n"))
                .unwrap();
        }
        assert_eq!(read(root.path()), json!({"usage_us": {"100": 5, "101": 7, "102": 9}}));
    }

    #[test]
    fn cores_in_use_between_two_samples() {
        let sample = |at, rows: &[(&str, u64)]| {
            (Duration::from_millis(at), rows.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect())
        };
        let value = between(
            &sample(0, &[("1", 100), ("2", 500)]),
            &sample(500, &[("1", 250_100), ("2", 4), ("3", 9)]),
        );
        assert_eq!(value, json!({"guests": {"1": {"cores": 0.5}}, "span_ms": 500}));
    }
}
