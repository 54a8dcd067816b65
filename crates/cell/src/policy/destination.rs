//! Addresses of a policy: where to, where not to, where to listen.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use netpolicy::{AddressSet, Cidr, Host, HostError, PortSet, Transport};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Where a cell may connect to: `HOST:PORT`, `192.0.2.0/24:443`, `[2001:db8::/32]:8000-8010`,
/// with `/udp` behind for UDP. A name is resolved once, when the cell is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Whom.
    pub whom: Whom,
    /// On which ports.
    pub ports: PortSet,
    /// By what.
    pub transport: Transport,
}

/// The host part of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A name in lower case.
    Name(String),
    /// Addresses.
    Network(Cidr),
}

/// The fork's lists: everything may be reached but these addresses, and of these the given ports.
/// An address of this machine stands for all of them, loopback included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Restriction {
    /// Restricted addresses and networks.
    pub addresses: Vec<String>,
    /// Ports of these that may be reached all the same.
    pub ports: Vec<u16>,
}

impl Restriction {
    /// The restricted addresses as a set.
    ///
    /// # Errors
    ///
    /// An address in a spelling with more than one reading.
    pub fn set(&self) -> Result<AddressSet, DestinationError> {
        let wrong = |error: netpolicy::SetError| DestinationError::Address(error.to_string());
        AddressSet::strict(&self.addresses.join(",")).map_err(wrong)
    }
}

/// Where a published port is reached from outside: `PORT` on 127.0.0.1, or `ADDRESS:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

/// Why text is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// No port, or not one.
    #[error("{0:?} has no port: write HOST:PORT, 192.0.2.0/24:443 or HOST:PORT/udp")]
    Port(String),
    /// Not a host or network.
    #[error("{0}")]
    Host(#[from] HostError),
    /// Not an address or network.
    #[error("{0}")]
    Address(String),
    /// Not a port or address with a port.
    #[error("{0:?} can not be published: write PORT or ADDRESS:PORT")]
    Listen(String),
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let shown = || text.chars().take(80).collect::<String>();
        let (rest, transport) = match text.strip_suffix("/udp") {
            Some(rest) => (rest, Transport::Udp),
            None => (text.strip_suffix("/tcp").unwrap_or(text), Transport::Tcp),
        };
        let (host, ports) = rest.rsplit_once(':').ok_or_else(|| DestinationError::Port(shown()))?;
        let ports: PortSet = ports.parse().map_err(|_| DestinationError::Port(shown()))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let whom = if host.contains('/') {
            let network = bare.unwrap_or(host).parse();
            Whom::Network(network.map_err(|error: netpolicy::CidrError| {
                DestinationError::Address(error.to_string())
            })?)
        } else {
            if host.contains(':') && bare.is_none() {
                return Err(HostError::Brackets(shown()).into());
            }
            match host.parse()? {
                Host::Name(name) => Whom::Name(name),
                Host::Address(address) => Whom::Network(Cidr::around(address, u8::MAX)),
            }
        };
        Ok(Self { whom, ports, transport })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.whom {
            Whom::Name(name) => f.write_str(name)?,
            Whom::Network(network) => {
                let one = network.first() == network.last();
                let text = if one { network.first().to_string() } else { network.to_string() };
                match network.first() {
                    IpAddr::V4(_) => f.write_str(&text)?,
                    IpAddr::V6(_) => write!(f, "[{text}]")?,
                }
            }
        }
        write!(f, ":{}", self.ports)?;
        f.write_str(if self.transport == Transport::Udp { "/udp" } else { "" })
    }
}

impl FromStr for Listen {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let address = match text.parse::<u16>() {
            Ok(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
            Err(_) => text.parse().ok(),
        };
        match address {
            Some(address) if address.port() != 0 => Ok(Self(address)),
            _ => Err(DestinationError::Listen(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
            return write!(f, "{}", self.0.port());
        }
        write!(f, "{}", self.0)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )* };
}
as_text!(Destination, Listen);

impl<'de> Deserialize<'de> for Destination {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Port(u16),
            Text(String),
        }
        let text = match Written::deserialize(from)? {
            Written::Port(port) => port.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn destinations_have_one_reading() {
        for text in [
            "example.org:443",
            "192.0.2.1:53/udp",
            "10.0.0.0/8:8000-8010",
            "[2001:db8::1]:443",
            "[2001:db8::/32]:443",
        ] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        for text in [
            "example.org",
            "127.1:80",
            "2130706433:80",
            "::1:80",
            "a:0",
            "a:70000",
            "10.0.0.1/8:1:2",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_is_published_on_loopback_unless_an_address_is_given() {
        assert_eq!("8080".parse::<Listen>().unwrap().0.to_string(), "127.0.0.1:8080");
        assert_eq!("0.0.0.0:80".parse::<Listen>().unwrap().to_string(), "0.0.0.0:80");
        assert!("0".parse::<Listen>().is_err());
    }

    proptest! {
        #[test]
        fn never_panics_and_writes_what_it_reads(text in "[a-z0-9:./\\[\\]-]{0,24}") {
            if let Ok(read) = text.parse::<Destination>() {
                prop_assert_eq!(read.to_string().parse::<Destination>().unwrap(), read);
            }
        }
    }
}
