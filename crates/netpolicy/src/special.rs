//! The special-purpose address ranges, as data.

use std::net::{IpAddr, Ipv6Addr};

use crate::{
    cidr::Cidr,
    class::AddressClass::{self, *},
};

/// A range of addresses with a purpose of its own.
#[derive(Clone, Copy, Debug)]
pub struct SpecialRange {
    /// The range.
    pub network: Cidr,
    /// What its addresses are.
    pub class: AddressClass,
    /// Its name in the registry.
    pub name: &'static str,
    /// Where it is defined.
    pub source: &'static str,
    /// How far right the address has to be shifted for the 32 low bits to be the IPv4 address
    /// packets end up at; `None` if it carries none.
    pub inner_shift: Option<u32>,
}

/// The IANA special-purpose registries (RFC 6890, RFC 8190; state of 2025), with multicast and
/// the ranges that carry IPv4 addresses. A more specific range stands before the wider one.
///
/// Ranges the registry marks as globally reachable are left out where they lie in public space
/// (AS112, AMT), and not exempted where they lie in reserved space: 192.0.0.9, 192.0.0.10 and
/// 2001:1::1 to ::3 are anycast to the nearest router, which no outgoing request has to reach.
#[rustfmt::skip]
pub const SPECIAL_RANGES: &[SpecialRange] = &[
    plain(Cidr::v4(0, 0, 0, 0, 32), Unspecified, "this host", "RFC 1122 §3.2.1.3"),
    plain(Cidr::v4(0, 0, 0, 0, 8), Reserved, "this network", "RFC 791 §3.2"),
    plain(Cidr::v4(10, 0, 0, 0, 8), Private, "private use", "RFC 1918"),
    plain(Cidr::v4(100, 64, 0, 0, 10), SharedCgnat, "shared address space", "RFC 6598"),
    plain(Cidr::v4(127, 0, 0, 0, 8), Loopback, "loopback", "RFC 1122 §3.2.1.3"),
    plain(Cidr::v4(169, 254, 0, 0, 16), LinkLocal, "link local", "RFC 3927"),
    plain(Cidr::v4(172, 16, 0, 0, 12), Private, "private use", "RFC 1918"),
    plain(Cidr::v4(192, 0, 0, 0, 24), Reserved, "protocol assignments", "RFC 6890 §2.1"),
    plain(Cidr::v4(192, 0, 2, 0, 24), Documentation, "TEST-NET-1", "RFC 5737"),
    plain(Cidr::v4(192, 88, 99, 0, 24), Reserved, "6to4 relay anycast", "RFC 7526"),
    plain(Cidr::v4(192, 168, 0, 0, 16), Private, "private use", "RFC 1918"),
    plain(Cidr::v4(198, 18, 0, 0, 15), Benchmarking, "benchmarking", "RFC 2544"),
    plain(Cidr::v4(198, 51, 100, 0, 24), Documentation, "TEST-NET-2", "RFC 5737"),
    plain(Cidr::v4(203, 0, 113, 0, 24), Documentation, "TEST-NET-3", "RFC 5737"),
    plain(Cidr::v4(224, 0, 0, 0, 4), Multicast, "multicast", "RFC 5771"),
    plain(Cidr::v4(255, 255, 255, 255, 32), Broadcast, "limited broadcast", "RFC 8190"),
    plain(Cidr::v4(240, 0, 0, 0, 4), Reserved, "reserved", "RFC 1112 §4"),
    plain(Cidr::v6([0; 4], 128), Unspecified, "unspecified", "RFC 4291 §2.5.2"),
    plain(Cidr::exactly(Ipv6Addr::LOCALHOST), Loopback, "loopback", "RFC 4291 §2.5.3"),
    carrier(Cidr::v6([0; 4], 96), Reserved, "IPv4-compatible", "RFC 4291 §2.5.5.1", 0),
    carrier(Cidr::v6([0x64, 0xff9b, 0, 0], 96), Public, "NAT64", "RFC 6052", 0),
    // RFC 6052 has four layouts for a prefix this short; translators use a /96 out of it, and
    // whichever is in use, the range stays reserved at best.
    carrier(Cidr::v6([0x64, 0xff9b, 1, 0], 48), Reserved, "local NAT64", "RFC 8215", 0),
    plain(Cidr::v6([0x100, 0, 0, 0], 64), Reserved, "discard only", "RFC 6666"),
    plain(Cidr::v6([0x100, 0, 0, 1], 64), Reserved, "dummy prefix", "RFC 9780"),
    plain(Cidr::v6([0x2001, 0, 0, 0], 32), Reserved, "Teredo", "RFC 4380"),
    plain(Cidr::v6([0x2001, 2, 0, 0], 48), Benchmarking, "benchmarking", "RFC 5180"),
    plain(Cidr::v6([0x2001, 0, 0, 0], 23), Reserved, "protocol assignments", "RFC 2928"),
    plain(Cidr::v6([0x2001, 0xdb8, 0, 0], 32), Documentation, "documentation", "RFC 3849"),
    carrier(Cidr::v6([0x2002, 0, 0, 0], 16), Public, "6to4", "RFC 3056", 80),
    plain(Cidr::v6([0x3fff, 0, 0, 0], 20), Documentation, "documentation", "RFC 9637"),
    plain(Cidr::v6([0x2000, 0, 0, 0], 3), Public, "global unicast", "RFC 4291 §2.5.4"),
    plain(Cidr::v6([0x5f00, 0, 0, 0], 16), Reserved, "segment routing SIDs", "RFC 9602"),
    plain(Cidr::v6([0xfc00, 0, 0, 0], 7), UniqueLocal, "unique local", "RFC 4193"),
    plain(Cidr::v6([0xfe80, 0, 0, 0], 10), LinkLocal, "link local", "RFC 4291 §2.5.6"),
    plain(Cidr::v6([0xfec0, 0, 0, 0], 10), Private, "site local", "RFC 3879"),
    plain(Cidr::v6([0xff00, 0, 0, 0], 8), Multicast, "multicast", "RFC 4291 §2.7"),
];

