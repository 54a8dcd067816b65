//! Rights that the schema leaves to the handlers: on a virtual network, by the zone it is in.

use super::super::Call;
use super::file::{VNETS, text};
use crate::failure::Failure;
use crate::state::Objects;

/// The zone that stands for bridges outside of SDN.
pub(super) const LOCAL_ZONE: &str = "localnetwork";

/// Refuses unless the caller holds one of the privileges on the configured network.
pub(in super::super) fn vnet_access(
    call: &Call<'_>,
    vnet: &str,
    privileges: &[&str],
) -> Result<(), Failure> {
    let zone = text(VNETS.existing(&call.state.objects, vnet)?, "zone").unwrap_or_default();
    let path = format!("/sdn/zones/{zone}/{vnet}");
    if call.may(&path, privileges) {
        return Ok(());
    }
    Err(Failure::permission(&format!("{path}, {}", privileges.join("|"))))
}

/// Refuses unless the caller may connect guests to a bridge or virtual network, in this VLAN.
pub(in super::super) fn needs_bridge(
    call: &Call<'_>,
    bridge: &str,
    vlan: Option<&str>,
) -> Result<(), Failure> {
    let zone = zone_of(&call.state.objects, bridge);
    let path = format!("/sdn/zones/{zone}/{bridge}");
    // A right on all, or on the one VLAN, is enough.
    let tagged = vlan.is_some_and(|vlan| call.may(&format!("{path}/{vlan}"), &["SDN.Use"]));
    if tagged { Ok(()) } else { call.needs(&path, "SDN.Use") }
}

fn zone_of(objects: &Objects, bridge: &str) -> String {
    let running = VNETS.running(objects).remove(bridge);
    let zone = running.as_ref().and_then(|vnet| text(vnet, "zone"));
    zone.unwrap_or(LOCAL_ZONE).to_owned()
}
