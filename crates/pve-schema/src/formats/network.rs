//! Addresses, networks, host names, interfaces. Source: PVE::JSONSchema, PVE::Tools.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Row, require};
use crate::value::chomp;

pub(super) static FORMATS: [Row; 24] = [
    Row::code("ipv4", |value| {
        require(is_ipv4(value), "value does not look like a valid IPv4 address")
    }),
    Row::code("ipv6", |value| {
        require(is_ipv6(value), "value does not look like a valid IPv6 address")
    }),
    Row::code("ip", |value| {
        require(is_address(value), "value does not look like a valid IP address")
    }),
    Row::code("CIDRv4", |value| {
        require(is_cidr_v4(value), "value does not look like a valid IPv4 CIDR network")
    }),
    Row::code("CIDRv6", |value| {
        require(is_cidr_v6(value), "value does not look like a valid IPv6 CIDR network")
    }),
    Row::code("CIDR", |value| require(is_cidr(value), NOT_CIDR)),
    Row::code("FullRangeCIDR", |value| require(split_cidr(value, 0).is_some(), NOT_CIDR)),
    Row::code("IPorCIDR", address_or_network),
    Row::code("pve-ipv4-config", |value| {
        let known = ["dhcp", "manual"].contains(&chomp(value)) || is_cidr_v4(value);
        require(known, "value does not look like a valid ipv4 network configuration")
    }),
    Row::code("pve-ipv6-config", |value| {
        let known = ["auto", "dhcp", "manual"].contains(&chomp(value)) || is_cidr_v6(value);
        require(known, "value does not look like a valid ipv6 network configuration")
    }),
    Row::code("ipv4mask", |value| {
        let mask = value.parse::<Ipv4Addr>().map(u32::from);
        let known = mask.is_ok_and(|mask| mask.leading_ones() + mask.trailing_zeros() >= 32);
        require(known, "value does not look like a valid IP netmask")
    }),
    Row::pattern("dns-name", DNS_NAME, "value does not look like a valid DNS name"),
    Row::code("address", |value| {
        require(is_host(value), &format!("value does not look like a valid address: {value}"))
    }),
    Row::code("pve-storage-server", |value| {
        require(is_host(value), "value does not look like a valid server name or IP address")
    }),
    Row::code("pve-storage-portal-dns", |value| {
        require(is_portal(value), "value does not look like a valid portal address")
    }),
    Row::pattern(
        "mac-addr",
        "(?i:[a-f0-9][02468ace](?::[a-f0-9]{2}){5})",
        "value does not look like a valid unicast MAC address",
    ),
    Row::pattern(
        "mac-prefix",
        "(?i:[a-f0-9][02468ace](?::[a-f0-9]{2}){0,2}:?)",
        "value is not a valid unicast MAC address prefix",
    ),
    Row::pattern("pve-iface", IFACE, "invalid network interface name '{}'"),
    Row::code("pve-vlan-id-or-range", vlan_range),
    Row::code("lxc-ip-with-ll-iface", |value| {
        static NAME: Row = Row::pattern("", IFACE, "");
        let link_local = value.split_once('%').is_some_and(|(address, iface)| {
            address.starts_with("fe80:") && is_address(address) && NAME.check(iface).is_ok()
        });
        require(link_local || is_address(value), "value does not look like a valid IP address")
    }),
    Row::code("pve-sdn-bgp-rt", |value| {
        let lawful = value.split_once(':').is_some_and(|(asn, id)| is_u32(asn) && is_u32(id));
        require(lawful, "value does not look like a valid bgp route-target")
    }),
    Row::pattern(
        "pve-sdn-isis-net",
        r"[a-fA-F0-9]{2}(?:\.[a-fA-F0-9]{4}){3,9}\.[a-fA-F0-9]{2}",
        "value does not look like a valid isis net",
    ),
    Row::code("pve-sdn-subnet-id", |value| {
        let cidr = match value.split('-').collect::<Vec<_>>().as_slice() {
            [_, address, mask, ..] if !value.contains('/') => format!("{address}/{mask}"),
            _ => value.to_owned(),
        };
        require(is_cidr(&cidr), NOT_CIDR)
    }),
    Row::code("IPorCIDRorAlias", |value| {
        static ALIAS: Row = Row::pattern("", r"[A-Za-z][A-Za-z0-9\-_]+", "");
        if ALIAS.check(value).is_ok() { Ok(()) } else { address_or_network(value) }
    }),
];

