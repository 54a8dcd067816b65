//! Where Proxmox VE is, and how the gate knows that it is the right one.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use netpolicy::{AddressClass, Host, HostError, class};
use thiserror::Error;
use tls::{CertificateError, Connector, Trust};
use tokio::net::{TcpStream, UnixStream};

use crate::socket::Socket;

/// pveproxy's port.
const DEFAULT_PORT: u16 = 8006;

/// pvedaemon's port. It runs as root, checks no CSRF token and believes any claimed address
/// (gateway reference, headline 2), so a gate in front of it would open what pveproxy closes.
const PVEDAEMON_PORT: u16 = 85;

/// A checked upstream: `https://` with a certificate to expect, or `http://` on this machine.
#[derive(Clone, Debug)]
pub struct Destination {
    host: Host,
    port: u16,
    /// None: clear text, loopback only.
    connector: Option<Connector>,
    /// A socket of this machine instead of host and port.
    socket: Option<PathBuf>,
}

/// Why text is no upstream.
#[derive(Debug, Error)]
pub enum DestinationError {
    /// Not a URL of the two kinds, or one with more than host and port.
    #[error("{0:?} is no upstream: write https://HOST[:PORT], or http://127.0.0.1:PORT")]
    Url(String),
    /// The host is none.
    #[error(transparent)]
    Host(#[from] HostError),
    /// pvedaemon instead of pveproxy.
    #[error(
        "port 85 is pvedaemon, which leaves its checks to pveproxy: name pveproxy's port, 8006"
    )]
    Pvedaemon,
    /// Not an address of this machine.
    #[error("{0:?} is no pvedaemon: write 127.0.0.1:85, it is reached on this machine only")]
    Daemon(String),
    /// Clear text to another machine.
    #[error(
        "clear text is for loopback addresses only, and {0} is none: write https:// and the \
         certificate's fingerprint"
    )]
    ClearText(String),
    /// Nothing says which certificate is right.
    #[error(
        "no certificate to expect: set upstream_fingerprint (on the node: `openssl x509 -noout \
         -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem`) or upstream_ca"
    )]
    NoTrust,
    /// A certificate is expected where there is none.
    #[error("http:// has no certificate: remove upstream_fingerprint and upstream_ca")]
    Trust,
    /// The authority given can not be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Destination {
    /// `https://HOST[:PORT]` with a trust, or `http://LOOPBACK[:PORT]` without; port 8006 when
    /// none is written.
    ///
    /// # Errors
    /// [`DestinationError`].
    pub fn new(url: &str, trust: Option<&Trust>) -> Result<Self, DestinationError> {
        let bad = || DestinationError::Url(url.chars().take(100).collect());
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = host_port(authority, DEFAULT_PORT).ok_or_else(bad)?;
        let host: Host = host.parse()?;
        if port == PVEDAEMON_PORT {
            return Err(DestinationError::Pvedaemon);
        }
        let connector = match (scheme, trust) {
            ("https", Some(trust)) => Some(Connector::new(trust)?),
            ("https", None) => return Err(DestinationError::NoTrust),
            ("http", Some(_)) => return Err(DestinationError::Trust),
            ("http", None) if is_loopback(&host) => None,
            ("http", None) => return Err(DestinationError::ClearText(host.to_string())),
            _ => return Err(bad()),
        };
        Ok(Self { host, port, connector, socket: None })
    }

    /// pvedaemon, for the calls whose failures it logs: `ADDRESS:PORT` of this machine, in clear
    /// text. It believes the address it is told, so nothing but the gate may reach it that way.
    ///
    /// # Errors
    /// [`DestinationError::Daemon`].
    pub fn daemon(text: &str) -> Result<Self, DestinationError> {
        let address: SocketAddr =
            text.parse().map_err(|_| DestinationError::Daemon(text.chars().take(100).collect()))?;
        if !is_own(address) || address.port() == 0 {
            return Err(DestinationError::Daemon(text.chars().take(100).collect()));
        }
        let host = Host::Address(address.ip());
        Ok(Self { host, port: address.port(), connector: None, socket: None })
    }

    /// A unix socket of this machine, by its whole path.
    #[must_use]
    pub fn unix(path: PathBuf) -> Self {
        let host = Host::Address(Ipv4Addr::LOCALHOST.into());
        Self { host, port: 0, connector: None, socket: Some(path) }
    }

    /// The server of a shared store; in clear text on this machine only, which the caller checks.
    pub(crate) fn store(host: Host, port: u16, connector: Option<Connector>) -> Self {
        Self { host, port, connector, socket: None }
    }

    /// The TCP port; 0 where it is a socket of this machine.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.socket.is_some() || is_loopback(&self.host)
    }

    /// Whether a name has to be resolved for each connection.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.host, Host::Name(_))
    }

    /// Resolves a name once, so that the C library loads what it does that with: later, it may
    /// load nothing. Whether the name exists shows when it is connected to.
    pub(crate) fn warm_up(&self) {
        use std::net::ToSocketAddrs as _;
        if let Host::Name(name) = &self.host {
            let _ = (name.as_str(), self.port).to_socket_addrs();
        }
    }

    /// A new connection. The caller bounds its time.
    pub(crate) async fn connect(&self) -> io::Result<Socket> {
        if let Some(path) = &self.socket {
            return UnixStream::connect(path).await.map(Socket::Unix);
        }
        let tcp = match &self.host {
            Host::Address(address) => TcpStream::connect((*address, self.port)).await?,
            Host::Name(name) => self.connect_name(name).await?,
        };
        tcp.set_nodelay(true)?;
        let Some(connector) = &self.connector else {
            return Ok(Socket::Plain(tcp));
        };
        let tls = connector.connect(&self.host.to_string(), tcp).await;
        tls.map(|tls| Socket::Tls(Box::new(tls))).map_err(io::Error::other)
    }

    /// Connects to the addresses of a name, for clear text only to those of this machine.
    async fn connect_name(&self, name: &str) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no usable address");
        for address in tokio::net::lookup_host((name, self.port)).await? {
            if self.connector.is_none() && !is_own(address) {
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Connects once, as the gate would, and says why that fails: nobody there, or another
/// certificate. Blocks, at most the limit of a connect.
///
/// # Errors
/// What kept it from connecting.
pub fn probe(destination: &Destination) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let most = crate::limits::Limits::default().upstream_connect;
    runtime.block_on(async {
        match tokio::time::timeout(most, destination.connect()).await {
            Ok(connected) => connected.map(drop),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    })
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.socket {
            return write!(f, "unix:{}", path.display());
        }
        let scheme = if self.connector.is_some() { "https" } else { "http" };
        match &self.host {
            Host::Address(std::net::IpAddr::V6(v6)) => write!(f, "{scheme}://[{v6}]:{}", self.port),
            host => write!(f, "{scheme}://{host}:{}", self.port),
        }
    }
}

/// Host and port of `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
pub(crate) fn host_port(authority: &str, default: u16) -> Option<(&str, u16)> {
    let port_at = match authority.rfind(']') {
        Some(end) => authority.get(end..)?.find(':').map(|at| end + at),
        None => authority.rfind(':'),
    };
    let Some(at) = port_at else {
        return Some((authority, default));
    };
    let (host, port) = authority.split_at_checked(at)?;
    let digits = port.strip_prefix(':')?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|port| plain && *port != 0)?;
    Some((host, port))
}

