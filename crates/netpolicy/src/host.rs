//! Hosts as they are written, and destinations.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{
    bounds::{MAX_HOST_BYTES, MAX_LABEL_BYTES},
    class::canonical,
    ports::port,
    quote::quoted,
};

/// A host as a URL or a configuration names it.
///
/// Text has one reading or is refused. `127.1`, `0x7f.0.0.1`, `017700000001`, `2130706433` and
/// everything else whose last label is a number are what `inet_aton` (and so the resolver) takes
/// for an IPv4 address; no name in DNS looks like that, so only the standard spelling is accepted.
/// IPv6 may stand in brackets; a zone (`%eth0`) is refused, since it would choose an interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name in lower case without the dot of the root: letters, digits, `-` and `_` in labels.
    Name(String),
    /// An address in [`canonical`] form.
    Address(IpAddr),
}

/// A host with a port: `host:port`, `[v6]:port`, with `/udp` (or `/tcp`, the default) behind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port, not 0.
    pub port: u16,
    /// The transport.
    pub transport: Transport,
}

/// What carries the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Why text is no host or destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Neither a host name nor an address.
    #[error(
        "{0} is not a host: write a name of letters, digits and '-' (international names as xn--…), or an address"
    )]
    Name(String),
    /// A number that some programs take for an IPv4 address.
    #[error("{0} looks like an IPv4 address in an unusual spelling: write it as 192.0.2.1")]
    Spelling(String),
    /// An IPv6 address with a zone.
    #[error("{0} has a zone: write the address without '%…'")]
    Zone(String),
    /// No port, or not one.
    #[error("{0} has no port from 1 to 65535: write HOST:PORT or HOST:PORT/udp")]
    Port(String),
    /// IPv6 and port can not be told apart.
    #[error("{0} is ambiguous: write IPv6 with a port as [2001:db8::1]:443")]
    Brackets(String),
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if bare.is_some() || text.contains(':') {
            return v6(bare.unwrap_or(text));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if !is_name(name) {
            let error = if text.contains('%') { HostError::Zone } else { HostError::Name };
            return Err(error(quoted(text)));
        }
        if !ends_in_number(name) {
            return Ok(Self::Name(name.to_ascii_lowercase()));
        }
        let standard = text.parse::<Ipv4Addr>();
        standard.map(|v4| Self::Address(v4.into())).map_err(|_| HostError::Spelling(quoted(text)))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for HostPort {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let (rest, transport) = transport(text);
        let (host, digits) = rest.rsplit_once(':').ok_or_else(|| HostError::Port(quoted(text)))?;
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(HostError::Brackets(quoted(text)));
        }
        let port = port(digits).ok_or_else(|| HostError::Port(quoted(text)))?;
        Ok(Self { host: host.parse()?, port, transport })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]:{}", self.port)?,
            host => write!(f, "{host}:{}", self.port)?,
        }
        match self.transport {
            Transport::Tcp => Ok(()),
            Transport::Udp => f.write_str("/udp"),
        }
    }
}

fn v6(text: &str) -> Result<Host, HostError> {
    let error = if text.contains('%') { HostError::Zone } else { HostError::Name };
    let address = text.parse::<Ipv6Addr>().map_err(|_| error(quoted(text)))?;
    Ok(Host::Address(canonical(address.into())))
}

fn transport(text: &str) -> (&str, Transport) {
    if let Some(rest) = text.strip_suffix("/udp") {
        return (rest, Transport::Udp);
    }
    (text.strip_suffix("/tcp").unwrap_or(text), Transport::Tcp)
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_HOST_BYTES && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let hyphen = label.starts_with('-') || label.ends_with('-');
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && !hyphen && label.bytes().all(allowed)
}

/// As the URL standard tells IPv4 addresses from names: the last label is decimal or `0x` hex.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts() {
        for (text, shown) in [
            ("pve.example.com", "pve.example.com"),
            ("PVE.Example.COM.", "pve.example.com"),
            ("localhost", "localhost"),
            ("_srv.x-1", "_srv.x-1"),
            ("0x7f.example", "0x7f.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("[2001:DB8::1]", "2001:db8::1"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
            ("[::ffff:7f00:1]", "127.0.0.1"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn spellings_the_resolver_would_read_otherwise() {
        for text in [
            "2130706433",
            "0x7f000001",
            "0X7F000001",
            "0x7f.1",
            "0x",
            "127.1",
            "127.0.1",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "127.0.0.256",
            "1.2.3.4.5",
            "foo.0x1",
            "foo.1",
            "0",
            "00000000000000000001",
        ] {
            assert!(matches!(text.parse::<Host>(), Err(HostError::Spelling(_))), "{text}");
        }
        for text in ["fe80::1%eth0", "[fe80::1%25eth0]", "127.0.0.1%1"] {
            assert!(matches!(text.parse::<Host>(), Err(HostError::Zone(_))), "{text}");
        }
        let long = format!("{}.example", "a".repeat(64));
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "a.b..",
            ".a",
            "-a",
            "a-",
            "a b",
            "a\0",
            "a\n",
            "bücher.example",
            "１２７.0.0.1",
            "u@host",
            "host/path",
            "host\\x",
            "*.example",
            "[",
            "[]",
            "[1.2.3.4]",
            "[::1",
            "::1]",
            "[[::1]]",
            ":",
            "::ffff:0x7f.1",
            "::ffff:127.1",
            &long,
            &"a.".repeat(128),
        ] {
            assert!(matches!(text.parse::<Host>(), Err(HostError::Name(_))), "{text:?}");
        }
    }

    #[test]
    fn destinations() {
        for (text, shown) in [
            ("PVE.lan:8006", "pve.lan:8006"),
            ("pve.lan:8006/tcp", "pve.lan:8006"),
            ("10.0.0.1:53/udp", "10.0.0.1:53/udp"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:10.0.0.1]:443", "10.0.0.1:443"),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "pve.lan",
            "pve.lan:",
            "pve.lan:0",
            "pve.lan:65536",
            "pve.lan:+1",
            "pve.lan:1/sctp",
            ":443",
            "pve.lan:443/udp/udp",
            "127.1:80",
            "[::1]443",
            "[fe80::1%1]:1",
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
        assert_eq!("::1:443".parse::<HostPort>(), Err(HostError::Brackets("'::1:443'".to_owned())));
    }

    proptest! {
        #[test]
        fn never_panics(text in r"[0-9a-fxX.:%\[\]/udp-]{0,40}|.*") {
            let _ = text.parse::<Host>();
            let _ = text.parse::<HostPort>();
        }

        #[test]
        fn round_trip(text in r"[A-Za-z0-9_.-]{1,12}|[0-9]{1,3}(\.[0-9]{1,3}){3}", port in 1..=u16::MAX, udp in any::<bool>()) {
            let Ok(host) = text.parse::<Host>() else { return Ok(()) };
            prop_assert_eq!(host.to_string().parse::<Host>().unwrap(), host.clone());
            let transport = if udp { Transport::Udp } else { Transport::Tcp };
            let to = HostPort { host, port, transport };
            prop_assert_eq!(to.to_string().parse::<HostPort>().unwrap(), to);
        }

        #[test]
        fn any_address_is_read_as_itself(address in crate::cidr::tests::address(), port in 1..=u16::MAX) {
            let host = Host::Address(canonical(address));
            prop_assert_eq!(address.to_string().parse::<Host>().unwrap(), host.clone());
            let to = HostPort { host, port, transport: Transport::Tcp };
            prop_assert_eq!(to.to_string().parse::<HostPort>().unwrap(), to);
        }
    }
}
