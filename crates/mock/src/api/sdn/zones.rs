//! `/cluster/sdn/zones`.

use pve_access::Release;
use pve_schema::Verb;
use serde_json::json;

use super::super::section_options::Kind;
use super::super::{Call, Row};
use super::file::{CONTROLLERS, DNS, SUBNETS, VNETS, ZONES, text};
use super::sections::{self, Book, book_rows};
use super::services::knows_ipam;
use crate::failure::Failure;
use crate::state::{Fields, sha1_hex};

pub(super) const ROWS: &[Row] = book_rows!("/cluster/sdn/zones", "/{zone}", BOOK);

const BOOK: Book =
    Book { file: ZONES, noun: "zone", rights: "/sdn/zones", kinds: &KINDS, verify, unused };

#[rustfmt::skip]
const KINDS: [Kind; 6] = [
    Kind {
        name: "simple",
        required: &[],
        optional: &["nodes", "mtu", "dns", "reversedns", "dnszone", "ipam", "dhcp"],
    },
    Kind {
        name: "vlan",
        required: &["bridge"],
        optional: &["nodes", "bridge-disable-mac-learning", "mtu", "dns", "reversedns", "dnszone", "ipam"],
    },
    Kind {
        name: "qinq",
        required: &["tag", "bridge"],
        optional: &[
            "nodes", "bridge-disable-mac-learning", "vlan-protocol", "mtu", "dns", "reversedns",
            "dnszone", "ipam",
        ],
    },
    Kind {
        name: "vxlan",
        required: &[],
        optional: &["nodes", "peers", "fabric", "vxlan-port", "mtu", "dns", "reversedns", "dnszone", "ipam"],
    },
    Kind {
        name: "evpn",
        required: &["vrf-vxlan", "controller"],
        optional: &[
            "nodes", "secondary-controllers", "exitnodes", "exitnodes-local-routing",
            "exitnodes-primary", "advertise-subnets", "disable-arp-nd-suppression",
            "bridge-disable-mac-learning", "rt-import", "vxlan-port", "mtu", "mac", "dns",
            "reversedns", "dnszone", "ipam",
        ],
    },
    Kind { name: "faucet", required: &["dp-id"], optional: &["nodes", "mtu", "ipam"] },
];

fn verify(
    call: &Call<'_>,
    id: &str,
    before: Option<&Fields>,
    zone: &mut Fields,
) -> Result<(), Failure> {
    let objects = &call.state.objects;
    for key in ["dns", "reversedns"] {
        let named = text(zone, key).filter(|dns| objects.find(DNS.at, dns).is_none());
        if let Some(dns) = named {
            return Err(Failure::parameter(key, &format!("{dns} don't exist")));
        }
    }
    if text(zone, "dnszone").is_some() && text(zone, "dns").is_none() {
        return Err(Failure::parameter("dnszone", "missing dns server"));
    }
    if let Some(ipam) = text(zone, "ipam").filter(|ipam| !knows_ipam(objects, ipam)) {
        return Err(Failure::parameter("ipam", &format!("{ipam} not existing")));
    }
    let moved = before.is_some_and(|before| text(before, "ipam") != text(zone, "ipam"));
    if moved && objects.list(SUBNETS.at).any(|(_, subnet)| text(subnet, "zone") == Some(id)) {
        let text = "can't change ipam if a subnet is already defined in this zone";
        return Err(Failure::parameter("ipam", text));
    }
    match text(zone, "type") {
        Some("vxlan") => one_of_peers_and_fabric(call, zone),
        Some("evpn") => evpn(call, id, zone),
        _ => Ok(()),
    }
}

fn one_of_peers_and_fabric(call: &Call<'_>, zone: &Fields) -> Result<(), Failure> {
    if zone.contains_key("peers") != zone.contains_key("fabric") {
        return Ok(());
    }
    if call.state.accounts.release() == Release::V8 {
        return Err(Failure::die("missing value for required option 'peers'"));
    }
    let text = "must have exactly one of peers / fabric defined".to_owned();
    Err(Failure::parameters(["peers", "fabric"].map(|name| (name.to_owned(), text.clone())).into()))
}

/// The controller must be one for this, and no two zones share a network identifier.
fn evpn(call: &Call<'_>, id: &str, zone: &mut Fields) -> Result<(), Failure> {
    let objects = &call.state.objects;
    let secondary = zone.get("secondary-controllers").and_then(|list| list.as_array());
    let named = secondary.into_iter().flatten().filter_map(|one| one.as_str());
    for controller in text(zone, "controller").into_iter().chain(named) {
        match objects.find(CONTROLLERS.at, controller).map(|found| text(found, "type")) {
            None => return Err(Failure::die(format!("controller {controller} don't exist"))),
            Some(Some("evpn")) => {}
            Some(_) => {
                let text = format!("{controller} is not a evpn controller type");
                return Err(Failure::die(text));
            }
        }
    }
    let others = objects.list(ZONES.at).filter(|(other, _)| *other != id);
    for (other, fields) in others {
        if let (Some(own), Some(taken)) = (zone.get("vrf-vxlan"), fields.get("vrf-vxlan"))
            && own == taken
        {
            return Err(Failure::die(format!("vrf-vxlan {own} is already declared in {other}")));
        }
    }
    // Made up on a genuine node; here the same in every run.
    zone.entry("mac").or_insert_with(|| json!(address(id)));
    Ok(())
}

fn address(id: &str) -> String {
    let hash = sha1_hex(id.as_bytes()).to_ascii_uppercase();
    let byte = |at: usize| hash.get(at..at + 2).unwrap_or("00").to_owned();
    format!("BC:24:11:{}:{}:{}", byte(0), byte(2), byte(4))
}

fn unused(call: &Call<'_>, zone: &str) -> Result<(), Failure> {
    let mut vnets = call.state.objects.list(VNETS.at);
    match vnets.find(|(_, vnet)| text(vnet, "zone") == Some(zone)) {
        Some((vnet, _)) => Err(Failure::die(format!("zone {zone} is used by vnet {vnet}"))),
        None => Ok(()),
    }
}
