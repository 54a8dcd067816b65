//! `/cluster/sdn` and `/nodes/{node}/sdn`: virtual networks.
//!
//! What calls change is a configuration beside the one that runs, as on a genuine cluster
//! (`PVE::Network::SDN`): each file of sections is kept twice, and `PUT /cluster/sdn` copies one
//! to the other. Until then lists with `pending` show what is new, changed or deleted. Address
//! management, DNS and the firewall of a virtual network have no such second form.

mod access;
mod addresses;
mod apply;
mod controllers;
mod fabric_nodes;
mod fabrics;
mod file;
mod lock;
mod node;
mod pending;
mod prefix_lists;
mod route_maps;
mod sections;
mod services;
mod subnets;
mod vnets;
mod zones;

pub(super) use access::{needs_bridge, vnet_access};
pub(super) use node::{local_vnets, resources};
pub(super) use sections::SEEN_WITH;

use super::Row;

pub(super) const TABLES: [&[Row]; 14] = [
    addresses::ROWS,
    apply::ROWS,
    controllers::ROWS,
    fabric_nodes::ROWS,
    fabrics::ROWS,
    lock::ROWS,
    node::ROWS,
    prefix_lists::ROWS,
    route_maps::ROWS,
    services::ROWS,
    services::DNS_ROWS,
    subnets::ROWS,
    vnets::ROWS,
    zones::ROWS,
];
