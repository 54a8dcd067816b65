//! `/nodes/{node}/sdn`: what of the running configuration a node has, and zones as resources.

use pve_access::Release;
use pve_schema::Verb;
use serde::ser::SerializeSeq;
use serde_json::{Value, json};

use super::super::{Call, Row};
use super::access::LOCAL_ZONE;
use super::file::{FABRIC_NODES, FABRICS, RUNNING, VNETS, ZONES, flag, text};
use super::sections::SEEN_WITH;
use crate::failure::{Failure, Outcome};
use crate::object::{set, set_some};
use crate::state::{Fields, NETWORK_VERSION, Objects};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/sdn/zones", zones),
    (Verb::Get, "/nodes/{node}/sdn/zones/{zone}/content", content),
    (Verb::Get, "/nodes/{node}/sdn/zones/{zone}/bridges", bridges),
    (Verb::Get, "/nodes/{node}/sdn/zones/{zone}/ip-vrf", routes_of_zone),
    (Verb::Get, "/nodes/{node}/sdn/vnets/{vnet}/mac-vrf", macs_of_vnet),
    (Verb::Get, "/nodes/{node}/sdn/fabrics/{fabric}/routes", of_fabric),
    (Verb::Get, "/nodes/{node}/sdn/fabrics/{fabric}/neighbors", of_fabric),
    (Verb::Get, "/nodes/{node}/sdn/fabrics/{fabric}/interfaces", of_fabric),
];

/// What `content` says of a node that has not followed yet.
const TOO_OLD: &str = "local sdn network configuration is too old, please reload";
const NOT_YET: &str = "local sdn network configuration is not yet generated, please reload";

/// Whether a zone is on the node: on all, or on those it names.
pub(super) fn reaches(zone: &Fields, node: &str) -> bool {
    text(zone, "nodes").is_none_or(|nodes| nodes.split(',').any(|one| one == node))
}

/// Why networks are not there yet, `None` once the nodes have followed.
fn behind(objects: &Objects) -> Option<&'static str> {
    let number = |path: &str| {
        objects.settings(path).and_then(|fields| fields.get("version")).and_then(Value::as_u64)
    };
    match (number(NETWORK_VERSION), number(RUNNING)?) {
        (None, _) => Some(NOT_YET),
        (Some(reloaded), version) => (reloaded < version).then_some(TOO_OLD),
    }
}

fn status(objects: &Objects) -> &'static str {
    if behind(objects).is_some() { "pending" } else { "available" }
}

fn zones(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let objects = &call.state.objects;
    let right = call.right(&["SDN.Audit"]);
    let here = ZONES.running(objects).into_iter().filter(|(_, zone)| reaches(zone, &node));
    let seen = here.filter(|(id, _)| right.at(&format!("/sdn/zones/{id}")));
    let rows = seen.map(|(id, _)| json!({ "zone": id, "status": status(objects) }));
    Ok(rows.collect::<Value>().into())
}

/// The networks of a zone on this node.
fn content(call: &mut Call<'_>) -> Outcome {
    let (node, wanted) = (call.node()?.name.clone(), call.required("zone"));
    let objects = &call.state.objects;
    let here = ZONES.running(objects).get(&wanted).is_some_and(|zone| reaches(zone, &node));
    let vnets = VNETS.running(objects).into_iter();
    let own = vnets.filter(|(_, vnet)| here && text(vnet, "zone") == Some(&wanted));
    let rows = own.map(|(id, _)| {
        let mut row = json!({ "vnet": id, "status": status(objects) });
        if let Some(why) = behind(objects) {
            set(&mut row, "statusmsg", why);
        }
        row
    });
    Ok(rows.collect::<Value>().into())
}

fn running_zone(call: &Call<'_>) -> Result<Fields, Failure> {
    let zone = ZONES.running(&call.state.objects).remove(&call.required("zone"));
    zone.ok_or_else(|| Failure::parameter("zone", "zone does not exist"))
}

/// Bridges of a zone, with the network cards of running guests as their ports.
fn bridges(call: &mut Call<'_>) -> Outcome {
    let (node, zone) = (call.node()?.name.clone(), call.required("zone"));
    let mut found: Vec<(String, bool)> = Vec::new();
    if zone == LOCAL_ZONE {
        found.extend(super::super::network::bridges(call, &node));
    } else {
        running_zone(call)?;
        let vnets = VNETS.running(&call.state.objects).into_iter();
        let own = vnets.filter(|(_, vnet)| text(vnet, "zone") == Some(&zone));
        found.extend(own.map(|(id, vnet)| (id, flag(&vnet, "vlanaware"))));
    }
    let right = call.right(SEEN_WITH);
    let seen = found.into_iter().filter(|(id, _)| right.at(&format!("/sdn/zones/{zone}/{id}")));
    let rows = seen.map(|(id, aware)| {
        let filtering = if aware { "1" } else { "0" };
        let ports = ports(call, &node, &id);
        json!({ "name": id, "vlan_filtering": filtering, "ports": ports })
    });
    Ok(rows.collect::<Value>().into())
}

fn ports(call: &Call<'_>, node: &str, bridge: &str) -> Vec<Value> {
    let guests = call.state.guests.values();
    let running = guests.filter(|guest| guest.node == node && guest.is_running());
    let cards = running.flat_map(|guest| {
        let prefix = if guest.kind_name() == "lxc" { "veth" } else { "tap" };
        guest.config().iter().filter_map(move |(key, value)| {
            let index = key.strip_prefix("net")?.parse::<u8>().ok()?;
            let mut parts = value.as_str()?.split(',').filter_map(|part| part.split_once('='));
            let on = parts.any(|(name, value)| name == "bridge" && value == bridge);
            let name = format!("{prefix}{}i{index}", guest.vmid);
            on.then(|| json!({ "name": name, "vmid": guest.vmid, "index": key }))
        })
    });
    cards.collect()
}

