//! Firewalls of the cluster, its nodes, guests and virtual networks: one set of handlers on
//! five kinds of file.

mod groups;
mod lists;
mod options;
mod rules;

use pve_schema::Verb;
use serde_json::{Map, Value};

use super::{Call, Handler, Row, sdn};
use crate::failure::Failure;
use crate::state::firewall::{CLUSTER, guest_scope};
use crate::state::{Firewall, Guest};

macro_rules! at {
    ($base:literal: $($verb:ident $rest:literal $handler:path),* $(,)?) => {
        &[$((Verb::$verb, concat!($base, $rest), $handler as Handler)),*]
    };
}

macro_rules! rules_and_options {
    ($base:literal) => {
        at![$base:
            Get "/rules" rules::list, Post "/rules" rules::create,
            Get "/rules/{pos}" rules::show, Put "/rules/{pos}" rules::update,
            Delete "/rules/{pos}" rules::delete,
            Get "/options" options::show, Put "/options" options::update,
        ]
    };
}

macro_rules! named_lists {
    ($base:literal) => {
        at![$base:
            Get "/aliases" lists::aliases, Post "/aliases" lists::create_alias,
            Get "/aliases/{name}" lists::alias, Put "/aliases/{name}" lists::update_alias,
            Delete "/aliases/{name}" lists::delete_alias,
            Get "/ipset" lists::sets, Post "/ipset" lists::create_set,
            Get "/ipset/{name}" lists::entries, Post "/ipset/{name}" lists::create_entry,
            Delete "/ipset/{name}" lists::delete_set,
            Get "/ipset/{name}/{cidr}" lists::entry, Put "/ipset/{name}/{cidr}" lists::update_entry,
            Delete "/ipset/{name}/{cidr}" lists::delete_entry,
            Get "/refs" lists::references,
        ]
    };
}

pub(super) const TABLES: [&[Row]; 11] = [
    rules_and_options!("/cluster/firewall"),
    rules_and_options!("/nodes/{node}/firewall"),
    rules_and_options!("/nodes/{node}/qemu/{vmid}/firewall"),
    rules_and_options!("/nodes/{node}/lxc/{vmid}/firewall"),
    rules_and_options!("/cluster/sdn/vnets/{vnet}/firewall"),
    named_lists!("/cluster/firewall"),
    named_lists!("/nodes/{node}/qemu/{vmid}/firewall"),
    named_lists!("/nodes/{node}/lxc/{vmid}/firewall"),
    groups::ROWS,
    &[(Verb::Get, "/cluster/firewall/macros", lists::macros)],
    &[
        (Verb::Get, "/nodes/{node}/firewall/log", lists::log),
        (Verb::Get, "/nodes/{node}/qemu/{vmid}/firewall/log", lists::log),
        (Verb::Get, "/nodes/{node}/lxc/{vmid}/firewall/log", lists::log),
    ],
];

/// The key of the file the path speaks of. A genuine node reads an absent file as an empty one,
/// so a guest that does not exist has no rules either.
fn scope(call: &Call<'_>) -> Result<String, Failure> {
    if let Some(vnet) = call.text("vnet") {
        let reads = call.method.verb() == Verb::Get;
        sdn::vnet_access(call, &vnet, if reads { sdn::SEEN_WITH } else { &["SDN.Allocate"] })?;
        return Ok(format!("vnet/{vnet}"));
    }
    if call.method.path().contains("{vmid}") {
        return call.guest().map(|guest: &Guest| guest_scope(guest.vmid));
    }
    match call.text("node") {
        Some(_) => Ok(format!("node/{}", call.node()?.name)),
        None => Ok(CLUSTER.to_owned()),
    }
}

/// The file, empty when nothing was ever written.
fn read<'c>(call: &'c Call<'_>, empty: &'c Firewall) -> Result<&'c Firewall, Failure> {
    Ok(call.state.firewalls.get(&scope(call)?).unwrap_or(empty))
}

fn write<'c>(call: &'c mut Call<'_>) -> Result<&'c mut Firewall, Failure> {
    let scope = scope(call)?;
    Ok(call.state.firewalls.or_default(scope))
}

/// The named parameters that were given.
fn picked(call: &Call<'_>, names: &[&str]) -> Map<String, Value> {
    let given = names.iter().filter_map(|name| {
        let value = call.parameters.get(*name).filter(|value| !value.is_null())?;
        Some(((*name).to_owned(), value.clone()))
    });
    given.collect()
}
