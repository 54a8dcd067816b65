//! Sets of addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{
    bounds::{MAX_SET_BYTES, MAX_SET_ENTRIES},
    cidr::{Cidr, CidrError},
    class::canonical,
    set_text::{self, Dialect},
    span::{Span, holds, merged},
    special,
};

/// Networks, addresses and ranges of addresses.
///
/// `FromStr` reads what stock reads from `ALLOW_FROM` and `DENY_FROM` in /etc/default/pveproxy
/// (PVE::APIServer::Utils::read_proxy_config, Net::IP 1.26): a comma list of
///
/// | entry | means |
/// |---|---|
/// | `all` | every address |
/// | `10.0.0.0/8`, `fd00::/8` | a network; host bits must be zero |
/// | `10/8`, `10.1/16` | the same with the zeros left out |
/// | `10.0.0.1`, `::1` | an address; `10` is 10.0.0.0 |
/// | `10.0.0.1-10.0.0.9` | both ends and what is between, blanks around `-` allowed |
/// | `10.0.0.0 + 255` | the address and so many more |
///
/// IPv4 numbers are decimal even with leading zeros (`010.0.0.1` is 10.0.0.1). Where both accept
/// an entry they agree, except that `::ffff:a00:1` is 10.0.0.1 here and 1.0.0.0 there. Refused here
/// only: `10.0.0.0/255.0.0.0`, which stock takes for the one address, and a range whose end has a
/// dot too many. Accepted here only: blanks between entries, `+` without blanks, v4-mapped
/// networks as the IPv4 networks they are, and IPv6 entries that span the v4-mapped range, such as
/// `::/0`, as IPv6 alone.
///
/// [`strict`](Self::strict) reads the same list with standard spellings only, for files of our
/// own. Written back entry by entry, in order; two sets are equal if their entries are.
///
/// Stock's verdict on a client is: `ALLOW_FROM` contains it and `DENY_FROM` does not, or the other
/// way round; in both or in neither, `POLICY` decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    entries: Vec<Span>,
    covered: Vec<Span>,
    named: Vec<Span>,
}

/// Why text is no set of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// Nothing between two commas.
    #[error("empty entry {0}: remove the extra comma")]
    Empty(usize),
    /// Not an address.
    #[error("entry {0}: {1} is not an IP address: write 192.0.2.1 or 2001:db8::1")]
    Address(usize, String),
    /// Not a network.
    #[error("entry {0}: {1}")]
    Network(usize, CidrError),
    /// Ends of different families, in the wrong order, or beyond the last address.
    #[error("entry {0}: {1} is not a range: write FIRST-LAST, both IPv4 or both IPv6")]
    Range(usize, String),
    /// More than [`MAX_SET_ENTRIES`] or [`MAX_SET_BYTES`].
    #[error(
        "more than {MAX_SET_ENTRIES} entries or {MAX_SET_BYTES} bytes: merge entries into networks"
    )]
    TooLarge,
}

impl AddressSet {
    /// Every address.
    #[must_use]
    pub fn all() -> Self {
        Self::of(Span::ALL.to_vec())
    }

    /// Reads standard spellings only: no shortened, no zero-padded IPv4.
    ///
    /// # Errors
    /// [`SetError`] with the number of the entry, counted from 1.
    pub fn strict(text: &str) -> Result<Self, SetError> {
        set_text::spans(text, Dialect::Strict).map(Self::of)
    }

    /// Whether `address`, in [`canonical`] form, is in the set; O(log n).
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        holds(&self.covered, canonical(address))
    }

    /// Whether an entry means just this kind of address: one that contains it and lies wholly
    /// within one special-purpose range. `10.0.0.0/8` names 10.0.0.5; `all` and `0.0.0.0/0` contain
    /// it, but do not name it. Public addresses are never named, as nothing has to name them.
    #[must_use]
    pub fn names(&self, address: IpAddr) -> bool {
        holds(&self.named, canonical(address))
    }

    /// First and last address of each stretch, sorted, without overlap.
    pub fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        self.covered.iter().map(|span| (span.first, span.last))
    }

    /// Whether no address is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn of(entries: Vec<Span>) -> Self {
        let named =
            entries.iter().copied().filter(|span| special::within_one(span.first, span.last));
        Self { covered: merged(entries.clone()), named: merged(named.collect()), entries }
    }
}

impl FromStr for AddressSet {
    type Err = SetError;