const NOT_CIDR: &str = "value does not look like a valid CIDR network";
const IFACE: &str = r"(?i:[a-z][a-z0-9_]{1,20}(?:[:.]\d+)?)";
const DNS_NAME: &str =
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?";

pub(super) fn is_address(value: &str) -> bool {
    is_ipv4(value) || is_ipv6(value)
}

fn is_ipv4(value: &str) -> bool {
    chomp(value).parse::<Ipv4Addr>().is_ok()
}

fn is_ipv6(value: &str) -> bool {
    chomp(value).parse::<Ipv6Addr>().is_ok()
}

/// PVE accepts prefixes from 8 on.
fn is_cidr_v4(value: &str) -> bool {
    split_cidr(value, 8).is_some_and(|(address, _)| is_ipv4(address))
}

fn is_cidr_v6(value: &str) -> bool {
    split_cidr(value, 8).is_some_and(|(address, _)| is_ipv6(address))
}

fn is_cidr(value: &str) -> bool {
    split_cidr(value, 8).is_some()
}

/// Address and prefix length, when both are lawful.
pub(super) fn split_cidr(value: &str, shortest: u32) -> Option<(&str, u32)> {
    let (address, prefix) = chomp(value).split_once('/')?;
    let longest = if is_ipv4(address) { 32 } else { 128 };
    let digits = prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix: u32 = prefix.parse().ok().filter(|_| digits)?;
    let lawful = is_address(address) && !address.ends_with('\n');
    (lawful && (shortest..=longest).contains(&prefix)).then_some((address, prefix))
}

fn is_host(value: &str) -> bool {
    static NAME: Row = Row::pattern("", DNS_NAME, "");
    is_address(value) || NAME.check(value).is_ok()
}

/// Host or address with optional port: `host:3260`, `[::1]:3260`, `::1.3260`.
fn is_portal(value: &str) -> bool {
    static NAME: Row = Row::pattern("", r"(?:[A-Za-z0-9\-.]+|\[[A-Za-z0-9\-.]+\])(?::\d+)?", "");
    static BRACKETS: Row = Row::pattern("", r"\[[0-9a-fA-F:.]+\](?::\d+)?", "");
    let inner = || value.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let dotted =
        || value.rsplit_once('.').is_some_and(|(host, port)| is_ipv6(host) && is_u32(port));
    NAME.check(value).is_ok()
        || (BRACKETS.check(value).is_ok() && inner().is_some_and(is_address))
        || is_ipv6(value)
        || dotted()
}

fn is_u32(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

fn vlan_range(value: &str) -> Result<(), String> {
    let configuration = || format!("invalid VLAN configuration '{value}'\n");
    let (start, end) = match chomp(value).split_once('-') {
        Some((start, end)) => (start, Some(end)),
        None => (chomp(value), None),
    };
    let tag = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits {
            return Err(configuration());
        }
        text.parse::<u32>()
            .ok()
            .filter(|tag| (2..=4094).contains(tag))
            .ok_or_else(|| format!("invalid VLAN tag '{text}'\n"))
    };
    if let Some(end) = end.filter(|end| end.is_empty() || !end.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(format!("invalid VLAN configuration '{start}-{end}'\n"));
    }
    let first = tag(start)?;
    match end.map(tag).transpose()? {
        Some(last) if first >= last => {
            Err(format!("VLAN range must go from lower to higher tag '{value}'\n"))
        }
        _ => Ok(()),
    }
}

/// An address, or a network whose host bits are zero (Net::IP's rule and texts).
fn address_or_network(value: &str) -> Result<(), String> {
    if is_address(value) {
        return Ok(());
    }
    let (address, prefix) = chomp(value)
        .split_once('/')
        .filter(|(address, prefix)| {
            is_address(address) && prefix.bytes().all(|b| b.is_ascii_digit())
        })
        .ok_or("value does not look like a valid IP address or CIDR network\n")?;
    network(address, prefix)
}

