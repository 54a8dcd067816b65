//! Firewall rules. Source: PVE::Firewall, Net::IP.

use std::net::IpAddr;

use super::{Row, network, require};
use crate::value::chomp;

pub(super) static FORMATS: [Row; 6] = [
    Row::code("pve-fw-addr-spec", address_list),
    Row::code("pve-fw-sport-spec", |ports| port_list(ports, false)),
    Row::code("pve-fw-dport-spec", |ports| port_list(ports, true)),
    Row::code("pve-fw-protocol-spec", |name| {
        let known = matches!(name, "" | "0") || is_protocol(name);
        require(known, &format!("unknown protocol '{name}'"))
    }),
    Row::code("pve-fw-icmp-type-spec", |name| {
        require(name.is_empty() || is_icmp(name), &format!("invalid icmp-type value '{name}'"))
    }),
    Row::code("pve-fw-conntrack-helper", |list| {
        let unknown = list.split(',').find(|name| !name.is_empty() && !HELPERS.contains(name));
        unknown.map_or(Ok(()), |name| Err(format!("unknown conntrack helper '{name}'\n")))
    }),
];

/// Most characters of the name of an IP set (behind `+`) or an alias.
const MAX_NAME: usize = 64;
/// Most numbers of a port list; a range counts as two.
const MAX_PORTS: usize = 15;

const HELPERS: [&str; 9] =
    ["amanda", "ftp", "irc", "netbios-ns", "pptp", "sane", "sip", "snmp", "tftp"];

fn address_list(list: &str) -> Result<(), String> {
    static SET: Row = Row::pattern("", r"\+\S+", "");
    static ALIAS: Row = Row::pattern("", r"[A-Za-z][A-Za-z0-9\-_]+", "");
    let length = list.chars().count();
    if SET.check(list).is_ok() {
        return require(length <= MAX_NAME + 1, "ipset name too long");
    }
    if ALIAS.check(list).is_ok() {
        return require(length <= MAX_NAME, "alias name too long");
    }
    let elements = elements(list)?;
    let mut version = None;
    for element in &elements {
        let address = address_or_range(element)?;
        if version.is_some_and(|version| version != address.is_ipv6()) {
            return Err(format!("detected mixed ipv4/ipv6 addresses in address list '{list}'\n"));
        }
        version = Some(address.is_ipv6());
    }
    let range = elements.len() > 1 && elements.iter().any(|element| element.contains('-'));
    require(!range, "you can't use a range in a list")
}

/// Perl drops empty elements at the end; a list that does not join to the same text has some.
fn elements(list: &str) -> Result<Vec<&str>, String> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    require(!list.ends_with(','), "extraneous commas in list")?;
    Ok(list.split(',').collect())
}

/// An address, a network or a range; the first address says the version.
fn address_or_range(element: &str) -> Result<IpAddr, String> {
    let parse = |text: &str| {
        text.trim()
            .parse::<IpAddr>()
            .map_err(|_| format!("invalid IP address: Cannot determine IP version for {text}\n"))
    };
    if let Some((first, last)) = element.split_once('-') {
        let (first, last) = (parse(first)?, parse(last)?);
        let ordered = first.is_ipv6() == last.is_ipv6() && first <= last;
        require(ordered, "invalid IP address: Begin address is greater than End address")?;
        return Ok(first);
    }
    let Some((address, prefix)) = element.split_once('/') else {
        return parse(element);
    };
    let parsed = parse(address)?;
    network::network(address, prefix).map_err(|cause| format!("invalid IP address: {cause}"))?;
    Ok(parsed)
}

fn port_list(list: &str, destination: bool) -> Result<(), String> {
    let mut count = 0;
    let mut icmp = false;
    for item in elements(list)? {
        let item_chomped = chomp(item);
        if let Some((first, last)) =
            item_chomped.split_once(':').filter(|(a, b)| is_number(a) && is_number(b))
        {
            count += 2;
            let (low, high) = (port(first)?, port(last)?);
            require(
                low <= high,
                &format!(
                    "backwards range '{first}:{last}' not allowed, did you mean '{last}:{first}'?"
                ),
            )?;
        } else if is_number(item_chomped) {
            count += 1;
            port(item_chomped)?;
        } else if destination && is_icmp(item) {
            icmp = true;
        } else {
            require(is_service(item), &format!("invalid port '{item}'"))?;
        }
    }
    require(!(icmp && count > 0), "ICMP ports not allowed in port range")?;
    require(count <= MAX_PORTS, "too many entries in port list (> 15 numbers)")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("invalid port '{text}'\n"))
}

