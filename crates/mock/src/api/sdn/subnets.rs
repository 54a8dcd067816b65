//! `/cluster/sdn/vnets/{vnet}/subnets`. The id is made of zone, address and length.

use std::net::IpAddr;

use netpolicy::Cidr;
use pve_schema::Verb;
use serde_json::{Value, json};

use super::super::section_options::Kind;
use super::super::{Call, Row};
use super::access::vnet_access;
use super::addresses;
use super::file::{SUBNETS, VNETS, View, ZONES, flag, text};
use super::lock::locked;
use super::sections::SEEN_WITH;
use crate::failure::{Failure, Outcome, Success};
use crate::state::Fields;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/sdn/vnets/{vnet}/subnets", list),
    (Verb::Post, "/cluster/sdn/vnets/{vnet}/subnets", create),
    (Verb::Get, "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", show),
    (Verb::Put, "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", update),
    (Verb::Delete, "/cluster/sdn/vnets/{vnet}/subnets/{subnet}", delete),
];

const KIND: Kind = Kind {
    name: "subnet",
    required: &["vnet"],
    optional: &["gateway", "snat", "dnszoneprefix", "dhcp-range", "dhcp-dns-server"],
};

fn list(call: &mut Call<'_>) -> Outcome {
    let (view, vnet) = (View::of(call), call.required("vnet"));
    vnet_access(call, &vnet, SEEN_WITH)?;
    let sections = SUBNETS.sections(&call.state.objects, view).into_iter();
    let own = sections.filter(|(_, subnet)| text(subnet, "vnet") == Some(&vnet));
    Ok(own.map(|(id, subnet)| shown(call, view, &id, subnet)).collect::<Value>().into())
}

fn show(call: &mut Call<'_>) -> Outcome {
    let (view, vnet, id) = (View::of(call), call.required("vnet"), call.required("subnet"));
    vnet_access(call, &vnet, SEEN_WITH)?;
    let found = SUBNETS.sections(&call.state.objects, view).remove(&id);
    let subnet = found.ok_or_else(|| SUBNETS.missing(&id))?;
    if text(&subnet, "vnet") != Some(&vnet) {
        return Err(Failure::parameter("vnet", "wrong vnet"));
    }
    Ok(shown(call, view, &id, subnet).into())
}

/// With the parts of the id, and ranges as objects.
fn shown(call: &Call<'_>, view: View, id: &str, mut subnet: Fields) -> Value {
    let ranges: Vec<Value> = ranges(&subnet)
        .iter()
        .map(|(start, end)| json!({ "start-address": start, "end-address": end }))
        .collect();
    subnet.insert("dhcp-range".to_owned(), json!(ranges));
    let mut parts = id.splitn(3, '-');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (zone, network, mask) = (part(), part(), part());
    subnet.extend([
        ("id".to_owned(), json!(id)),
        ("cidr".to_owned(), json!(format!("{network}/{mask}"))),
        ("zone".to_owned(), json!(zone)),
        ("network".to_owned(), json!(network)),
        ("mask".to_owned(), json!(mask)),
    ]);
    Value::Object(SUBNETS.shown(&call.state.objects, view, id, subnet))
}

/// Network of the id `ZONE-ADDRESS-LENGTH`.
pub(super) fn network(id: &str) -> Option<Cidr> {
    let (address, length) = id.split_once('-')?.1.rsplit_once('-')?;
    Some(Cidr::around(address.parse().ok()?, length.parse().ok()?))
}

/// `ADDRESS/LENGTH` of the id, as it was written.
pub(super) fn cidr_text(id: &str) -> String {
    let network = id.split_once('-').map_or(id, |(_, network)| network);
    network.replace('-', "/")
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (vnet, cidr) = (call.required("vnet"), call.required("subnet"));
    vnet_access(call, &vnet, &["SDN.Allocate"])?;
    locked(call, "create sdn subnet object failed", |call| {
        let objects = &call.state.objects;
        let zone = text(VNETS.existing(objects, &vnet)?, "zone").unwrap_or_default().to_owned();
        let id = format!("{zone}-{}", cidr.replace('/', "-"));
        let fields = KIND.of_new(call, "subnet")?;
        if objects.find(SUBNETS.at, &id).is_some() {
            return Err(Failure::die(format!("sdn subnet object ID '{id}' already defined")));
        }
        verify(call, &id, &fields)?;
        register(call, &zone, &id, None, &fields)?;
        SUBNETS.write(&mut call.state.objects, &id, with_zone(fields, &zone))?;
        Ok(Success::default())
    })
}

/// Of which zone a subnet is, for those who ask the zone.
fn with_zone(mut fields: Fields, zone: &str) -> Fields {
    fields.insert("zone".to_owned(), json!(zone));
    fields
}

fn update(call: &mut Call<'_>) -> Outcome {
    let (vnet, id) = (call.required("vnet"), call.required("subnet"));
    vnet_access(call, &vnet, &["SDN.Allocate"])?;
    locked(call, "update sdn subnet object failed", |call| {
        let before = SUBNETS.existing(&call.state.objects, &id)?.clone();
        call.unmodified(&SUBNETS.digest(&call.state.objects))?;
        let fields = KIND.changed(call, "subnet", &before)?;
        verify(call, &id, &fields)?;
        let zone = text(&before, "zone").unwrap_or_default().to_owned();
        register(call, &zone, &id, text(&before, "gateway"), &fields)?;
        SUBNETS.write(&mut call.state.objects, &id, fields)?;
        Ok(Success::default())
    })
}

