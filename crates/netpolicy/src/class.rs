//! What kind of address it is.

use std::net::{IpAddr, Ipv4Addr};

use crate::special::{SpecialRange, row};

/// What an address is for; see [`SPECIAL_RANGES`](crate::SPECIAL_RANGES) for the ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// On the internet.
    Public,
    /// No address; connecting to it reaches the own host.
    Unspecified,
    /// The own host.
    Loopback,
    /// The own link, where cloud metadata services live too.
    LinkLocal,
    /// A site's own network, IPv4 or the former IPv6 site-local.
    Private,
    /// A site's own network, IPv6.
    UniqueLocal,
    /// Between a provider and its customers.
    SharedCgnat,
    /// A group of hosts.
    Multicast,
    /// All hosts of the link.
    Broadcast,
    /// Examples in documents.
    Documentation,
    /// Benchmarks of network devices.
    Benchmarking,
    /// Anything else that is not a host on the internet: protocol assignments, deprecated or
    /// unallocated space, tunnels.
    Reserved,
}

impl AddressClass {
    /// The class in an error: "… is a private address".
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Unspecified => "the unspecified address",
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "a link-local address",
            Self::Private => "a private address",
            Self::UniqueLocal => "a unique local address",
            Self::SharedCgnat => "a shared (carrier-grade NAT) address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Documentation => "a documentation address",
            Self::Benchmarking => "a benchmarking address",
            Self::Reserved => "a reserved address",
        }
    }
}

/// A v4-mapped IPv6 address (RFC 4291 §2.5.5.2) as the IPv4 address the kernel connects to; any
/// other address as it is. Do this before comparing, counting or storing a peer's address: a
/// dual-stack listener reports IPv4 peers in mapped form.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The class of where packets to `address` end up.
///
/// Looks through v4-mapped, v4-compatible, 6to4 and NAT64 addresses: if the IPv4 address inside
/// is anything but public, its class is the answer. A public one inside leaves the class of the
/// outer range: public for 6to4 and `64:ff9b::/96`; reserved for v4-compatible and the local
/// `64:ff9b:1::/48`. Teredo (`2001::/32`) is reserved as a whole.
#[must_use]
pub fn class(address: IpAddr) -> AddressClass {
    let inner = embedded(address).map_or(AddressClass::Public, |inner| outer_class(inner.into()));
    if inner == AddressClass::Public { outer_class(address) } else { inner }
}

/// The class of the range itself, whatever the address carries inside.
pub(crate) fn outer_class(address: IpAddr) -> AddressClass {
    let address = canonical(address);
    match row(address) {
        Some(range) => range.class,
        None if address.is_ipv4() => AddressClass::Public,
        // IANA has handed out 2000::/3 and the rows of the table, nothing else
        None => AddressClass::Reserved,
    }
}