const fn plain(
    network: Cidr,
    class: AddressClass,
    name: &'static str,
    source: &'static str,
) -> SpecialRange {
    SpecialRange { network, class, name, source, inner_shift: None }
}

const fn carrier(
    network: Cidr,
    class: AddressClass,
    name: &'static str,
    source: &'static str,
    inner_shift: u32,
) -> SpecialRange {
    SpecialRange { network, class, name, source, inner_shift: Some(inner_shift) }
}

/// The most specific range a canonical `address` lies in.
pub(crate) fn row(address: IpAddr) -> Option<&'static SpecialRange> {
    SPECIAL_RANGES.iter().find(|range| range.network.holds(address))
}

/// Whether `first` to `last` lies wholly in one range that is not public.
pub(crate) fn within_one(first: IpAddr, last: IpAddr) -> bool {
    SPECIAL_RANGES.iter().any(|range| {
        let network = range.network;
        range.class != Public && network.holds(first) && network.holds(last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found() {
        for range in SPECIAL_RANGES {
            let network = range.network;
            assert_eq!(Cidr::new(network.first(), network.prefix()), Ok(network), "{network}");
            let found = [network.first(), network.last()]
                .into_iter()
                .filter_map(row)
                .any(|found| found.network == network);
            assert!(found, "{network} is hidden by a wider row before it");
        }
    }

    #[test]
    fn within_one_range() {
        let within =
            |first: &str, last: &str| within_one(first.parse().unwrap(), last.parse().unwrap());
        assert!(within("10.0.0.0", "10.255.255.255"));
        assert!(within("127.0.0.1", "127.0.0.1"));
        assert!(!within("10.0.0.0", "11.0.0.0"));
        assert!(!within("0.0.0.0", "255.255.255.255"));
        assert!(!within("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert!(!within("2000::", "2000::1"));
    }
}
