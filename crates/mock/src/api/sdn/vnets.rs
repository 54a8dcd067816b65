//! `/cluster/sdn/vnets`: virtual networks, each in a zone.

use pve_schema::Verb;
use serde_json::Value;

use super::super::section_options::Kind;
use super::super::{Call, Row};
use super::access::vnet_access;
use super::file::{SUBNETS, VNETS, View, ZONES, flag, text};
use super::sections::{self, Book, SEEN_WITH};
use crate::failure::{Failure, Outcome};
use crate::state::{Fields, Objects};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/sdn/vnets", list),
    (Verb::Post, "/cluster/sdn/vnets", create),
    (Verb::Get, "/cluster/sdn/vnets/{vnet}", show),
    (Verb::Put, "/cluster/sdn/vnets/{vnet}", update),
    (Verb::Delete, "/cluster/sdn/vnets/{vnet}", delete),
];

const BOOK: Book =
    Book { file: VNETS, noun: "vnet", rights: "/sdn/zones", kinds: &KINDS, verify, unused };

const KINDS: [Kind; 1] = [Kind {
    name: "vnet",
    required: &["zone"],
    optional: &["tag", "alias", "vlanaware", "isolate-ports"],
}];
/// Highest tag of a VLAN.
const VLAN_TAGS: u64 = 4096;
/// Zones whose networks have one name space of tags.
const OVERLAYS: [&str; 2] = ["vxlan", "evpn"];

fn list(call: &mut Call<'_>) -> Outcome {
    let (view, objects) = (View::of(call), &call.state.objects);
    let right = call.right(SEEN_WITH);
    let seen = VNETS.sections(objects, view).into_iter().filter(|(id, vnet)| {
        let pending = vnet.get("pending").and_then(|pending| pending.get("zone"));
        let zone = text(vnet, "zone").or_else(|| pending?.as_str());
        right.at(&format!("/sdn/zones/{}/{id}", zone.unwrap_or_default()))
    });
    let shown = seen.map(|(id, vnet)| Value::Object(VNETS.shown(objects, view, &id, vnet)));
    Ok(shown.collect::<Value>().into())
}

fn show(call: &mut Call<'_>) -> Outcome {
    vnet_access(call, &call.required("vnet"), SEEN_WITH)?;
    sections::show(call, &BOOK)
}

fn create(call: &mut Call<'_>) -> Outcome {
    call.parameters.insert("type".to_owned(), "vnet".into());
    sections::create(call, &BOOK)
}

fn update(call: &mut Call<'_>) -> Outcome {
    vnet_access(call, &call.required("vnet"), &["SDN.Allocate"])?;
    sections::update(call, &BOOK)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    vnet_access(call, &call.required("vnet"), &["SDN.Allocate"])?;
    sections::delete(call, &BOOK)
}

fn has_subnets(objects: &Objects, vnet: &str) -> bool {
    objects.list(SUBNETS.at).any(|(_, subnet)| text(subnet, "vnet") == Some(vnet))
}

fn verify(
    call: &Call<'_>,
    id: &str,
    before: Option<&Fields>,
    vnet: &mut Fields,
) -> Result<(), Failure> {
    let objects = &call.state.objects;
    let zone_id = text(vnet, "zone").unwrap_or_default();
    let moved = before.is_some_and(|before| text(before, "zone") != Some(zone_id));
    if moved && has_subnets(objects, id) {
        return Err(Failure::parameter("zone", "can't change zone if subnets exist"));
    }
    let zone = ZONES.existing(objects, zone_id)?;
    let others: Vec<(&String, &Fields)> =
        objects.list(VNETS.at).filter(|(other, _)| *other != id).collect();
    match text(zone, "type").unwrap_or_default() {
        "simple" if vnet.contains_key("tag") => {
            return Err(Failure::parameter("tag", "vlan tag is not allowed on simple zone"));
        }
        "vlan" => vlan(vnet, &others)?,
        "qinq" => customer_vlan(vnet, &others)?,
        "vxlan" => overlay(objects, vnet, &others)?,
        "evpn" if flag(vnet, "vlanaware") => {
            let text = "vlan-aware option can't be enabled with evpn";
            return Err(Failure::parameter("vlan-aware", text));
        }
        "evpn" => overlay(objects, vnet, &others)?,
        _ => {}
    }
    if flag(vnet, "vlanaware") && has_subnets(objects, id) {
        let text = "vlanaware vnet is not compatible with subnets";
        return Err(Failure::parameter("vlanaware", text));
    }
    Ok(())
}

type Others<'o> = [(&'o String, &'o Fields)];

fn tag(vnet: &Fields) -> Option<u64> {
    vnet.get("tag").and_then(Value::as_u64)
}

fn wrong_tag(text: impl AsRef<str>) -> Failure {
    Failure::parameter("tag", text.as_ref())
}

fn vlan(vnet: &Fields, others: &Others<'_>) -> Result<(), Failure> {
    let tag = tag(vnet).ok_or_else(|| wrong_tag("missing vlan tag"))?;
    if tag > VLAN_TAGS {
        return Err(wrong_tag("vlan tag max value is 4096"));
    }
    let mut near = others.iter().filter(|(_, other)| text(other, "zone") == text(vnet, "zone"));
    match near.find(|(_, other)| self::tag(other) == Some(tag)) {
        Some((id, _)) => Err(wrong_tag(format!("tag {tag} already exist in vnet {id}"))),
        None => Ok(()),
    }
}

/// One network of the zone may be without a tag.
fn customer_vlan(vnet: &Fields, others: &Others<'_>) -> Result<(), Failure> {
    let tag = tag(vnet);
    if tag.is_some_and(|tag| tag > VLAN_TAGS) {
        return Err(wrong_tag("VLAN tag maximal value is 4096"));
    }
    let zone = text(vnet, "zone").unwrap_or_default();
    let mut near = others.iter().filter(|(_, other)| text(other, "zone") == Some(zone));
    let Some((id, _)) = near.find(|(_, other)| self::tag(other) == tag) else { return Ok(()) };
    Err(wrong_tag(match tag {
        Some(tag) => format!("tag {tag} already exist in zone {zone} vnet {id}"),
        None => format!("tag-less vnet already exists in zone {zone} vnet {id}"),
    }))
}

fn overlay(objects: &Objects, vnet: &Fields, others: &Others<'_>) -> Result<(), Failure> {
    let tag = tag(vnet).ok_or_else(|| wrong_tag("missing vxlan tag"))?;
    for (id, other) in others.iter().filter(|(_, other)| self::tag(other) == Some(tag)) {
        let zone = text(other, "zone").unwrap_or_default();
        let kind = objects.find(ZONES.at, zone).and_then(|zone| text(zone, "type"));
        if kind.is_some_and(|kind| OVERLAYS.contains(&kind)) {
            return Err(wrong_tag(format!(
                "vxlan tag {tag} already exist in vnet {id} in zone {zone} "
            )));
        }
    }
    Ok(())
}

fn unused(call: &Call<'_>, vnet: &str) -> Result<(), Failure> {
    if has_subnets(&call.state.objects, vnet) {
        return Err(Failure::parameter("vnet", "Can't delete vnet if subnets exists"));
    }
    Ok(())
}
