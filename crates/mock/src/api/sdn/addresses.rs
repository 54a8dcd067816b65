//! Address management of the kind `pve`: who has which address of a subnet. Changes count at
//! once, and only subnets that run have addresses to give.

use std::net::IpAddr;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::super::{Call, Row};
use super::file::{SUBNETS, VNETS, ZONES, text};
use super::sections::SEEN_WITH;
use super::subnets;
use crate::failure::{Failure, Outcome, Success};
use crate::state::{Fields, Objects};

pub(super) const ROWS: &[Row] = &[
    (Verb::Post, "/cluster/sdn/vnets/{vnet}/ips", create),
    (Verb::Put, "/cluster/sdn/vnets/{vnet}/ips", update),
    (Verb::Delete, "/cluster/sdn/vnets/{vnet}/ips", delete),
    (Verb::Get, "/cluster/sdn/ipams/{ipam}/status", status),
];

/// Addresses by zone, subnet and address, each in one id.
const ADDRESSES: &str = "/cluster/sdn/addresses";
const ENTRIES: usize = 100_000;

fn id(zone: &str, cidr: &str, ip: &str) -> String {
    // The standard spelling, so that an address has one entry.
    let ip = ip.parse().map_or_else(|_| ip.to_owned(), |ip: IpAddr| ip.to_string());
    format!("{zone} {cidr} {ip}")
}

fn entries<'o>(
    objects: &'o Objects,
    zone: &str,
    cidr: &str,
) -> impl Iterator<Item = (&'o String, &'o Fields)> {
    let start = format!("{zone} {cidr} ");
    objects.list(ADDRESSES).filter(move |(id, _)| id.starts_with(&start))
}

pub(super) fn add_gateway(
    objects: &mut Objects,
    zone: &str,
    cidr: &str,
    ip: &str,
) -> Result<(), Failure> {
    let id = id(zone, cidr, ip);
    if objects.find(ADDRESSES, &id).is_some_and(|entry| !entry.contains_key("gateway")) {
        return Err(Failure::die(format!("IP '{ip}' already exist")));
    }
    objects.insert(ADDRESSES, &id, Fields::from_iter([("gateway".to_owned(), json!(1))]));
    Ok(())
}

pub(super) fn forget(objects: &mut Objects, zone: &str, cidr: &str, ip: &str) {
    objects.remove(ADDRESSES, &id(zone, cidr, ip));
}

/// Refuses while anybody but the gateway has an address.
pub(super) fn forget_subnet(objects: &mut Objects, zone: &str, cidr: &str) -> Result<(), Failure> {
    if entries(objects, zone, cidr).any(|(_, entry)| !entry.contains_key("gateway")) {
        return Err(Failure::die(format!("cannot delete subnet '{cidr}', not empty")));
    }
    let ids: Vec<String> = entries(objects, zone, cidr).map(|(id, _)| id.clone()).collect();
    for id in ids {
        objects.remove(ADDRESSES, &id);
    }
    Ok(())
}

/// The zone of the network, and the subnet of it that holds the address.
fn place(call: &Call<'_>, ip: &str) -> Result<(String, String), Failure> {
    let (objects, vnet) = (&call.state.objects, call.required("vnet"));
    let zone = text(VNETS.existing(objects, &vnet)?, "zone").unwrap_or_default().to_owned();
    let address: Option<IpAddr> = ip.parse().ok();
    let holds = |id: &str| {
        subnets::network(id).zip(address).is_some_and(|(network, ip)| network.contains(ip))
    };
    let running = SUBNETS.running(objects).into_iter();
    let mut own = running.filter(|(_, subnet)| text(subnet, "vnet") == Some(&vnet));
    match own.find(|(id, _)| holds(id)) {
        Some((id, _)) => Ok((zone, subnets::cidr_text(&id))),
        None => Err(Failure::die(format!("can't find any subnet for ip {ip}"))),
    }
}

fn is_managed(call: &Call<'_>, zone: &str) -> bool {
    let zone = call.state.objects.find(ZONES.at, zone);
    zone.is_some_and(|zone| text(zone, "ipam").is_some())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let ip = call.required("ip");
    let (zone, cidr) = place(call, &ip)?;
    if !is_managed(call, &zone) {
        return Ok(Success::default());
    }
    if call.state.objects.find(ADDRESSES, &id(&zone, &cidr, &ip)).is_some() {
        return Err(Failure::die(format!("IP '{ip}' already exist")));
    }
    if call.state.objects.count(ADDRESSES) >= ENTRIES {
        return Err(Failure::die(format!("No free IP left in {cidr}")));
    }
    let given = ["mac", "vmid"].iter().filter_map(|name| {
        let value = call.parameters.get(*name).filter(|value| !value.is_null())?;
        Some(((*name).to_owned(), value.clone()))
    });
    let fields = given.collect();
    call.state.objects.insert(ADDRESSES, &id(&zone, &cidr, &ip), fields);
    Ok(Success::default())
}

/// Gives a hardware address another address; its former ones are free again.
fn update(call: &mut Call<'_>) -> Outcome {
    let (zone, _) = place(call, &call.required("ip"))?;
    let mac = call.text("mac");
    let has = |entry: &Fields| mac.is_some() && text(entry, "mac") == mac.as_deref();
    let start = format!("{zone} ");
    let former: Vec<(String, Fields)> = call
        .state
        .objects
        .list(ADDRESSES)
        .filter(|(id, entry)| id.starts_with(&start) && has(entry))
        .map(|(id, entry)| (id.clone(), entry.clone()))
        .collect();
    for (id, _) in &former {
        call.state.objects.remove(ADDRESSES, id);
    }
    create(call).inspect_err(|_| {
        for (id, entry) in former {
            call.state.objects.insert(ADDRESSES, &id, entry);
        }
    })
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let ip = call.required("ip");
    let (zone, cidr) = place(call, &ip)?;
    let removed = call.state.objects.remove(ADDRESSES, &id(&zone, &cidr, &ip));
    if removed.is_none() && is_managed(call, &zone) {
        return Err(Failure::die(format!("IP '{ip}' does not exist in IPAM DB")));
    }
    Ok(Success::default())
}

/// Addresses of zones that run with address management and DHCP.
fn status(call: &mut Call<'_>) -> Outcome {
    if call.required("ipam") != "pve" {
        return Err(Failure::die("Currently only PVE IPAM is supported!"));
    }
    let objects = &call.state.objects;
    let zones = ZONES.running(objects);
    let right = call.right(SEEN_WITH);
    let mut rows: Vec<Value> = Vec::new();
    for (subnet_id, subnet) in SUBNETS.running(objects) {
        let (zone, vnet) = (text(&subnet, "zone"), text(&subnet, "vnet"));
        let (Some(zone), Some(vnet)) = (zone, vnet) else { continue };
        let served = zones
            .get(zone)
            .is_some_and(|zone| text(zone, "ipam") == Some("pve") && text(zone, "dhcp").is_some());
        if !served || !right.at(&format!("/sdn/zones/{zone}/{vnet}")) {
            continue;
        }
        let cidr = subnets::cidr_text(&subnet_id);
        rows.extend(entries(objects, zone, &cidr).map(|(id, entry)| {
            let mut row = entry.clone();
            let ip = id.rsplit(' ').next().unwrap_or_default();
            for (name, value) in [("zone", zone), ("subnet", &cidr), ("ip", ip), ("vnet", vnet)] {
                row.insert(name.to_owned(), json!(value));
            }
            Value::Object(row)
        }));
    }
    Ok(Value::Array(rows).into())
}