    fn from_str(text: &str) -> Result<Self, SetError> {
        set_text::spans(text, Dialect::NetIp).map(Self::of)
    }
}

impl FromIterator<Cidr> for AddressSet {
    fn from_iter<I: IntoIterator<Item = Cidr>>(networks: I) -> Self {
        Self::of(networks.into_iter().map(Span::from).collect())
    }
}

impl fmt::Display for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.entries.as_slice();
        let mut comma = "";
        while let [span, others @ ..] = rest {
            f.write_str(comma)?;
            if let Some(others) = rest.strip_prefix(&Span::ALL) {
                f.write_str("all")?;
                rest = others;
            } else {
                span.fmt(f)?;
                rest = others;
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cidr::tests::address;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Entry, and what Net::IP 1.26 with stock's treatment of v4-mapped entries makes of it.
    const AS_STOCK: &[(&str, &str, &str)] = &[
        ("0/0", "0.0.0.0", "255.255.255.255"),
        ("10/8", "10.0.0.0", "10.255.255.255"),
        ("10", "10.0.0.0", "10.0.0.0"),
        ("192.168", "192.168.0.0", "192.168.0.0"),
        ("10.1/16", "10.1.0.0", "10.1.255.255"),
        ("10.0.0.0/24", "10.0.0.0", "10.0.0.255"),
        ("10.0.0.0/08", "10.0.0.0", "10.255.255.255"),
        ("10.0.0.1/32", "10.0.0.1", "10.0.0.1"),
        ("010.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1-10.0.0.9", "10.0.0.1", "10.0.0.9"),
        ("10.0.0.1 - 10.0.0.9", "10.0.0.1", "10.0.0.9"),
        ("10.0.0.1-10.0.1", "10.0.0.1", "10.0.1.0"),
        ("10-11", "10.0.0.0", "11.0.0.0"),
        ("10.0.0.0 + 255", "10.0.0.0", "10.0.0.255"),
        ("10.0.0.0 + 256", "10.0.0.0", "10.0.1.0"),
        ("::1", "::1", "::1"),
        ("::10.0.0.1", "::a00:1", "::a00:1"),
        ("2001:DB8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("8000::/1", "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::1-2001:db8::ff", "2001:db8::1", "2001:db8::ff"),
        ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1"),
    ];

    #[test]
    fn reads_what_stock_reads() {
        for (text, first, last) in AS_STOCK {
            let set: AddressSet = text.parse().unwrap();
            assert_eq!(set.ranges().collect::<Vec<_>>(), [(ip(first), ip(last))], "{text}");
        }
    }

    #[test]
    fn refuses_what_stock_refuses() {
        for text in [
            "10.0.0.1/24",
            "10.0.0.0/0",
            "10.0.0.0/33",
            "10.0.0.1/",
            "/8",
            "10..1",
            ".1",
            "1.",
            "256",
            "300.1.1.1",
            "1.2.3.4.5",
            "0x7f.1",
            "10.0.0.9-10.0.0.1",
            "10.0.0.1-9",
            "10.0.0.1--10.0.0.9",
            "10.0.0.1-2001::",
            "10.0.0.0/24 - 10.0.1.0/24",
            "fe80::%eth0",
            "fe80::1/64",
            "1::2::3",
            "1:2:3:4:5:6:7",
            "2001:db8/32",
            "ALL",
            "example.com",
            "10.0.0.1,,10.0.0.2",
            ",10.0.0.1",
            "255.255.255.255 + 1",
            "10.0.0.0 + -1",
            "10.0.0.0 + +1",
        ] {
            assert!(text.parse::<AddressSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn differs_from_stock_where_documented() {
        let ranges = |text: &str| text.parse::<AddressSet>().map(|set| set.to_string());
        assert_eq!(ranges(" 10.0.0.1  10.0.0.2 ,").unwrap(), "10.0.0.1,10.0.0.2");
        ranges("10.0.0.0/255.0.0.0").unwrap_err();
        assert_eq!(ranges("::ffff:10.0.0.0/104").unwrap(), "10.0.0.0/8");
        assert_eq!(ranges("::ffff:a00:1").unwrap(), "10.0.0.1");
        let v6: AddressSet = "::/0".parse().unwrap();
        assert!(v6.contains(ip("2001::1")) && !v6.contains(ip("10.0.0.1")));
        assert!(!v6.contains(ip("::ffff:10.0.0.1")));
    }

    #[test]
    fn list_of_everything() {
        let set: AddressSet = "192.168.0.0/16, 10.0.0.5-10.0.0.9 , ::1,fd00::/8".parse().unwrap();
        assert_eq!(set.to_string(), "192.168.0.0/16,10.0.0.5-10.0.0.9,::1,fd00::/8");
        for inside in ["192.168.3.4", "::ffff:192.168.3.4", "10.0.0.9", "::1", "fdff::"] {
            assert!(set.contains(ip(inside)), "{inside}");
        }
        for outside in ["192.169.0.0", "10.0.0.4", "10.0.0.10", "::2", "fc00::1", "::"] {
            assert!(!set.contains(ip(outside)), "{outside}");
        }
        assert_eq!("all".parse::<AddressSet>().unwrap(), AddressSet::all());
        assert_eq!(
            "0.0.0.0/0,::/0 10.0.0.0/8".parse::<AddressSet>().unwrap().to_string(),
            "all,10.0.0.0/8"
        );
        assert!("".parse::<AddressSet>().unwrap().is_empty());
    }

    #[test]
    fn strict_leaves_no_second_reading() {
        for text in ["10", "10/8", "127.1", "010.0.0.1", "10.0.0.0/08"] {
            AddressSet::strict(text).unwrap_err();
        }
        assert_eq!(AddressSet::strict("all").unwrap(), AddressSet::all());
    }

    #[test]
    fn naming_needs_an_entry_of_that_kind() {
        let set =
            AddressSet::strict("all 10.0.0.0/8 0.0.0.0/1 192.168.0.0-192.169.0.0 8.8.8.8").unwrap();
        assert!(set.names(ip("10.1.2.3")));
        for address in ["127.0.0.1", "192.168.0.1", "8.8.8.8", "::1"] {
            assert!(set.contains(ip(address)) && !set.names(ip(address)), "{address}");
        }
    }

    #[test]
    fn errors_say_which_entry() {
        let error = |text: &str| text.parse::<AddressSet>().unwrap_err().to_string();
        assert_eq!(
            error("::1, 1.2.3.999"),
            "entry 2: '1.2.3.999' is not an IP address: write 192.0.2.1 or 2001:db8::1"
        );
        assert_eq!(error("::1,,::2"), "empty entry 2: remove the extra comma");
        assert!(error("10.0.0.1/8").contains("write 10.0.0.0/8"), "{}", error("10.0.0.1/8"));
        assert!(error("::2-::1").starts_with("entry 1: '::2-::1' is not a range"));
    }

    #[test]
    fn limits() {
        let many = "::1 ".repeat(MAX_SET_ENTRIES);
        assert_eq!(many.parse::<AddressSet>().unwrap().ranges().count(), 1);
        assert_eq!(format!("{many}::1").parse::<AddressSet>(), Err(SetError::TooLarge));
        assert_eq!(" ".repeat(MAX_SET_BYTES + 1).parse::<AddressSet>(), Err(SetError::TooLarge));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9a-f.:/, +-]{0,60}|.*") {
            let _ = text.parse::<AddressSet>();
            let _ = AddressSet::strict(&text);
        }

        /// Membership is that of any entry, and the set survives being written.
        #[test]
        fn same_as_asking_each_entry(
            pairs in proptest::collection::vec((address(), address(), 0..=128u8, any::<bool>()), 0..12),
            probe in address(),
            near in any::<proptest::sample::Index>(),
        ) {
            let entries: Vec<Span> = pairs
                .into_iter()
                .map(|(a, b, prefix, network)| {
                    let (a, b) = (canonical(a), canonical(b));
                    if network || a.is_ipv4() != b.is_ipv4() {
                        Span::from(Cidr::around(a, prefix))
                    } else {
                        Span { first: a.min(b), last: a.max(b) }
                    }
                })
                .collect();
            let set = AddressSet::of(entries.clone());
            let mut probes = vec![canonical(probe)];
            if !entries.is_empty() {
                let span = near.get(&entries);
                probes.extend([span.first, span.last]);
            }
            for probe in probes {
                let naive = entries.iter().any(|span| span.first <= probe && probe <= span.last);
                // a wide IPv6 entry may begin or end at a v4-mapped address, which is IPv4
                prop_assert_eq!(set.contains(probe), naive && canonical(probe) == probe);
            }
            prop_assert_eq!(set.to_string().parse::<AddressSet>().unwrap(), set.clone());
            prop_assert_eq!(AddressSet::strict(&set.to_string()).unwrap(), set);
        }
    }
}
