//! `/nodes/{node}/tasks` and `/cluster/tasks`.

use std::time::Duration;

use pve_schema::Verb;
use serde_json::{Value, json};
use telemetry::Rfc3339;

use super::{Call, Row};
use crate::failure::{Download, Failure, Outcome, Success};
use crate::state::Task;

/// Entries of a list without `limit`.
const DEFAULT_LIMIT: u64 = 50;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/tasks", in_cluster),
    (Verb::Get, "/nodes/{node}/tasks", on_node),
    (Verb::Get, "/nodes/{node}/tasks/{upid}", index),
    (Verb::Delete, "/nodes/{node}/tasks/{upid}", stop),
    (Verb::Get, "/nodes/{node}/tasks/{upid}/log", log),
    (Verb::Get, "/nodes/{node}/tasks/{upid}/status", status),
];

fn in_cluster(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let tasks = call.state.tasks.iter().filter(|task| owns(call, task));
    let mut entries: Vec<Value> = tasks.map(|task| task.entry(now)).collect();
    entries.truncate(usize::try_from(DEFAULT_LIMIT).unwrap_or(50));
    Ok(Value::Array(entries).into())
}

fn on_node(call: &mut Call<'_>) -> Outcome {
    let (now, node) = (call.now(), call.node()?.name.clone());
    let source = call.text("source").unwrap_or_else(|| "archive".to_owned());
    let user = call.text("userfilter");
    let vmid = call.text("vmid");
    let kind = call.text("typefilter");
    let matches = |entry: &Value| {
        let is = |name: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| entry[name].as_str() == Some(wanted))
        };
        is("user", &user) && is("id", &vmid) && is("type", &kind)
    };
    let tasks = call.state.tasks.iter().filter(|task| task.node == node && owns(call, task));
    let shown = tasks.filter(|task| match source.as_str() {
        "active" => task.is_running(now),
        "all" => true,
        _ => !task.is_running(now),
    });
    let entries: Vec<Value> = shown.map(|task| task.entry(now)).filter(matches).collect();
    page(call, entries)
}

fn index(call: &mut Call<'_>) -> Outcome {
    find(call)?;
    Ok(crate::format::index("name", call.matched.children()).into())
}

fn status(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    Ok(find(call)?.status(now).into())
}

fn log(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let task = find(call)?;
    let lines = task.log.clone();
    if call.flag("download") {
        let name = file_name(&task.entry(now));
        let download = Some(Box::new(Download { name, text: lines.join("\n") + "\n" }));
        return Ok(Success { download, ..Success::default() });
    }
    let numbered = lines.iter().enumerate().map(|(at, line)| json!({ "n": at + 1, "t": line }));
    let lines: Vec<Value> = numbered.collect();
    page(call, lines)
}

/// `task-NODE-TYPE-TIME.log`, the time without fractions of a second.
fn file_name(entry: &Value) -> String {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let started = entry.get("starttime").and_then(Value::as_u64).unwrap_or_default();
    let started = Rfc3339(Duration::from_secs(started)).to_string().replace(".000", "");
    format!("task-{}-{}-{started}.log", text("node"), text("type"))
}

fn stop(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let upid = find(call)?.upid.clone();
    call.state.tasks.stop(&upid, now);
    Ok(Success::default())
}

/// The part of a list that `start` and `limit` name, with the length of the whole.
fn page(call: &Call<'_>, entries: Vec<Value>) -> Outcome {
    let total = u64::try_from(entries.len()).ok();
    let start = usize::try_from(call.number("start").unwrap_or(0)).unwrap_or(usize::MAX);
    let limit = call.number("limit").unwrap_or(DEFAULT_LIMIT);
    let limit = usize::try_from(if limit == 0 { u64::MAX } else { limit }).unwrap_or(usize::MAX);
    let data: Vec<Value> = entries.into_iter().skip(start).take(limit).collect();
    Ok(Success { total, ..json!(data).into() })
}

fn find<'c>(call: &'c Call<'_>) -> Result<&'c Task, Failure> {
    let upid = call.required("upid");
    let node = call.node()?;
    let found = call.state.tasks.find(&upid).filter(|task| task.node == node.name);
    let task = found.ok_or_else(|| Failure::die("no such task"))?;
    if owns(call, task) {
        return Ok(task);
    }
    Err(Failure::permission(&format!("/nodes/{}, Sys.Audit", node.name)))
}

/// A task is seen by whoever started it, also with a token, and by auditors of its node.
fn owns(call: &Call<'_>, task: &Task) -> bool {
    let owner = call.caller.subject().map(pve_access::Subject::user);
    task.user().split('!').next() == owner
        || call.may(&format!("/nodes/{}", task.node), &["Sys.Audit"])
}
