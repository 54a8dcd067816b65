//! May this cell reach that address? The policy's destinations, resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netpolicy::{AddressClass, AddressSet, Cidr, PortSet, Transport, canonical, class};

use crate::plan::Names;
use crate::policy::{DestinationError, Policy, Whom};

/// The judge of one cell's connections.
#[derive(Debug, Clone)]
pub(crate) enum Rules {
    /// Whatever there is, written down elsewhere: for one run that is observed.
    Observe,
    /// Only these.
    Allow(Vec<Entry>),
    /// Everything but these addresses, and of these the ports.
    Restrict { addresses: AddressSet, own: bool, ports: Vec<u16>, own_addresses: Vec<IpAddr> },
}

/// One allowed destination.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) network: Cidr,
    pub(crate) ports: PortSet,
    pub(crate) transport: Transport,
}

impl Rules {
    /// The rules of a policy, with the addresses its names were pinned to.
    pub(crate) fn new(policy: &Policy, names: &Names) -> Result<Self, DestinationError> {
        if let Some(restriction) = &policy.restrict {
            let addresses = restriction.set()?;
            let own_addresses = own_addresses();
            let own = own_addresses.iter().any(|address| addresses.contains(*address));
            let ports = restriction.ports.clone();
            return Ok(Self::Restrict { addresses, own, ports, own_addresses });
        }
        let mut entries = Vec::new();
        for destination in &policy.connect {
            let networks: Vec<Cidr> = match &destination.whom {
                Whom::Network(network) => vec![*network],
                Whom::Name(name) => {
                    names.addresses(name).iter().map(|one| Cidr::around(*one, u8::MAX)).collect()
                }
            };
            let (ports, transport) = (&destination.ports, destination.transport);
            let entry = |network| Entry { network, ports: ports.clone(), transport };
            entries.extend(networks.into_iter().map(entry));
        }
        Ok(Self::Allow(entries))
    }

    /// May it be reached, on the host's network?
    pub(crate) fn allow(&self, to: SocketAddr, transport: Transport) -> bool {
        let address = canonical(to.ip());
        if to.port() == 0 {
            return false;
        }
        match self {
            Self::Observe => true,
            Self::Allow(entries) => entries.iter().any(|entry| {
                entry.transport == transport
                    && entry.ports.contains(to.port())
                    && entry.network.contains(address)
                    && (is_ordinary(address) || is_ordinary_nowhere(&entry.network))
            }),
            Self::Restrict { addresses, own, ports, own_addresses } => {
                let meant = embedded(address);
                let is_restricted = |one: IpAddr| {
                    let own_one =
                        one.is_loopback() || one.is_unspecified() || own_addresses.contains(&one);
                    addresses.contains(one) || *own && own_one
                };
                let many =
                    matches!(class(address), AddressClass::Multicast | AddressClass::Broadcast);
                let restricted = is_restricted(address) || meant.is_some_and(is_restricted);
                !many && (!restricted || ports.contains(&to.port()))
            }
        }
    }

    /// Does any rule concern UDP?
    pub(crate) fn has_udp(&self) -> bool {
        match self {
            Self::Allow(entries) => entries.iter().any(|entry| entry.transport == Transport::Udp),
            Self::Restrict { .. } | Self::Observe => true,
        }
    }

    /// Is there anything at all to reach?
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Allow(entries) if entries.is_empty())
    }
}

/// An address that a wide network may cover without being meant specially.
fn is_ordinary(address: IpAddr) -> bool {
    !matches!(
        class(address),
        AddressClass::Loopback
            | AddressClass::Unspecified
            | AddressClass::LinkLocal
            | AddressClass::Multicast
            | AddressClass::Broadcast
    )
}

/// A network that holds special addresses only was written for them: `127.0.0.1`, `169.254.0.0/16`.
fn is_ordinary_nowhere(network: &Cidr) -> bool {
    !is_ordinary(network.first()) && class(network.first()) == class(network.last())
}

/// The IPv4 address that packets to an IPv6 address end up at (6to4, NAT64, v4-compatible).
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let bits = v6.to_bits();
    let v4 = match v6.segments() {
        [0x2002, ..] => bits >> 80,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => bits,
        _ => return None,
    };
    u32::try_from(v4 & 0xffff_ffff).ok().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

