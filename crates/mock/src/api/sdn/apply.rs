//! `/cluster/sdn` itself: what is configured begins to run, or is taken back.

use std::fmt::Write as _;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::super::{Call, Row};
use super::file::{APPLIED, RUNNING, Sections, VNETS, View, ZONES, text};
use super::lock::{locked, release_if_asked};
use crate::failure::{Outcome, Success};
use crate::format::index as index_of;
use crate::state::{Effect, Objects};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/sdn", index),
    (Verb::Put, "/cluster/sdn", apply),
    (Verb::Post, "/cluster/sdn/rollback", rollback),
    (Verb::Get, "/cluster/sdn/dry-run", dry_run),
];

/// The genuine index, a list written by hand.
const INDEX: [&str; 5] = ["vnets", "zones", "controllers", "ipams", "dns"];

fn index(_call: &mut Call<'_>) -> Outcome {
    Ok(index_of("id", INDEX).into())
}

/// Runs from here on; the nodes follow when the task has ended.
fn apply(call: &mut Call<'_>) -> Outcome {
    let mut version = 0;
    locked(call, "could not commit SDN config", |call| {
        version = commit(&mut call.state.objects);
        release_if_asked(call);
        Ok(Success::default())
    })?;
    let nodes: Vec<String> = call.state.nodes.keys().cloned().collect();
    for node in nodes {
        call.task(&node, ("srvreload", 3), "networking", Effect::Nothing, Ok(()));
    }
    let local = call.state.local.clone();
    Ok(call.task(&local, ("reloadnetworkall", 4), "", Effect::Network { version }, Ok(())))
}

/// Copies what is configured; returns the version of what runs now.
fn commit(objects: &mut Objects) -> u64 {
    let running = objects.settings(RUNNING);
    let version = running.and_then(|running| running.get("version")).and_then(Value::as_u64);
    let version = version.unwrap_or(0) + 1;
    let files: Vec<(String, Value)> = APPLIED
        .iter()
        .map(|file| (file.name.to_owned(), json!(file.configured(objects))))
        .collect();
    let running = objects.settings_mut(RUNNING);
    running.insert("version".to_owned(), json!(version));
    running.extend(files);
    version
}

fn rollback(call: &mut Call<'_>) -> Outcome {
    locked(call, "could not rollback SDN configuration", |call| {
        let objects = &mut call.state.objects;
        for file in APPLIED {
            let running = file.running(objects);
            let gone: Vec<String> = file
                .configured(objects)
                .into_keys()
                .filter(|id| !running.contains_key(id))
                .collect();
            gone.iter().for_each(|id| drop(objects.remove(file.at, id)));
            running.into_iter().for_each(|(id, fields)| objects.insert(file.at, &id, fields));
        }
        release_if_asked(call);
        Ok(Success::default())
    })
}

/// What would change in the file of virtual networks of a node.
fn dry_run(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let objects = &call.state.objects;
    let text =
        |view| interfaces(&node, &ZONES.sections(objects, view), &VNETS.sections(objects, view));
    let (before, after) = (text(View::Running), text(View::Configured));
    let mut answer = json!({});
    if before != after {
        crate::object::set(&mut answer, "interfaces-diff", difference(&before, &after));
    }
    Ok(answer.into())
}

/// The bridges of the zones that reach the node.
fn interfaces(node: &str, zones: &Sections, vnets: &Sections) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, vnet) in vnets {
        let zone = text(vnet, "zone").and_then(|zone| zones.get(zone));
        if !zone.is_some_and(|zone| super::node::reaches(zone, node)) {
            continue;
        }
        lines.extend([String::new(), format!("auto {id}"), format!("iface {id}")]);
        lines.push("\tbridge_stp off".to_owned());
        lines.push("\tbridge_fd 0".to_owned());
        for (option, of) in [("mtu", zone), ("alias", Some(vnet))] {
            if let Some(value) = of.and_then(|section| section.get(option)) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                lines.push(format!("\t{option} {value}"));
            }
        }
    }
    lines
}

/// A unified difference that takes all lines out and puts all in, which is one, if not the
/// shortest.
fn difference(before: &[String], after: &[String]) -> String {
    let file = "/etc/network/interfaces.d/sdn";
    let start = |lines: &[String]| usize::from(!lines.is_empty());
    let mut text = format!(
        "--- {file}\n+++ {file}\n@@ -{},{} +{},{} @@\n",
        start(before),
        before.len(),
        start(after),
        after.len()
    );
    before.iter().for_each(|line| _ = writeln!(text, "-{line}"));
    after.iter().for_each(|line| _ = writeln!(text, "+{line}"));
    text
}
