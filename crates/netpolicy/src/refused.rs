//! Why a destination was refused.

use std::{fmt, net::IpAddr};

use crate::{class::AddressClass, host::HostError, special::row};

/// Why a destination may not be reached. `Display` is one line with the rule and the remedy, for
/// the operator; a client that is not trusted with addresses inside the network gets less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The host is not one, or spelled so that programs read it differently.
    Host(HostError),
    /// Port 0.
    Port,
    /// The name has no address.
    Unresolved {
        /// The host.
        host: String,
    },
    /// A rule denies it.
    Denied {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The rule, as it is written.
        rule: String,
    },
    /// Not on the internet, and no rule names the address.
    Special {
        /// The host.
        host: String,
        /// The address it has.
        address: IpAddr,
        /// Where packets to that address end up: the same, or the IPv4 address it carries.
        inner: IpAddr,
        /// The port.
        port: u16,
        /// The class of `inner`.
        class: AddressClass,
    },
    /// No rule allows it.
    Unlisted {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(error) => error.fmt(f),
            Self::Port => f.write_str("port 0 is no destination: name a port from 1 to 65535"),
            Self::Unresolved { host } => {
                write!(f, "{host} has no address: check the name and the resolver")
            }
            Self::Denied { host, port, rule } => {
                write!(
                    f,
                    "{host} port {port} is denied by rule '{rule}': narrow that rule if it should be reachable"
                )
            }
            Self::Special { host, address, inner, port, class } => {
                let source = row(*inner).map_or("outside allocated space", |range| range.source);
                write!(f, "{host} ")?;
                if host.parse() != Ok(*address) {
                    write!(f, "is at {address}, which ")?;
                }
                // 6to4, NAT64
                if inner != address {
                    write!(f, "leads to {inner}, which ")?;
                }
                let phrase = class.phrase();
                write!(
                    f,
                    "is {phrase} ({source}): add rule 'allow {inner} port {port}' if it should be reachable"
                )
            }
            Self::Unlisted { host, port } => {
                write!(
                    f,
                    "no rule allows {host} port {port}: add rule 'allow {host} port {port}' if it should be reachable"
                )
            }
        }
    }
}
