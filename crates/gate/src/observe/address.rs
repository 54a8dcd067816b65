//! Where metrics may be read: on this machine.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// `127.0.0.1:9108`, `[::1]:9108`, or the path of a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsAddress {
    /// A loopback address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket that the gate makes, for its owner and its group.
    Unix(PathBuf),
}

/// Text that names no place for metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: metrics are read on this machine alone; write 127.0.0.1:9108 or an absolute path")]
pub struct MetricsAddressError(String);

impl FromStr for MetricsAddress {
    type Err = MetricsAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let address = text.parse::<SocketAddr>().ok().filter(|at| at.ip().is_loopback());
        let refused = || MetricsAddressError(text.chars().take(100).collect());
        address.map(Self::Tcp).ok_or_else(refused)
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}/metrics"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MetricsAddress;

    #[test]
    fn this_machine_and_no_other() {
        for good in ["127.0.0.1:9108", "[::1]:0", "/run/proxward/metrics.sock"] {
            assert!(good.parse::<MetricsAddress>().is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:9108", "[::]:9108", "192.0.2.1:9108", "localhost:9108", "9108", ""] {
            assert!(bad.parse::<MetricsAddress>().is_err(), "{bad}");
        }
    }
}