/// Every address of this machine, loopback first.
fn own_addresses() -> Vec<IpAddr> {
    let mut own = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let trie = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    own.extend(local_v4(&trie));
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let v6 = table.lines().filter_map(|line| line.split(' ').next());
    own.extend(v6.filter_map(|hex| {
        u128::from_str_radix(hex, 16).ok().map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
    }));
    own
}

/// Addresses that the routing table calls local: the line before `/32 host LOCAL`.
fn local_v4(trie: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut last = None;
    for line in trie.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.contains("/32 host LOCAL") {
            found.extend(last.map(IpAddr::V4));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Restriction;

    fn rules(connect: &[&str]) -> Rules {
        let connect = connect.iter().map(|text| text.parse().unwrap()).collect();
        Rules::new(&Policy { connect, ..Policy::default() }, &Names::default()).unwrap()
    }

    fn tcp(rules: &Rules, to: &str) -> bool {
        rules.allow(to.parse().unwrap(), Transport::Tcp)
    }

    #[test]
    fn address_port_and_transport_belong_together() {
        let rules = rules(&["192.0.2.1:443", "192.0.2.2:80", "192.0.2.3:53/udp"]);
        assert!(tcp(&rules, "192.0.2.1:443") && tcp(&rules, "[::ffff:192.0.2.1]:443"));
        for to in ["192.0.2.1:80", "192.0.2.2:443", "192.0.2.3:53", "192.0.2.1:0", "127.0.0.1:443"]
        {
            assert!(!tcp(&rules, to), "{to}");
        }
        assert!(rules.allow("192.0.2.3:53".parse().unwrap(), Transport::Udp));
    }

    #[test]
    fn a_wide_network_does_not_open_the_machine_itself() {
        let rules = rules(&["0.0.0.0/0:80", "[::/0]:80", "127.0.0.1:8080"]);
        assert!(tcp(&rules, "198.51.100.1:80") && tcp(&rules, "127.0.0.1:8080"));
        for to in ["127.0.0.1:80", "0.0.0.0:80", "169.254.169.254:80", "[::1]:80", "[fe80::1]:80"] {
            assert!(!tcp(&rules, to), "{to}");
        }
    }

    #[test]
    fn a_restricted_own_address_restricts_all_of_them_in_every_spelling() {
        let restrict = Restriction {
            addresses: vec!["127.0.0.1".into(), "10.9.8.7".into()],
            ports: vec![8080],
        };
        let policy = Policy { restrict: Some(restrict), ..Policy::default() };
        let rules = Rules::new(&policy, &Names::default()).unwrap();
        let own: Vec<String> =
            own_addresses().iter().map(|one| SocketAddr::new(*one, 22).to_string()).collect();
        let spelled = [
            "127.0.0.2:22",
            "0.0.0.0:22",
            "[::]:22",
            "[::1]:22",
            "[::ffff:127.0.0.1]:22",
            "[64:ff9b::7f00:1]:22",
            "[2002:7f00:1::]:22",
            "10.9.8.7:22",
            "[::ffff:10.9.8.7]:22",
            "[64:ff9b::a09:807]:22",
            "224.0.0.1:22",
        ];
        for to in own.iter().map(String::as_str).chain(spelled) {
            assert!(!tcp(&rules, to), "{to}");
        }
        assert!(tcp(&rules, "127.0.0.1:8080") && tcp(&rules, "10.9.8.7:8080"));
        assert!(tcp(&rules, "198.51.100.1:22"));
    }

    #[test]
    fn without_a_list_nothing_is_reachable() {
        assert!(rules(&[]).is_empty() && !tcp(&rules(&[]), "192.0.2.1:443"));
    }

    #[test]
    fn local_addresses_are_read_from_the_table() {
        let trie = "Local:\n  +-- 10.0.0.0/8 2 0 2\n     |-- 10.1.2.3\n        /32 host LOCAL\n\
            \x20    |-- 10.255.255.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(trie), ["10.1.2.3".parse::<IpAddr>().unwrap()]);
    }
}
