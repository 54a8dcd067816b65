//! `/cluster/sdn/controllers`.

use pve_access::Release;
use pve_schema::Verb;

use super::super::section_options::Kind;
use super::super::{Call, Row};
use super::file::{CONTROLLERS, ROUTE_MAPS, ZONES, text};
use super::sections::{self, Book, book_rows};
use crate::failure::Failure;
use crate::state::Fields;

pub(super) const ROWS: &[Row] = book_rows!("/cluster/sdn/controllers", "/{controller}", BOOK);

const BOOK: Book = Book {
    file: CONTROLLERS,
    noun: "controller",
    rights: "/sdn/controllers",
    kinds: &KINDS,
    verify,
    unused,
};

#[rustfmt::skip]
const KINDS: [Kind; 4] = [
    Kind {
        name: "evpn",
        required: &["asn"],
        optional: &[
            "peers", "fabric", "route-map-in", "route-map-out", "nodes", "peer-group-name",
            "ebgp-multihop", "bgp-mode",
        ],
    },
    Kind {
        name: "bgp",
        required: &["node", "asn", "peers"],
        optional: &[
            "bgp-multipath-as-path-relax", "ebgp", "ebgp-multihop", "loopback", "route-map-in",
            "route-map-out",
        ],
    },
    Kind {
        name: "isis",
        required: &["isis-domain", "isis-net", "isis-ifaces", "node"],
        optional: &["loopback"],
    },
    Kind { name: "faucet", required: &[], optional: &[] },
];
/// The group of peers of a controller that names none.
const PEER_GROUP: &str = "VTEP";

fn verify(
    call: &Call<'_>,
    id: &str,
    _before: Option<&Fields>,
    controller: &mut Fields,
) -> Result<(), Failure> {
    for key in ["route-map-in", "route-map-out"] {
        let Some(map) = text(controller, key) else { continue };
        let mut entries = call.state.objects.list(ROUTE_MAPS.at);
        if !entries.any(|(_, entry)| text(entry, ROUTE_MAPS.id) == Some(map)) {
            return Err(Failure::die(format!("route map {map} does not exist!")));
        }
    }
    if text(controller, "type") != Some("evpn") {
        return Ok(());
    }
    let others = call.state.objects.list(CONTROLLERS.at).filter(|(other, _)| *other != id);
    let group = |one: &Fields| text(one, "peer-group-name").unwrap_or(PEER_GROUP).to_owned();
    let own = group(controller);
    let mut rivals = others.filter(|(_, one)| text(one, "type") == Some("evpn"));
    let release = call.state.accounts.release();
    if rivals.any(|(_, one)| release == Release::V8 || group(one) == own) {
        return Err(Failure::die(match release {
            Release::V8 => "only 1 global evpn controller can be defined".to_owned(),
            Release::V9 => {
                format!("cannot have two controllers with same peer-group-name configured ({own})")
            }
        }));
    }
    match (controller.contains_key("peers"), controller.contains_key("fabric")) {
        (true, false) | (false, true) => Ok(()),
        _ if release == Release::V8 => {
            Err(Failure::die("missing value for required option 'peers'"))
        }
        _ => Err(Failure::die("must have exactly one of peers / fabric defined")),
    }
}

fn unused(call: &Call<'_>, controller: &str) -> Result<(), Failure> {
    let names = |zone: &Fields| {
        let secondary = zone.get("secondary-controllers").and_then(|list| list.as_array());
        let mut secondary = secondary.into_iter().flatten();
        text(zone, "controller") == Some(controller)
            || secondary.any(|one| one.as_str() == Some(controller))
    };
    match call.state.objects.list(ZONES.at).find(|(_, zone)| names(zone)) {
        Some((zone, _)) => Err(Failure::die(format!("controller {controller} is used by {zone}"))),
        None => Ok(()),
    }
}
