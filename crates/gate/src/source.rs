//! Whom an address stands for when it is counted.

use std::net::{IpAddr, Ipv6Addr};

use netpolicy::canonical;

/// The address itself, or its /64: whoever has one IPv6 address has its /64. IPv4 written as
/// IPv6 is IPv4.
pub(crate) fn source_of(client: IpAddr) -> IpAddr {
    match canonical(client) {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// A source as it is shown and kept: `192.0.2.1`, `2001:db8::/64`.
pub(crate) fn source_text(source: IpAddr) -> String {
    match source {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{v6}/64"),
    }
}

/// The source that a text names: as [`source_text`] writes it, or any address of it.
pub(crate) fn parse_source(text: &str) -> Option<IpAddr> {
    let address = text.strip_suffix("/64").filter(|address| address.contains(':'));
    address.unwrap_or(text).parse().ok().map(source_of)
}

#[cfg(test)]
mod tests {
    use super::{parse_source, source_of, source_text};

    #[test]
    fn a_source_is_an_ipv4_address_or_a_64() {
        for (address, source) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
            ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ] {
            let of = source_of(address.parse().unwrap());
            assert_eq!(source_text(of), source);
            assert_eq!(parse_source(source), Some(of));
            assert_eq!(parse_source(address), Some(of));
        }
        for bad in ["", "192.0.2.1/64", "192.0.2.0/24", "2001:db8::/48", "root@pam"] {
            assert_eq!(parse_source(bad), None, "{bad}");
        }
    }
}