/// By name only "localhost"; what it resolves to is checked again when connecting.
pub(crate) fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Name(name) => name == "localhost",
        Host::Address(address) => class(*address) == AddressClass::Loopback,
    }
}

fn is_own(address: SocketAddr) -> bool {
    class(address.ip()) == AddressClass::Loopback
}

#[cfg(test)]
mod tests {
    use super::{Destination, DestinationError};
    use tls::Trust;

    fn pin() -> Trust {
        Trust::Pin("ab".repeat(32).parse().unwrap())
    }

    #[test]
    fn https_needs_a_certificate_to_expect() {
        let shown = |url| Destination::new(url, Some(&pin())).unwrap().to_string();
        assert_eq!(shown("https://pve1"), "https://pve1:8006");
        assert_eq!(shown("https://192.0.2.1:443/"), "https://192.0.2.1:443");
        assert_eq!(shown("https://[2001:db8::1]"), "https://[2001:db8::1]:8006");
        assert_eq!(shown("https://[2001:db8::1]:1"), "https://[2001:db8::1]:1");
        assert!(matches!(Destination::new("https://pve1", None), Err(DestinationError::NoTrust)));
    }

    #[test]
    fn pvedaemon_is_no_upstream() {
        for url in ["http://127.0.0.1:85", "https://pve1:85"] {
            let refused = Destination::new(url, Some(&pin()));
            assert!(matches!(refused, Err(DestinationError::Pvedaemon)), "{url}");
        }
    }

    #[test]
    fn the_daemon_is_on_this_machine() {
        assert_eq!(Destination::daemon("127.0.0.1:85").unwrap().to_string(), "http://127.0.0.1:85");
        for other in ["192.0.2.1:85", "localhost:85", "127.0.0.1", "127.0.0.1:0", "0.0.0.0:85", ""]
        {
            let refused = Destination::daemon(other);
            assert!(matches!(refused, Err(DestinationError::Daemon(_))), "{other}");
        }
    }

    #[test]
    fn clear_text_stays_on_this_machine() {
        for url in
            ["http://127.0.0.1:80", "http://127.9.9.9", "http://[::1]:86", "http://localhost"]
        {
            Destination::new(url, None).unwrap();
        }
        for url in ["http://192.0.2.1", "http://pve1:86", "http://0.0.0.0:86", "http://[::]:86"] {
            assert!(
                matches!(Destination::new(url, None), Err(DestinationError::ClearText(_))),
                "{url}"
            );
        }
        assert!(matches!(
            Destination::new("http://127.0.0.1", Some(&pin())),
            Err(DestinationError::Trust)
        ));
    }

    #[test]
    fn anything_else_is_no_upstream() {
        for url in [
            "pve1",
            "ftp://pve1",
            "https://",
            "https://u@pve1",
            "https://pve1/api2",
            "https://pve1?x",
            "https://pve1:0",
            "https://pve1:99999",
            "https://pve1:+1",
            "https://[::1",
            "http://0x7f.1",
        ] {
            assert!(Destination::new(url, Some(&pin())).is_err(), "{url}");
        }
    }
}