/// No routing daemon runs, so none has learnt a route.
fn routes_of_zone(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let zone = running_zone(call)?;
    if text(&zone, "type") != Some("evpn") {
        return Err(Failure::parameter("zone", "zone is not an EVPN zone"));
    }
    if !reaches(&zone, &node) {
        let text = format!("zone does not exist on node {node}");
        return Err(Failure::parameter("zone", &text));
    }
    Ok(json!([]).into())
}

fn macs_of_vnet(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    let id = call.required("vnet");
    let vnets = VNETS.running(&call.state.objects);
    let vnet = vnets.get(&id).ok_or_else(|| Failure::parameter("vnet", "vnet does not exist"))?;
    let path = format!("/sdn/zones/{}/{id}", text(vnet, "zone").unwrap_or_default());
    call.needs(&path, "SDN.Audit")?;
    Ok(json!([]).into())
}

fn of_fabric(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let id = call.required("fabric");
    let objects = &call.state.objects;
    if !FABRICS.running(objects).contains_key(&id) {
        return Err(FABRICS.missing(&id));
    }
    let joined = FABRIC_NODES.running(objects).contains_key(&format!("{id}/{node}"));
    let asks_interfaces = call.method.path().ends_with("/interfaces");
    Ok(if joined && asks_interfaces { interfaces(objects, &id, &node) } else { json!([]) }.into())
}

/// The interfaces that the node's section names.
fn interfaces(objects: &Objects, fabric: &str, node: &str) -> Value {
    let section = FABRIC_NODES.running(objects).remove(&format!("{fabric}/{node}"));
    let list = section.as_ref().and_then(|section| section.get("interfaces"));
    let texts = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let names = texts.filter_map(|text| {
        text.split(',').find_map(|part| part.strip_prefix("name=")).map(str::to_owned)
    });
    names.map(|name| json!({ "name": name, "state": "up", "type": "point-to-point" })).collect()
}

/// Virtual networks in the list of a node's interfaces.
pub(in super::super) fn local_vnets(call: &Call<'_>, node: &str) -> Vec<Value> {
    let objects = &call.state.objects;
    let zones = ZONES.running(objects);
    let right = call.right(&["SDN.Audit", "SDN.Use"]);
    let rows = VNETS.running(objects).into_iter().filter_map(|(id, vnet)| {
        let zone_id = text(&vnet, "zone")?;
        let zone = zones.get(zone_id).filter(|zone| reaches(zone, node))?;
        if !right.at(&format!("/sdn/zones/{zone_id}/{id}")) {
            return None;
        }
        let mut row = json!({
            "iface": id, "type": "vnet", "active": 1, "method": "manual", "priority": 0,
            "families": ["inet"], "ipam": u8::from(zone.contains_key("ipam")),
            "vlanaware": u8::from(flag(&vnet, "vlanaware")),
        });
        set_some(&mut row, "comments", vnet.get("alias").cloned());
        Some(row)
    });
    rows.collect()
}

/// Zones and fabrics in `cluster/resources`.
pub(in super::super) fn resources<L: SerializeSeq>(
    call: &Call<'_>,
    list: &mut L,
) -> Result<(), L::Error> {
    let (objects, right) = (&call.state.objects, call.right(&["SDN.Audit"]));
    let release = call.state.accounts.release();
    let (zones, fabrics) = (ZONES.running(objects), FABRIC_NODES.running(objects));
    for node in call.state.nodes.keys() {
        if right.at(&format!("/sdn/zones/{LOCAL_ZONE}")) {
            list.serialize_element(&json!({
                "id": format!("sdn/{node}/{LOCAL_ZONE}"), "type": "sdn", "sdn": LOCAL_ZONE,
                "node": node, "status": "ok",
            }))?;
        }
        for (id, zone) in zones.iter().filter(|(_, zone)| reaches(zone, node)) {
            if right.at(&format!("/sdn/zones/{id}")) {
                let kind = text(zone, "type").unwrap_or_default();
                list.serialize_element(&zone_row(release, node, id, kind, status(objects)))?;
            }
        }
        for section in fabrics.values().filter(|one| text(one, "node_id") == Some(node)) {
            let id = text(section, "fabric_id").unwrap_or_default();
            if right.at(&format!("/sdn/fabrics/{id}")) {
                list.serialize_element(&json!({
                    "id": format!("network/{node}/fabric/{id}"), "type": "network",
                    "network": id, "network-type": "fabric", "node": node, "status": "ok",
                    "protocol": text(section, "protocol").unwrap_or_default(),
                }))?;
            }
        }
    }
    Ok(())
}

/// Release 9 calls what release 8 calls `sdn` a network.
fn zone_row(release: Release, node: &str, id: &str, kind: &str, status: &str) -> Value {
    match release {
        Release::V8 => json!({
            "id": format!("sdn/{node}/{id}"), "type": "sdn", "sdn": id, "node": node,
            "status": status,
        }),
        Release::V9 => json!({
            "id": format!("network/{node}/zone/{id}"), "type": "network", "network": id,
            "network-type": "zone", "zone-type": kind, "node": node, "status": status,
        }),
    }
}
