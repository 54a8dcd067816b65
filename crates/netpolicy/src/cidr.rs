//! Networks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{class::canonical, quote::quoted};

/// A network: an address and a prefix length (RFC 4632, RFC 4291 §2.3).
///
/// Host bits are zero, always: a network written with host bits (`10.0.0.1/24`) is refused, as
/// PVE's own parser does, because it is a typing error more often than not and both readings
/// differ. A network inside `::ffff:0:0/96` becomes the IPv4 network it stands for.
///
/// Text is `ADDRESS/LENGTH`, or an address alone for itself; written back with its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    first: IpAddr,
    prefix: u8,
}

/// Why text or numbers are no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not an address in the standard spelling.
    #[error("{0} is not an IP address: write 192.0.2.1 or 2001:db8::1")]
    Address(String),
    /// No prefix length, or longer than the address.
    #[error("{0} is not a prefix length: 0 to 32 for IPv4, 0 to 128 for IPv6")]
    Prefix(String),
    /// Host bits are set.
    #[error(
        "{given} is an address inside a network: write {network} for the network, or the address alone"
    )]
    HostBits {
        /// As given.
        given: String,
        /// The network it lies in.
        network: Cidr,
    },
}

impl Cidr {
    /// The network of `prefix` bits that starts at `first`.
    ///
    /// # Errors
    /// [`CidrError`] when the prefix is longer than the address or host bits are set.
    pub fn new(first: IpAddr, prefix: u8) -> Result<Self, CidrError> {
        if prefix > width(first) {
            return Err(CidrError::Prefix(prefix.to_string()));
        }
        let network = Self::around(first, prefix);
        if network.first != canonical(first) && network.first != first {
            return Err(CidrError::HostBits { given: format!("{first}/{prefix}"), network });
        }
        Ok(network)
    }

    /// The network of `prefix` bits that `address` lies in, for counting by network: `/64` is one
    /// IPv6 customer. Longer than the address counts as the whole address.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        let mapped = canonical(address);
        if mapped != address && prefix >= 96 {
            return Self::around(mapped, prefix - 96);
        }
        Self { first: masked(address, prefix), prefix }
    }

    pub(crate) const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    /// The network that begins with these four groups, the rest being zero.
    pub(crate) const fn v6([a, b, c, d]: [u16; 4], prefix: u8) -> Self {
        Self { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)), prefix }
    }

    pub(crate) const fn exactly(address: Ipv6Addr) -> Self {
        Self { first: IpAddr::V6(address), prefix: 128 }
    }

    /// The lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        match self.first {
            IpAddr::V4(first) => IpAddr::V4((first.to_bits() | host_bits_v4(self.prefix)).into()),
            IpAddr::V6(first) => IpAddr::V6((first.to_bits() | host_bits_v6(self.prefix)).into()),
        }
    }

    /// The prefix length.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address`, in [`canonical`](crate::canonical) form, lies in the network. An IPv6
    /// network wider than `::ffff:0:0/96` does not hold IPv4 addresses.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.holds(canonical(address))
    }

    /// The same for an address known to be canonical, or a bound that is not to be made so.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        let shared = match (self.first, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        shared >= u32::from(self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, digits) = text.split_once('/').map_or((text, None), |(a, d)| (a, Some(d)));
        let first = IpAddr::from_str(address).map_err(|_| CidrError::Address(quoted(address)))?;
        let Some(digits) = digits else {
            return Ok(Self::around(first, u8::MAX));
        };
        Self::new(first, prefix(digits, false)?)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// A prefix length in decimal digits; with zeros in front only if `padded`.
pub(crate) fn prefix(digits: &str, padded: bool) -> Result<u8, CidrError> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    let length = digits.parse().ok().filter(|_| plain && (padded || !leading_zero));
    length.ok_or_else(|| CidrError::Prefix(quoted(digits)))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() & !host_bits_v4(prefix)).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !host_bits_v6(prefix)).into()),
    }
}

fn host_bits_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

fn host_bits_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_normalises() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/90", "::/90"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn refuses_second_readings() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/255.0.0.0",
            "10/8",
            "010.0.0.0/8",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "fe80::%1/64",
            "10.0.0.0/-1",
            "10.0.0.0/256",
            "10.0.0.0/ 8",
        ] {
            text.parse::<Cidr>().unwrap_err();
        }
        assert_eq!(
            "10.0.0.1/24".parse::<Cidr>().unwrap_err().to_string(),
            "10.0.0.1/24 is an address inside a network: write 10.0.0.0/24 for the network, or the address alone"
        );
        "::ffff:10.0.0.1/104".parse::<Cidr>().unwrap_err();
    }

    pub(crate) fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
            any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from(bits).to_ipv6_mapped())),
        ]
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9a-f.:/%xX -]{0,30}|.*") {
            let _ = text.parse::<Cidr>();
        }

        #[test]
        fn round_trip(address in address(), prefix in 0..140u8) {
            let network = Cidr::around(address, prefix);
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            prop_assert_eq!(Cidr::new(network.first(), network.prefix()), Ok(network));
            // a mapped address is IPv4, which a wider IPv6 network does not hold
            if network.first().is_ipv4() == canonical(address).is_ipv4() {
                prop_assert!(network.contains(address));
            }
            for end in [network.first(), network.last()] {
                prop_assert_eq!(network.contains(end), canonical(end) == end);
            }
        }

        #[test]
        fn membership_is_equality_of_leading_bits(a in any::<u128>(), b in any::<u128>(), shared in 0..=128u8, prefix in 0..=128u8) {
            // force the first `shared` bits equal, or most pairs differ in the first bit
            let mask = u128::MAX.checked_shr(shared.into()).unwrap_or(0);
            let b = (a & !mask) | (b & mask);
            let (a, b) = (Ipv6Addr::from(a), Ipv6Addr::from(b));
            prop_assume!(a.to_ipv4_mapped().is_none() && b.to_ipv4_mapped().is_none());
            let same = (a.to_bits() ^ b.to_bits()).leading_zeros() >= u32::from(prefix);
            prop_assert_eq!(Cidr::around(a.into(), prefix).contains(b.into()), same);
        }
    }
}