/// Net::IP's check of `ADDRESS/PREFIX`.
pub(super) fn network(address: &str, prefix: &str) -> Result<(), String> {
    let (bits, width) = match (address.parse::<Ipv4Addr>(), address.parse::<Ipv6Addr>()) {
        (Ok(v4), _) => (u128::from(u32::from(v4)), 32),
        (_, Ok(v6)) => (u128::from(v6), 128),
        _ => {
            return Err("value does not look like a valid IP address or CIDR network\n".to_owned());
        }
    };
    let length: u32 = prefix.parse().unwrap_or(u32::MAX);
    if length > width {
        return Err(format!("Prefix length {prefix} is longer than IP address ({width})\n"));
    }
    let host_bits = width - length;
    let host = if host_bits == 128 { bits } else { bits & ((1u128 << host_bits) - 1) };
    let digits = usize::try_from(width).unwrap_or(128);
    require(host == 0, &format!("Invalid prefix {bits:0digits$b}/{prefix}"))
}

#[cfg(test)]
mod tests {
    use super::super::check_named as check;

    #[test]
    fn lawful_values_pass() {
        for (format, value) in [
            ("ip", "192.0.2.1"),
            ("ip", "2001:db8::1"),
            ("ip", "::ffff:192.0.2.1"),
            ("CIDR", "192.0.2.1/24"),
            ("CIDRv6", "2001:db8::/32"),
            ("FullRangeCIDR", "0.0.0.0/0"),
            ("IPorCIDR", "192.0.2.0/24"),
            ("IPorCIDR", "0.0.0.0/0"),
            ("IPorCIDR", "::/0"),
            ("IPorCIDRorAlias", "my_alias"),
            ("ipv4mask", "255.255.255.192"),
            ("ipv4mask", "0.0.0.0"),
            ("address", "pve1.example.org"),
            ("pve-storage-portal-dns", "[2001:db8::1]:3260"),
            ("pve-storage-portal-dns", "2001:db8::1.3260"),
            ("pve-storage-portal-dns", "host:3260"),
            ("mac-addr", "BC:24:11:00:00:01"),
            ("pve-iface", "vmbr0.100"),
            ("pve-vlan-id-or-range", "2-4094"),
            ("lxc-ip-with-ll-iface", "fe80::1%eth0"),
            ("pve-sdn-bgp-rt", "65000:4294967295"),
            ("pve-sdn-subnet-id", "zone1-10.0.0.0-24"),
            ("pve-sdn-subnet-id", "10.0.0.0/24"),
        ] {
            assert_eq!(check(format, value), Ok(()), "{format} {value}");
        }
    }

    #[test]
    fn unlawful_values_fail() {
        for (format, value) in [
            ("ip", "256.0.0.1"),
            ("ip", "01.0.0.1"),
            ("CIDR", "192.0.2.1/7"),
            ("CIDR", "192.0.2.1/33"),
            ("CIDR", "192.0.2.1/+9"),
            ("CIDRv4", "2001:db8::/32"),
            ("ipv4mask", "255.0.255.0"),
            ("address", "a_b"),
            ("pve-storage-portal-dns", "host:"),
            ("pve-storage-portal-dns", "[x"),
            ("mac-addr", "01:00:5e:00:00:01"),
            ("pve-iface", "0eth"),
            ("lxc-ip-with-ll-iface", "fe80::1%0"),
            ("pve-sdn-bgp-rt", "1:4294967296"),
        ] {
            assert!(check(format, value).is_err(), "{format} {value}");
        }
    }

    #[test]
    fn messages_are_pves() {
        for (format, value, message) in [
            ("IPorCIDR", "192.0.2.1/24", "Invalid prefix 11000000000000000000001000000001/24\n"),
            ("IPorCIDR", "192.0.2.1/40", "Prefix length 40 is longer than IP address (32)\n"),
            ("IPorCIDR", "x", "value does not look like a valid IP address or CIDR network\n"),
            ("pve-vlan-id-or-range", "1", "invalid VLAN tag '1'\n"),
            ("pve-vlan-id-or-range", "x", "invalid VLAN configuration 'x'\n"),
            ("pve-vlan-id-or-range", "5-", "invalid VLAN configuration '5-'\n"),
            ("pve-vlan-id-or-range", "9-9", "VLAN range must go from lower to higher tag '9-9'\n"),
            ("address", "a b", "value does not look like a valid address: a b\n"),
        ] {
            assert_eq!(check(format, value).unwrap_err(), message, "{format} {value}");
        }
    }
}
