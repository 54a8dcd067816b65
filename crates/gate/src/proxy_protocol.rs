//! The PROXY protocol, versions 1 and 2 (HAProxy's specification of 2020-03-05): the true
//! address of a client behind a load balancer that passes TLS through.
//!
//! A header decides who the gate believes it talks to, so it is read only from addresses the
//! operator named, and from those it is required.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

use crate::limits::PROXY_HEADER_BYTES;

/// Longest version 1 line, CR LF included (specification §2.1).
const V1_LINE: usize = 107;
const V1_START: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const V2_FIXED: usize = 16;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The client's address.
    Client(SocketAddr),
    /// The connection is the proxy's own (health checks: `LOCAL`, `UNKNOWN`).
    Proxy,
}

/// The outcome of looking at the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A header of this many bytes.
    Header(Source, usize),
    /// More bytes are needed to tell.
    Incomplete,
}

/// Why the first bytes are no acceptable header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NoHeader {
    #[error("the connection does not start with a PROXY header")]
    Missing,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is longer than {PROXY_HEADER_BYTES} bytes")]
    TooLong,
}

/// Looks for a header at the start of `bytes`.
///
/// # Errors
/// As soon as the bytes can no longer become a header of at most [`PROXY_HEADER_BYTES`].
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, NoHeader> {
    if starts_like(bytes, V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    if starts_like(bytes, V1_START) {
        return parse_v1(bytes);
    }
    Err(NoHeader::Missing)
}

/// Whether one is the beginning of the other.
fn starts_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(a, b)| a == b)
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, NoHeader> {
    let line = bytes.get(..V1_LINE).unwrap_or(bytes);
    let Some(feed) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() < V1_LINE {
            Ok(Parsed::Incomplete)
        } else {
            Err(NoHeader::Malformed)
        };
    };
    let line = line
        .get(..feed)
        .and_then(|line| line.strip_suffix(b"\r"))
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(NoHeader::Malformed)?;
    let source = v1_source(line).ok_or(NoHeader::Malformed)?;
    Ok(Parsed::Header(source, feed + 1))
}

/// `PROXY TCP4|TCP6 source destination port port` or `PROXY UNKNOWN …`.
fn v1_source(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    words.next();
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Source::Proxy);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let (port, other_port) = (v1_port(words.next()?)?, words.next()?);
    v1_port(other_port)?;
    if words.next().is_some() {
        return None;
    }
    let address = match family {
        "TCP4" => {
            destination.parse::<Ipv4Addr>().ok()?;
            IpAddr::V4(source.parse().ok()?)
        }
        "TCP6" => {
            destination.parse::<Ipv6Addr>().ok()?;
            IpAddr::V6(source.parse().ok()?)
        }
        _ => return None,
    };
    Some(Source::Client(SocketAddr::new(address, port)))
}

/// Decimal without sign or leading zeros.
fn v1_port(text: &str) -> Option<u16> {
    let plain = text == "0"
        || text.bytes().next().is_some_and(|first| first.is_ascii_digit() && first != b'0');
    plain.then(|| text.parse().ok()).flatten()
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, NoHeader> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        return Ok(Parsed::Incomplete);
    };
    let [.., version_command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if V2_FIXED + length > PROXY_HEADER_BYTES {
        return Err(NoHeader::TooLong);
    }
    // LOCAL carries whatever it likes, which is skipped (specification §2.2).
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(NoHeader::Malformed),
    };
    let Some(payload) = rest.get(..length) else {
        return Ok(Parsed::Incomplete);
    };
    let source = if local {
        Source::Proxy
    } else {
        v2_source(family, payload).ok_or(NoHeader::Malformed)?
    };
    Ok(Parsed::Header(source, V2_FIXED + length))
}

/// Addresses of TCP over IPv4 (0x11) and IPv6 (0x21). UDP and unix sockets can not be how a
/// client reached this listener; UNSPEC hides the client, which the operator did not allow.
fn v2_source(family: u8, payload: &[u8]) -> Option<Source> {
    let (address, port): (IpAddr, [u8; 2]) = match family {
        0x11 => {
            let (addresses, _) = payload.split_first_chunk::<12>()?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            (Ipv4Addr::new(a, b, c, d).into(), [high, low])
        }
        0x21 => {
            let (addresses, _) = payload.split_first_chunk::<36>()?;
            let (source, rest) = addresses.split_first_chunk::<16>()?;
            let (ports, _) = rest.get(16..)?.split_first_chunk::<2>()?;
            (Ipv6Addr::from(*source).into(), *ports)
        }
        _ => return None,
    };
    Some(Source::Client(SocketAddr::new(address, u16::from_be_bytes(port))))
}

