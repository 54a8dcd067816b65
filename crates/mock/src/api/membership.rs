//! `/cluster/config`: which nodes are in the cluster. It is read; nodes join with the seed.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::object::set_some;
use crate::state::{Node, sha1_hex};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/config/nodes", nodes),
    (Verb::Get, "/cluster/config/join", join),
    (Verb::Get, "/cluster/config/totem", totem),
    (Verb::Get, "/cluster/config/apiversion", api_version),
];

/// What a node is called in the cluster's own file.
fn row(node: &Node) -> Value {
    json!({
        "name": node.name, "nodeid": (node.index + 1).to_string(), "quorum_votes": "1",
        "ring0_addr": node.ip,
    })
}

/// A node of its own is in no file.
fn nodes(call: &mut Call<'_>) -> Outcome {
    if call.state.cluster.is_none() {
        return Ok(json!([]).into());
    }
    let nodes = call.state.nodes.values().map(|node| {
        let mut entry = row(node);
        set_some(&mut entry, "node", Some(node.name.clone()));
        entry
    });
    Ok(nodes.collect::<Value>().into())
}

fn join(call: &mut Call<'_>) -> Outcome {
    if call.state.cluster.is_none() {
        return Err(Failure::die("node is not in a cluster, no join info available!"));
    }
    let preferred = call.text("node").unwrap_or_else(|| call.state.local.clone());
    if !call.state.nodes.contains_key(&preferred) {
        return Err(Failure::die(format!("no such cluster node '{preferred}'")));
    }
    let nodes = call.state.nodes.values().map(|node| {
        let mut entry = row(node);
        set_some(&mut entry, "pve_addr", Some(node.ip.clone()));
        set_some(&mut entry, "pve_fp", Some(node.ssl_fingerprint.clone().unwrap_or_default()));
        entry
    });
    let nodes: Vec<Value> = nodes.collect();
    let totem = description(call);
    let digest = sha1_hex(json!([nodes, totem]).to_string().as_bytes());
    Ok(json!({
        "nodelist": nodes, "preferred_node": preferred, "totem": totem, "config_digest": digest,
    })
    .into())
}

fn description(call: &Call<'_>) -> Value {
    let Some(name) = &call.state.cluster else { return json!({}) };
    json!({
        "cluster_name": name, "config_version": call.state.nodes.len().to_string(),
        "interface": { "0": { "linknumber": "0" } }, "ip_version": "ipv4-6", "link_mode": "passive",
        "secauth": "on", "version": "2",
    })
}

fn totem(call: &mut Call<'_>) -> Outcome {
    Ok(description(call).into())
}

fn api_version(_call: &mut Call<'_>) -> Outcome {
    Ok(json!(1).into())
}
