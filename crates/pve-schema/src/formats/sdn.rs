//! Names of routing policy. Sources: PVE::Network::SDN::RouteMaps, PrefixLists, Fabrics.

use super::{Row, require};

pub(super) static FORMATS: [Row; 3] = [
    Row::code("pve-sdn-route-map-id", |id| {
        let ours = matches!(id, "MAP_VTEP_IN" | "MAP_VTEP_OUT" | "correct_src");
        policy_id("route map ID", id, ours || id.starts_with("pve_"))
    }),
    Row::code("pve-sdn-prefix-list-id", |id| {
        let ours = matches!(id, "only_default" | "only_default_v6" | "loopbacks_ips");
        policy_id("prefix list ID", id, ours)
    }),
    Row::pattern(
        "pve-sdn-wireguard-iface-name",
        "[a-zA-Z0-9][a-zA-Z0-9-]{0,6}[a-zA-Z0-9]?",
        "WireGuard interface name '{}' contains illegal characters or exceeds the eight character limit",
    ),
];

/// Up to 32 characters; names that PVE gives itself are refused before their form is looked at.
fn policy_id(what: &str, id: &str, reserved: bool) -> Result<(), String> {
    static SHAPE: Row = Row::pattern("", "[a-zA-Z0-9][a-zA-Z0-9_-]{0,30}[a-zA-Z0-9]?", "");
    require(!reserved, &format!("{what} '{id}' is currently reserved and cannot be used"))?;
    require(SHAPE.check(id).is_ok(), &format!("{what} '{id}' contains illegal characters"))
}

#[cfg(test)]
mod tests {
    use crate::formats::check_named;

    #[test]
    fn reserved_names_and_illegal_ones_are_told_apart() {
        let route_map = |id: &str| check_named("pve-sdn-route-map-id", id);
        assert_eq!(route_map("to-peer_1"), Ok(()));
        assert_eq!(
            route_map("pve_x").unwrap_err(),
            "route map ID 'pve_x' is currently reserved and cannot be used\n"
        );
        assert_eq!(route_map("-a").unwrap_err(), "route map ID '-a' contains illegal characters\n");
        assert!(route_map(&"a".repeat(32)).is_ok() && route_map(&"a".repeat(33)).is_err());
        let prefix_list = |id: &str| check_named("pve-sdn-prefix-list-id", id);
        assert!(prefix_list("pve_x").is_ok() && prefix_list("only_default").is_err());
        let iface = |name: &str| check_named("pve-sdn-wireguard-iface-name", name);
        assert!(iface("wg0").is_ok() && iface("wg-0123456").is_err());
    }
}
