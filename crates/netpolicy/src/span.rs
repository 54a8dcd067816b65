//! Stretches of addresses, and sorted lists of them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::cidr::Cidr;

/// First and last address, of one family. Sorts by the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) first: IpAddr,
    pub(crate) last: IpAddr,
}

impl Span {
    /// IPv4, then IPv6.
    pub(crate) const ALL: [Self; 2] = [
        Self { first: IpAddr::V4(Ipv4Addr::UNSPECIFIED), last: IpAddr::V4(Ipv4Addr::BROADCAST) },
        Self {
            first: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            last: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        },
    ];

    /// The network that begins and ends here, if there is one.
    fn network(&self) -> Option<Cidr> {
        let shared = match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return None,
        };
        let network = Cidr::around(self.first, u8::try_from(shared).ok()?);
        (Self::from(network) == *self).then_some(network)
    }
}

impl From<Cidr> for Span {
    fn from(network: Cidr) -> Self {
        Self { first: network.first(), last: network.last() }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        match self.network() {
            Some(network) => write!(f, "{network}"),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Whether a [`merged`] list holds `address`.
pub(crate) fn holds(merged: &[Span], address: IpAddr) -> bool {
    let after = merged.partition_point(|span| span.first <= address);
    let span = after.checked_sub(1).and_then(|before| merged.get(before));
    span.is_some_and(|span| address <= span.last)
}

/// Sorted, overlaps joined; no span crosses families, as IPv4 sorts before IPv6.
pub(crate) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    spans.dedup_by(|span, before| {
        let overlap = span.first <= before.last;
        if overlap {
            before.last = before.last.max(span.last);
        }
        overlap
    });
    spans
}