/// PVE looks names up in /etc/services; here their shape decides (RFC 6335, with the few
/// underscores and dots Debian's file has).
fn is_service(name: &str) -> bool {
    name.bytes().any(|b| b.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
}

fn is_icmp(name: &str) -> bool {
    ICMP.contains(&name) || ICMP_V6.contains(&name)
}

fn is_protocol(name: &str) -> bool {
    let number = name.parse::<u8>().is_ok_and(|number| number.to_string() == name);
    number || PROTOCOLS.contains(&name)
}

/// Debian's /etc/protocols, and icmpv6, which PVE adds.
const PROTOCOLS: [&str; 54] = [
    "ip",
    "hopopt",
    "icmp",
    "igmp",
    "ggp",
    "ipencap",
    "st",
    "tcp",
    "egp",
    "igp",
    "pup",
    "udp",
    "hmp",
    "xns-idp",
    "rdp",
    "iso-tp4",
    "dccp",
    "xtp",
    "ddp",
    "idpr-cmtp",
    "ipv6",
    "ipv6-route",
    "ipv6-frag",
    "idrp",
    "rsvp",
    "gre",
    "esp",
    "ah",
    "skip",
    "ipv6-icmp",
    "ipv6-nonxt",
    "ipv6-opts",
    "rspf",
    "vmtp",
    "eigrp",
    "ospf",
    "ax.25",
    "ipip",
    "etherip",
    "encap",
    "pim",
    "ipcomp",
    "vrrp",
    "l2tp",
    "isis",
    "sctp",
    "fc",
    "mobility-header",
    "udplite",
    "mpls-in-ip",
    "manet",
    "hip",
    "shim6",
    "icmpv6",
];

const ICMP: [&str; 37] = [
    "any",
    "echo-reply",
    "destination-unreachable",
    "network-unreachable",
    "host-unreachable",
    "protocol-unreachable",
    "port-unreachable",
    "fragmentation-needed",
    "source-route-failed",
    "network-unknown",
    "host-unknown",
    "network-prohibited",
    "host-prohibited",
    "TOS-network-unreachable",
    "TOS-host-unreachable",
    "communication-prohibited",
    "host-precedence-violation",
    "precedence-cutoff",
    "source-quench",
    "redirect",
    "network-redirect",
    "host-redirect",
    "TOS-network-redirect",
    "TOS-host-redirect",
    "echo-request",
    "router-advertisement",
    "router-solicitation",
    "time-exceeded",
    "ttl-zero-during-transit",
    "ttl-zero-during-reassembly",
    "parameter-problem",
    "ip-header-bad",
    "required-option-missing",
    "timestamp-request",
    "timestamp-reply",
    "address-mask-request",
    "address-mask-reply",
];

const ICMP_V6: [&str; 25] = [
    "destination-unreachable",
    "no-route",
    "communication-prohibited",
    "beyond-scope",
    "address-unreachable",
    "port-unreachable",
    "failed-policy",
    "reject-route",
    "packet-too-big",
    "time-exceeded",
    "ttl-zero-during-transit",
    "ttl-zero-during-reassembly",
    "parameter-problem",
    "bad-header",
    "unknown-header-type",
    "unknown-option",
    "echo-request",
    "echo-reply",
    "router-solicitation",
    "router-advertisement",
    "neighbor-solicitation",
    "neighbour-solicitation",
    "neighbor-advertisement",
    "neighbour-advertisement",
    "redirect",
];

#[cfg(test)]
mod tests {
    use super::super::check_named as check;

    #[test]
    fn lawful_values_pass() {
        for (format, value) in [
            ("pve-fw-addr-spec", ""),
            ("pve-fw-addr-spec", "+dc/blocked"),
            ("pve-fw-addr-spec", "my-alias"),
            ("pve-fw-addr-spec", "10.0.0.0/8,192.0.2.1"),
            ("pve-fw-addr-spec", "20.34.101.207-201.3.9.99"),
            ("pve-fw-addr-spec", "2001:db8::/32"),
            ("pve-fw-dport-spec", "80,443,8000:8010,ssh"),
            ("pve-fw-dport-spec", "echo-request"),
            ("pve-fw-protocol-spec", "tcp"),
            ("pve-fw-protocol-spec", "58"),
            ("pve-fw-icmp-type-spec", "any"),
            ("pve-fw-conntrack-helper", "ftp,tftp"),
        ] {
            assert_eq!(check(format, value), Ok(()), "{format} {value}");
        }
    }

    #[test]
    fn messages_are_pves() {
        let many = vec!["1"; 16].join(",");
        for (format, value, message) in [
            ("pve-fw-addr-spec", "10.0.0.1,", "extraneous commas in list\n"),
            ("pve-fw-addr-spec", "10.0.0.1,10.0.0.2-10.0.0.3", "you can't use a range in a list\n"),
            (
                "pve-fw-addr-spec",
                "10.0.0.1,::1",
                "detected mixed ipv4/ipv6 addresses in address list '10.0.0.1,::1'\n",
            ),
            ("pve-fw-dport-spec", "70000", "invalid port '70000'\n"),
            (
                "pve-fw-dport-spec",
                "9:1",
                "backwards range '9:1' not allowed, did you mean '1:9'?\n",
            ),
            ("pve-fw-dport-spec", "echo-request,80", "ICMP ports not allowed in port range\n"),
            ("pve-fw-sport-spec", "a b", "invalid port 'a b'\n"),
            ("pve-fw-sport-spec", &many, "too many entries in port list (> 15 numbers)\n"),
            ("pve-fw-protocol-spec", "foo", "unknown protocol 'foo'\n"),
            ("pve-fw-icmp-type-spec", "foo", "invalid icmp-type value 'foo'\n"),
        ] {
            assert_eq!(check(format, value).unwrap_err(), message, "{format} {value}");
        }
    }
}