#[cfg(test)]
mod tests {
    use super::{NoHeader, Parsed, Source, V2_SIGNATURE, parse};
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap();
        let mut header = V2_SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(length.to_be_bytes());
        header.extend(payload);
        header
    }

    fn v2_of(client: SocketAddr) -> Vec<u8> {
        let port = client.port().to_be_bytes();
        match client.ip() {
            std::net::IpAddr::V4(ip) => {
                let payload = [&ip.octets()[..], &[192, 0, 2, 1], &port, &[0x1f, 0x46]].concat();
                v2(0x21, 0x11, &payload)
            }
            std::net::IpAddr::V6(ip) => {
                let payload = [&ip.octets()[..], &[0; 16], &port, &[0x1f, 0x46]].concat();
                v2(0x21, 0x21, &payload)
            }
        }
    }

    fn v1_of(client: SocketAddr) -> Vec<u8> {
        let (family, to) = if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "::1") };
        format!("PROXY {family} {} {to} {} 8006\r\n", client.ip(), client.port()).into_bytes()
    }

    #[test]
    fn examples_of_the_specification() {
        let line = b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\nGET";
        let client = "255.255.255.255:65535".parse().unwrap();
        assert_eq!(parse(line), Ok(Parsed::Header(Source::Client(client), 56)));
        let longest = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
        assert_eq!(parse(longest), Ok(Parsed::Header(Source::Proxy, longest.len())));
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Ok(Parsed::Header(Source::Proxy, 15)));
        assert_eq!(parse(&v2(0x20, 0x00, b"anything")), Ok(Parsed::Header(Source::Proxy, 24)));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for (bytes, why) in [
            (b"GET / HTTP/1.1\r\n".as_slice(), NoHeader::Missing),
            (b"\x16\x03\x01", NoHeader::Missing),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", NoHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", NoHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", NoHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", NoHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", NoHeader::Malformed),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 2\r\n", NoHeader::Malformed),
            (b"PROXY TCP4 ::1 5.6.7.8 1 2\r\n", NoHeader::Malformed),
            (b"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", NoHeader::Malformed),
            (b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", NoHeader::Malformed),
            (b"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", NoHeader::Malformed),
        ] {
            assert_eq!(parse(bytes), Err(why), "{}", bytes.escape_ascii());
        }
        assert_eq!(parse(&[b"PROXY ".as_slice(), &[b'x'; 120]].concat()), Err(NoHeader::Malformed));
        assert_eq!(parse(&v2(0x31, 0x11, &[0; 12])), Err(NoHeader::Malformed));
        assert_eq!(parse(&v2(0x22, 0x11, &[0; 12])), Err(NoHeader::Malformed));
        assert_eq!(parse(&v2(0x21, 0x11, &[0; 11])), Err(NoHeader::Malformed));
        assert_eq!(parse(&v2(0x21, 0x21, &[0; 35])), Err(NoHeader::Malformed));
        assert_eq!(parse(&v2(0x21, 0x12, &[0; 12])), Err(NoHeader::Malformed));
        assert_eq!(parse(&v2(0x21, 0x00, &[])), Err(NoHeader::Malformed));
        assert_eq!(parse(&v2(0x21, 0x11, &[0; 600])), Err(NoHeader::TooLong));
    }

    proptest! {
        #[test]
        fn written_headers_are_read_back_however_they_arrive(
            client in any::<SocketAddr>(),
            version_2: bool,
            rest in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            // A scope or flow label is not part of either version.
            let client = SocketAddr::new(client.ip(), client.port());
            let header = if version_2 { v2_of(client) } else { v1_of(client) };
            for cut in 0..header.len() {
                prop_assert_eq!(parse(&header[..cut]), Ok(Parsed::Incomplete));
            }
            let whole = [header.clone(), rest].concat();
            prop_assert_eq!(parse(&whole), Ok(Parsed::Header(Source::Client(client), header.len())));
        }

        #[test]
        fn never_panics_nor_claims_more_than_it_got(
            start in proptest::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 1.", &V2_SIGNATURE[..]]),
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [start, &bytes].concat();
            if let Ok(Parsed::Header(_, length)) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
