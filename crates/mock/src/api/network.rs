//! `/nodes/{node}/network`: a node's interfaces. Changes wait in a file of their own until the
//! network is reloaded, and what is read is that file while there is one (`PVE::API2::Network`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row, sdn};
use crate::failure::{Failure, Outcome, Success};
use crate::state::{Effect, Fields, Objects};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/network", list),
    (Verb::Post, "/nodes/{node}/network", create),
    (Verb::Put, "/nodes/{node}/network", reload),
    (Verb::Delete, "/nodes/{node}/network", revert),
    (Verb::Get, "/nodes/{node}/network/{iface}", show),
    (Verb::Put, "/nodes/{node}/network/{iface}", update),
    (Verb::Delete, "/nodes/{node}/network/{iface}", delete),
];

/// Interfaces by name.
type Interfaces = BTreeMap<String, Fields>;

/// Interfaces of one node.
const INTERFACES: usize = 4096;
/// Parameters that are no members of an interface.
const CONTROL: [&str; 3] = ["delete", "iface", "node"];
/// Types of interfaces that a filter stands for.
const LOCAL_BRIDGES: [&str; 2] = ["bridge", "OVSBridge"];
/// What stands for what guests can be connected to, with virtual networks and without.
const BRIDGE_FILTERS: [&str; 4] = ["any_bridge", "any_local_bridge", "bridge", "OVSBridge"];

fn path(node: &str) -> String {
    format!("/nodes/{node}/network")
}

fn kept(objects: &Objects, node: &str, form: &str) -> Option<Interfaces> {
    let file = objects.settings(&path(node))?.get(form)?.as_object()?;
    let one = |(name, value): (&String, &Value)| Some((name.clone(), value.as_object()?.clone()));
    Some(file.iter().filter_map(one).collect())
}

/// One network card, and the bridge with the node's address on it.
fn installed(address: &str) -> Interfaces {
    let card = json!({
        "type": "eth", "method": "manual", "method6": "manual", "families": ["inet"],
        "exists": 1, "active": 1, "priority": 2,
    });
    let bridge = json!({
        "type": "bridge", "method": "static", "method6": "manual", "families": ["inet"],
        "address": address, "netmask": "24", "cidr": format!("{address}/24"),
        "gateway": gateway(address), "bridge_ports": "eno1", "bridge_stp": "off",
        "bridge_fd": "0", "autostart": 1, "active": 1, "priority": 3,
    });
    let named = |name: &str, value: Value| {
        (name.to_owned(), value.as_object().cloned().unwrap_or_default())
    };
    Interfaces::from([named("eno1", card), named("vmbr0", bridge)])
}

fn gateway(address: &str) -> String {
    address.rsplit_once('.').map_or_else(|| address.to_owned(), |(net, _)| format!("{net}.1"))
}

fn running(call: &Call<'_>, node: &str) -> Interfaces {
    let address = call.state.nodes.get(node).map_or("192.0.2.1", |node| node.ip.as_str());
    kept(&call.state.objects, node, "running").unwrap_or_else(|| installed(address))
}

/// As they are, or as they will be after a reload.
fn current(call: &Call<'_>, node: &str) -> Interfaces {
    kept(&call.state.objects, node, "waiting").unwrap_or_else(|| running(call, node))
}

fn wait(call: &mut Call<'_>, node: &str, interfaces: &Interfaces) {
    let settings = call.state.objects.settings_mut(&path(node));
    settings.insert("waiting".to_owned(), json!(interfaces));
}

/// Bridges of a node outside of SDN, and whether they know VLANs.
pub(super) fn bridges(call: &Call<'_>, node: &str) -> Vec<(String, bool)> {
    let bridges = running(call, node).into_iter().filter(|(_, one)| is_bridge(one));
    let aware = |one: &Fields| one.get("bridge_vlan_aware").is_some_and(|flag| *flag == json!(1));
    bridges.map(|(name, one)| (name, aware(&one))).collect()
}

fn kind(one: &Fields) -> &str {
    one.get("type").and_then(Value::as_str).unwrap_or("unknown")
}

fn is_bridge(one: &Fields) -> bool {
    LOCAL_BRIDGES.contains(&kind(one))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let filter = call.text("type");
    let wanted = |one: &Fields| match filter.as_deref() {
        None | Some("include_sdn") => true,
        Some("any_bridge" | "any_local_bridge") => is_bridge(one),
        Some(wanted) => kind(one) == wanted,
    };
    let asks_bridges = filter.as_deref().is_some_and(|text| BRIDGE_FILTERS.contains(&text));
    let right = call.right(&["SDN.Audit", "SDN.Use"]);
    let shown = current(call, &node).into_iter().filter(|(name, one)| {
        wanted(one) && (!asks_bridges || right.at(&format!("/sdn/zones/localnetwork/{name}")))
    });
    let mut rows: Vec<Value> = shown.map(|(name, one)| row(&name, one)).collect();
    if matches!(filter.as_deref(), Some("any_bridge" | "vnet" | "include_sdn")) {
        rows.extend(sdn::local_vnets(call, &node));
    }
    let changes = difference(&running(call, &node), &current(call, &node));
    Ok(Success { changes, ..Value::Array(rows).into() })
}

fn row(name: &str, mut one: Fields) -> Value {
    one.insert("iface".to_owned(), json!(name));
    Value::Object(one)
}

fn missing() -> Failure {
    Failure::parameter("iface", "interface does not exist")
}