/// Addresses that are given out keep a subnet; its gateway's goes with it.
fn delete(call: &mut Call<'_>) -> Outcome {
    let (vnet, id) = (call.required("vnet"), call.required("subnet"));
    vnet_access(call, &vnet, &["SDN.Allocate"])?;
    locked(call, "delete sdn subnet object failed", |call| {
        let subnet = SUBNETS.existing(&call.state.objects, &id)?;
        if text(subnet, "vnet") != Some(&vnet) {
            return Err(Failure::parameter("vnet", "wrong vnet"));
        }
        let zone = text(subnet, "zone").unwrap_or_default().to_owned();
        addresses::forget_subnet(&mut call.state.objects, &zone, &cidr_text(&id))?;
        call.state.objects.remove(SUBNETS.at, &id);
        Ok(Success::default())
    })
}

/// Start and end of each range.
fn ranges(subnet: &Fields) -> Vec<(String, String)> {
    let texts = subnet.get("dhcp-range").and_then(Value::as_array).into_iter().flatten();
    let range = |text: &Value| {
        let mut parts = text.as_str()?.split(',').filter_map(|part| part.split_once('='));
        let (mut start, mut end) = (None, None);
        parts.by_ref().for_each(|(key, value)| match key {
            "start-address" => start = Some(value.to_owned()),
            "end-address" => end = Some(value.to_owned()),
            _ => {}
        });
        Some((start?, end?))
    };
    texts.filter_map(range).collect()
}

/// What the network allows (`PVE::Network::SDN::SubnetPlugin::on_update_hook`).
fn verify(call: &Call<'_>, id: &str, subnet: &Fields) -> Result<(), Failure> {
    let vnet = text(subnet, "vnet").unwrap_or_default();
    let Some(found) = call.state.objects.find(VNETS.at, vnet) else {
        return Err(Failure::parameter("vnet", &format!("{vnet} don't exist")));
    };
    if flag(found, "vlanaware") {
        return Err(Failure::parameter("vnet", "you can't add a subnet on a vlanaware vnet"));
    }
    let Some(network) = network(id) else { return Err(SUBNETS.missing(id)) };
    let cidr = cidr_text(id);
    if let Some(gateway) = text(subnet, "gateway") {
        let inside = address(gateway).is_some_and(|address| network.contains(address));
        if !inside && !is_point_to_point(network) {
            let text = format!("{gateway} is not in subnet {cidr}");
            return Err(Failure::parameter("gateway", &text));
        }
    }
    let mut taken: Vec<(IpAddr, IpAddr)> = Vec::new();
    for (start, end) in ranges(subnet) {
        let wrong = |text: String| Err(Failure::parameter("dhcp-range", &text));
        let (Some(first), Some(last)) = (address(&start), address(&end)) else {
            return wrong(format!("start-address is not a valid IP {start}"));
        };
        if first > last {
            return wrong(format!("start-address {start} must be smaller than end-address {end}"));
        }
        for (name, text, address) in [("start", &start, first), ("end", &end, last)] {
            if !network.contains(address) {
                return wrong(format!("{name}-address {text} is not in subnet {cidr}"));
            }
        }
        if taken.iter().any(|(other, until)| first <= *until && *other <= last) {
            return wrong("dhcp ranges must not overlap".to_owned());
        }
        taken.push((first, last));
    }
    Ok(())
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// A single IPv4 address, whose gateway lies outside.
fn is_point_to_point(network: Cidr) -> bool {
    network.first().is_ipv4() && network.prefix() == 32
}

/// Notes the gateway in the zone's address management.
fn register(
    call: &mut Call<'_>,
    zone: &str,
    id: &str,
    before: Option<&str>,
    subnet: &Fields,
) -> Result<(), Failure> {
    let objects = &mut call.state.objects;
    let managed = objects.find(ZONES.at, zone).is_some_and(|zone| text(zone, "ipam").is_some());
    let gateway = text(subnet, "gateway");
    if !managed || gateway == before || network(id).is_some_and(is_point_to_point) {
        return Ok(());
    }
    let cidr = cidr_text(id);
    if let Some(gateway) = gateway {
        addresses::add_gateway(objects, zone, &cidr, gateway)?;
    }
    if let Some(before) = before {
        addresses::forget(objects, zone, &cidr, before);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_network_in_them() {
        assert_eq!(network("z1-192.0.2.0-24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(network("z1-2001:db8::-64").unwrap().to_string(), "2001:db8::/64");
        assert_eq!(cidr_text("z1-2001:db8::-64"), "2001:db8::/64");
        assert!(network("z1").is_none() && network("z1-x-24").is_none());
    }

    #[test]
    fn ranges_are_read_from_property_strings() {
        let subnet =
            json!({ "dhcp-range": ["start-address=192.0.2.5,end-address=192.0.2.9", "x"] });
        let read = ranges(subnet.as_object().unwrap());
        assert_eq!(read, [("192.0.2.5".to_owned(), "192.0.2.9".to_owned())]);
    }
}