/// The IPv4 address inside a transition address, if it is one; not for v4-mapped ones, which
/// [`canonical`] replaces.
pub(crate) fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(outer) = canonical(address) else {
        return None;
    };
    let SpecialRange { inner_shift, .. } = row(outer.into())?;
    let inner = (outer.to_bits() >> (*inner_shift)?) & u128::from(u32::MAX);
    u32::try_from(inner).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use AddressClass as A;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn classes() {
        for (text, expected) in [
            ("8.8.8.8", A::Public),
            ("0.0.0.0", A::Unspecified),
            ("0.1.2.3", A::Reserved),
            ("9.255.255.255", A::Public),
            ("10.0.0.0", A::Private),
            ("10.255.255.255", A::Private),
            ("11.0.0.0", A::Public),
            ("100.63.255.255", A::Public),
            ("100.64.0.0", A::SharedCgnat),
            ("100.127.255.255", A::SharedCgnat),
            ("100.128.0.0", A::Public),
            ("127.0.0.1", A::Loopback),
            ("127.255.255.255", A::Loopback),
            ("169.254.169.254", A::LinkLocal),
            ("172.15.255.255", A::Public),
            ("172.16.0.0", A::Private),
            ("172.31.255.255", A::Private),
            ("172.32.0.0", A::Public),
            ("192.0.0.9", A::Reserved),
            ("192.0.2.1", A::Documentation),
            ("192.88.99.1", A::Reserved),
            ("192.168.255.255", A::Private),
            ("192.169.0.0", A::Public),
            ("198.17.255.255", A::Public),
            ("198.18.0.0", A::Benchmarking),
            ("198.19.255.255", A::Benchmarking),
            ("198.51.100.7", A::Documentation),
            ("203.0.113.7", A::Documentation),
            ("223.255.255.255", A::Public),
            ("224.0.0.1", A::Multicast),
            ("239.255.255.255", A::Multicast),
            ("240.0.0.1", A::Reserved),
            ("255.255.255.254", A::Reserved),
            ("255.255.255.255", A::Broadcast),
            ("::", A::Unspecified),
            ("::1", A::Loopback),
            ("::2", A::Reserved),
            ("2606:4700::1111", A::Public),
            ("100::1", A::Reserved),
            ("2001::1", A::Reserved),
            ("2001:2::1", A::Benchmarking),
            ("2001:2:1::1", A::Reserved),
            ("2001:20::1", A::Reserved),
            ("2001:200::1", A::Public),
            ("2001:db8::1", A::Documentation),
            ("3fff:fff::1", A::Documentation),
            ("3fff:1000::1", A::Public),
            ("4000::1", A::Reserved),
            ("5f00::1", A::Reserved),
            ("fc00::1", A::UniqueLocal),
            ("fdff::1", A::UniqueLocal),
            ("fe80::1", A::LinkLocal),
            ("febf::1", A::LinkLocal),
            ("fec0::1", A::Private),
            ("ff02::1", A::Multicast),
            ("fe00::1", A::Reserved),
        ] {
            assert_eq!(class(ip(text)), expected, "{text}");
        }
    }

    #[test]
    fn looks_through_transition_addresses() {
        for (text, expected) in [
            ("::ffff:127.0.0.1", A::Loopback),
            ("::ffff:8.8.8.8", A::Public),
            ("::127.0.0.1", A::Loopback),
            ("::8.8.8.8", A::Reserved),
            ("2002:7f00:1::", A::Loopback),
            ("2002:a00:5:1::1", A::Private),
            ("2002:808:808::1", A::Public),
            ("64:ff9b::7f00:1", A::Loopback),
            ("64:ff9b::a9fe:a9fe", A::LinkLocal),
            ("64:ff9b::808:808", A::Public),
            ("64:ff9b:0:0:0:1:808:808", A::Reserved),
            ("64:ff9b:1::7f00:1", A::Loopback),
            ("64:ff9b:1::808:808", A::Reserved),
            ("64:ff9b:1:7f00:0:100::", A::Unspecified),
            ("2001:0:7f00:1::", A::Reserved),
            ("::ffff:0:127.0.0.1", A::Reserved),
        ] {
            assert_eq!(class(ip(text)), expected, "{text}");
        }
    }

    proptest! {
        /// An IPv4 address that is not public can not be dressed up as a public one.
        #[test]
        fn no_disguise(bits in prop_oneof![any::<u32>(), (0..1u32 << 24).prop_map(|low| low | 0x7f00_0000)], tail in any::<u128>()) {
            let inner = Ipv4Addr::from(bits);
            let wide = u128::from(bits);
            let dresses = [
                inner.to_ipv6_mapped().to_bits(),
                wide,
                (0x64_ff9b_u128 << 96) | wide,
                (0x64_ff9b_0001_u128 << 80) | wide,
                (0x2002_u128 << 112) | (wide << 80) | (tail >> 48),
            ];
            for dress in dresses {
                let dressed = class(IpAddr::V6(dress.into()));
                if class(inner.into()) != A::Public {
                    prop_assert_ne!(dressed, A::Public);
                }
            }
            prop_assert_eq!(class(canonical(IpAddr::V6(inner.to_ipv6_mapped()))), class(inner.into()));
        }
    }
}