fn show(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let found = current(call, &node).remove(&call.required("iface"));
    Ok(Value::Object(found.ok_or_else(missing)?).into())
}

/// The parameters, with an address in both spellings, and what follows from them.
fn given(call: &Call<'_>) -> Fields {
    let kept = call.parameters.iter();
    let kept = kept.filter(|(key, value)| !CONTROL.contains(&key.as_str()) && !value.is_null());
    let mut fields: Fields = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    for (cidr, address, netmask) in
        [("cidr", "address", "netmask"), ("cidr6", "address6", "netmask6")]
    {
        let text = fields.get(cidr).and_then(Value::as_str).map(str::to_owned);
        if let Some((ip, length)) = text.as_deref().and_then(|text| text.split_once('/')) {
            fields.insert(address.to_owned(), json!(ip));
            fields.insert(netmask.to_owned(), json!(length));
        }
    }
    fields
}

/// Members that a node works out of the others.
fn complete(mut one: Fields) -> Fields {
    for (address, method) in [("address", "method"), ("address6", "method6")] {
        let how = if one.contains_key(address) { "static" } else { "manual" };
        one.insert(method.to_owned(), json!(how));
    }
    one.insert("families".to_owned(), json!(["inet"]));
    if kind(&one) == "bridge" {
        one.entry("bridge_stp").or_insert_with(|| json!("off"));
        one.entry("bridge_fd").or_insert_with(|| json!("0"));
        one.entry("bridge_ports").or_insert_with(|| json!(""));
    }
    one
}

/// One default gateway of each kind.
fn one_gateway(interfaces: &Interfaces, name: &str, one: &Fields) -> Result<(), Failure> {
    for key in ["gateway", "gateway6"].into_iter().filter(|key| one.contains_key(*key)) {
        let mut others = interfaces.iter().filter(|(other, _)| *other != name);
        if let Some((other, _)) = others.find(|(_, other)| other.contains_key(key)) {
            let text = format!("Default gateway already exists on interface '{other}'.");
            return Err(Failure::parameter(key, &text));
        }
    }
    Ok(())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (node, name) = (call.node()?.name.clone(), call.required("iface"));
    let mut interfaces = current(call, &node);
    if interfaces.contains_key(&name) {
        return Err(Failure::parameter("iface", "interface already exists"));
    }
    if interfaces.len() >= INTERFACES {
        return Err(Failure::die(format!("more than {INTERFACES} interfaces")));
    }
    let mut one = complete(given(call));
    one_gateway(&interfaces, &name, &one)?;
    one.insert("priority".to_owned(), json!(interfaces.len() + 2));
    interfaces.insert(name, one);
    wait(call, &node, &interfaces);
    Ok(Success::default())
}

fn update(call: &mut Call<'_>) -> Outcome {
    let (node, name) = (call.node()?.name.clone(), call.required("iface"));
    let mut interfaces = current(call, &node);
    let mut one = interfaces.get(&name).cloned().ok_or_else(missing)?;
    for key in call.list("delete") {
        one.remove(&key);
        let parts: &[&str] = match key.as_str() {
            "cidr" => &["address", "netmask"],
            "cidr6" => &["address6", "netmask6"],
            _ => &[],
        };
        parts.iter().for_each(|part| drop(one.remove(*part)));
    }
    one.extend(given(call));
    let one = complete(one);
    one_gateway(&interfaces, &name, &one)?;
    interfaces.insert(name, one);
    wait(call, &node, &interfaces);
    Ok(Success::default())
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let (node, name) = (call.node()?.name.clone(), call.required("iface"));
    let mut interfaces = current(call, &node);
    interfaces.remove(&name).ok_or_else(missing)?;
    wait(call, &node, &interfaces);
    Ok(Success::default())
}

/// Drops what waits.
fn revert(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    call.state.objects.settings_mut(&path(&node)).remove("waiting");
    Ok(Success::default())
}

/// What waits is in force from here on, as its file is moved before the task begins.
fn reload(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let mut interfaces = current(call, &node);
    for one in interfaces.values_mut() {
        one.insert("active".to_owned(), json!(1));
    }
    let settings = call.state.objects.settings_mut(&path(&node));
    settings.remove("waiting");
    settings.insert("running".to_owned(), json!(interfaces));
    Ok(call.task(&node, ("srvreload", 3), "networking", Effect::Nothing, Ok(())))
}

/// What waits, as lines that go and come; `None` when nothing does.
fn difference(running: &Interfaces, waiting: &Interfaces) -> Option<String> {
    if running == waiting {
        return None;
    }
    let file = "/etc/network/interfaces";
    let mut text = format!("--- {file}\n+++ {file}.new\n");
    let names: std::collections::BTreeSet<&String> = running.keys().chain(waiting.keys()).collect();
    for name in names {
        let (old, new) = (running.get(name), waiting.get(name));
        if old == new {
            continue;
        }
        for (sign, one) in [('-', old), ('+', new)] {
            let Some(one) = one else { continue };
            let _ = writeln!(text, "{sign}iface {name} inet {}", method(one));
            for key in ["cidr", "gateway", "bridge_ports", "mtu"] {
                if let Some(value) = one.get(key).filter(|value| **value != json!("")) {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let _ = writeln!(text, "{sign}\t{} {value}", key.replace('_', "-"));
                }
            }
        }
    }
    Some(text)
}

fn method(one: &Fields) -> &str {
    one.get("method").and_then(Value::as_str).unwrap_or("manual")
}
