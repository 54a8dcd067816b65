//! The true address of a request that came through a proxy that is named in the configuration.
//!
//! Each such proxy appends the address it was connected from to X-Forwarded-For; so the list is
//! read from its end, and only as long as what stands there is a named proxy itself. The first
//! other address is the client: everything before it is what the client has written, and is
//! worth nothing.
//!
//! Forwarded (RFC 7239) is not read: proxies in use send X-Forwarded-For, and a proxy that
//! rewrites one of the two passes the other on as the client wrote it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderName;
use netpolicy::{AddressSet, canonical};

use crate::head::Fields;
use crate::limits::FORWARDED_HOPS;

/// The client of a request that came from `peer`. The port is the peer's where the address is;
/// else it is what the list says, or 0.
///
/// A list that can not be read up to the client leaves it with the last address that could: a
/// forged line hides nobody, it only looks like its proxy.
pub(crate) fn client(
    peer: SocketAddr,
    headers: &Fields,
    (trusted, header): (&AddressSet, &HeaderName),
) -> SocketAddr {
    // The order of lines is the order of the list (RFC 9110 §5.3).
    if trusted.is_empty() || !trusted.contains(peer.ip()) {
        return peer;
    }
    let lines = headers.get_all(header).rev();
    let items = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer;
    for item in items.take(FORWARDED_HOPS) {
        let Some(address) = address(item.trim_ascii()) else {
            return client;
        };
        client = address;
        if !trusted.contains(client.ip()) {
            return client;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn address(item: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(item).ok()?;
    let bare = || text.parse::<IpAddr>().ok();
    let bracketed = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let with_port = || text.parse::<SocketAddr>().ok();
    let whole = bare().or_else(bracketed).map(|ip| SocketAddr::new(ip, 0));
    let address = whole.or_else(with_port)?;
    Some(SocketAddr::new(canonical(address.ip()), address.port()))
}

#[cfg(test)]
mod tests {
    use super::client;
    use crate::head::Fields;
    use http::{HeaderName, HeaderValue};
    use netpolicy::AddressSet;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn seen(peer: &str, lines: &[&str]) -> String {
        let trusted: AddressSet = "10.0.0.0/8, 2001:db8:f::/48".parse().unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        let header = HeaderName::from_static("x-forwarded-for");
        let value = |line: &&str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
        let headers: Fields = lines.iter().map(|line| (header.clone(), value(line))).collect();
        client(peer, &headers, (&trusted, &header)).to_string()
    }

    #[test]
    fn the_first_address_from_the_end_that_is_no_proxy() {
        for (lines, client) in [
            (&["203.0.113.9"][..], "203.0.113.9:0"),
            (&["198.51.100.1, 203.0.113.9"], "203.0.113.9:0"),
            (&["198.51.100.1, 203.0.113.9, 10.1.1.1"], "203.0.113.9:0"),
            (&["198.51.100.1", "203.0.113.9,10.1.1.1"], "203.0.113.9:0"),
            (&["203.0.113.9:4711"], "203.0.113.9:4711"),
            (&["2001:db8::1"], "[2001:db8::1]:0"),
            (&["[2001:db8::1]:4711"], "[2001:db8::1]:4711"),
            (&["[2001:db8::1]"], "[2001:db8::1]:0"),
            (&["::ffff:203.0.113.9"], "203.0.113.9:0"),
            (&["203.0.113.9, 2001:db8:f::7"], "203.0.113.9:0"),
            (&["10.1.1.2, 10.1.1.1"], "10.1.1.2:0"),
        ] {
            assert_eq!(seen("10.0.0.1:5000", lines), client, "{lines:?}");
        }
    }

    #[test]
    fn what_can_not_be_read_hides_nobody() {
        for lines in [
            &[][..],
            &[""],
            &["unknown"],
            &["203.0.113.9, "],
            &["203.0.113.9, _hidden"],
            &["203.0.113.9 198.51.100.1"],
            &["203.0.113.009"],
            &["203.0.113.9:99999"],
        ] {
            assert_eq!(seen("10.0.0.1:5000", lines), "10.0.0.1:5000", "{lines:?}");
        }
        // A proxy said 10.1.1.1, and what stands before that can not be read.
        assert_eq!(seen("10.0.0.1:5000", &["x, 10.1.1.1"]), "10.1.1.1:0");
    }

    #[test]
    fn from_anyone_else_the_list_is_nothing() {
        assert_eq!(seen("192.0.2.1:5000", &["203.0.113.9"]), "192.0.2.1:5000");
    }

    proptest! {
        #[test]
        fn what_a_client_writes_never_moves_it(forged in "[ -~]{0,60}") {
            let line = format!("{forged}, 203.0.113.9");
            prop_assert_eq!(seen("10.0.0.1:5000", &[&line]), "203.0.113.9:0");
        }
    }
}
