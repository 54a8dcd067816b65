//! `/cluster/sdn/fabrics/node`: which nodes are in a fabric, and how.

use std::net::IpAddr;

use netpolicy::Cidr;
use pve_schema::Verb;
use serde_json::{Value, json};

use super::super::{Call, Row};
use super::fabrics::{changed, given, named};
use super::file::{FABRIC_NODES, FABRICS, View, text};
use super::lock::locked;
use super::sections::SEEN_WITH;
use crate::failure::{Failure, Outcome, Success};
use crate::state::Fields;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/sdn/fabrics/node", list),
    (Verb::Get, "/cluster/sdn/fabrics/node/{fabric_id}", list_of_fabric),
    (Verb::Post, "/cluster/sdn/fabrics/node/{fabric_id}", create),
    (Verb::Get, "/cluster/sdn/fabrics/node/{fabric_id}/{node_id}", show),
    (Verb::Put, "/cluster/sdn/fabrics/node/{fabric_id}/{node_id}", update),
    (Verb::Delete, "/cluster/sdn/fabrics/node/{fabric_id}/{node_id}", delete),
];

const NODE_SEEN_WITH: &[&str] = &["Sys.Audit", "Sys.Modify"];
/// Members that say which section it is.
const NAMES: [&str; 3] = ["fabric_id", "node_id", "protocol"];

/// The sections that the caller may see, of one fabric or of all.
pub(super) fn rows(call: &Call<'_>, fabric: Option<&str>) -> Value {
    let (view, objects) = (View::of(call), &call.state.objects);
    let (fabrics, nodes) = (call.right(SEEN_WITH), call.right(NODE_SEEN_WITH));
    let digest = FABRICS.digest(objects);
    let sections = FABRIC_NODES.sections(objects, view).into_iter();
    let seen = sections.filter(|(key, _)| {
        let (own, node) = key.split_once('/').unwrap_or((key, ""));
        fabric.is_none_or(|fabric| fabric == own)
            && nodes.at(&format!("/nodes/{node}"))
            && fabrics.at(&format!("/sdn/fabrics/{own}"))
    });
    let shown = seen.map(|(_, section)| {
        let mut section = named(section, &NAMES);
        if view != View::Running {
            section.insert("digest".to_owned(), json!(digest));
        }
        Value::Object(section)
    });
    shown.collect()
}

fn list(call: &mut Call<'_>) -> Outcome {
    Ok(rows(call, None).into())
}

fn list_of_fabric(call: &mut Call<'_>) -> Outcome {
    let fabric = call.required("fabric_id");
    let known = FABRICS.sections(&call.state.objects, View::of(call)).contains_key(&fabric);
    if known { Ok(rows(call, Some(&fabric)).into()) } else { Err(FABRICS.missing(&fabric)) }
}

fn key(call: &Call<'_>) -> String {
    format!("{}/{}", call.required("fabric_id"), call.required("node_id"))
}

fn missing(call: &Call<'_>) -> Failure {
    let (node, fabric) = (call.required("node_id"), call.required("fabric_id"));
    Failure::die(format!("node '{node}' does not exist in fabric '{fabric}'"))
}

fn existing<'c>(call: &'c Call<'_>) -> Result<&'c Fields, Failure> {
    call.state.objects.find(FABRIC_NODES.at, &key(call)).ok_or_else(|| missing(call))
}

fn show(call: &mut Call<'_>) -> Outcome {
    let mut section = existing(call)?.clone();
    section.insert("digest".to_owned(), json!(FABRICS.digest(&call.state.objects)));
    Ok(Value::Object(section).into())
}

/// The addresses of a node are out of the fabric's networks, and no other node's.
fn verify(call: &Call<'_>, section: &Fields) -> Result<(), Failure> {
    let id = call.required("fabric_id");
    let fabric = FABRICS.existing(&call.state.objects, &id)?;
    if text(fabric, "protocol") != text(section, "protocol") {
        return Err(Failure::die("node has a different protocol than the referenced fabric"));
    }
    let (own, start) = (key(call), format!("{id}/"));
    let others = || {
        let all = call.state.objects.list(FABRIC_NODES.at);
        all.filter(|(key, _)| key.starts_with(&start) && **key != own).map(|(_, one)| one)
    };
    for (key, prefix) in [("ip", "ip_prefix"), ("ip6", "ip6_prefix")] {
        let Some(ip) = text(section, key) else { continue };
        let Some(prefix) = text(fabric, prefix) else {
            return Err(Failure::die(format!(
                "fabric '{id}' does not have an IP prefix configured for the node IP {ip}"
            )));
        };
        let network: Option<Cidr> = prefix.parse().ok();
        let address: Option<IpAddr> = ip.parse().ok();
        if !network.zip(address).is_some_and(|(network, address)| network.contains(address)) {
            return Err(Failure::die(format!(
                "node IP {ip} is outside the IP prefix {prefix} of the fabric"
            )));
        }
        if others().any(|other| text(other, key) == Some(ip)) {
            let text = format!("fabric {id} contains nodes with duplicated IPs");
            return Err(Failure::die(text));
        }
    }
    Ok(())
}

fn create(call: &mut Call<'_>) -> Outcome {
    locked(call, "adding node failed", |call| {
        call.unmodified(&FABRICS.digest(&call.state.objects))?;
        let (node, fabric) = (call.required("node_id"), call.required("fabric_id"));
        if existing(call).is_ok() {
            let text = format!("node '{node}' already exists in config for fabric {fabric}");
            return Err(Failure::die(text));
        }
        let section = given(call);
        verify(call, &section)?;
        let key = key(call);
        FABRIC_NODES.write(&mut call.state.objects, &key, section)?;
        Ok(Success::default())
    })
}

fn update(call: &mut Call<'_>) -> Outcome {
    locked(call, "updating node failed", |call| {
        call.unmodified(&FABRICS.digest(&call.state.objects))?;
        let section = changed(call, existing(call)?);
        verify(call, &section)?;
        let key = key(call);
        FABRIC_NODES.write(&mut call.state.objects, &key, section)?;
        Ok(Success::default())
    })
}

fn delete(call: &mut Call<'_>) -> Outcome {
    locked(call, "deleting node failed", |call| {
        existing(call)?;
        let key = key(call);
        call.state.objects.remove(FABRIC_NODES.at, &key);
        Ok(Success::default())
    })
}
