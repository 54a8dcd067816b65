//! Where the API is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// The port of pveproxy.
pub const DEFAULT_PORT: u16 = 8006;

/// The path under which the JSON API lies.
pub const DEFAULT_BASE: &str = "/api2/json";

/// Scheme, host, port and base path of an API.
///
/// Parsed from `https://pve1:8006`, `pve1`, `[2001:db8::1]:8006` or `https://host/prefix/api2/json`;
/// the port defaults to [`DEFAULT_PORT`], the path to [`DEFAULT_BASE`]. `http://` is for loopback
/// addresses and `localhost` only, as password and ticket pass in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    base: String,
    plain: bool,
}

/// The text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no API address: {reason}; expected https://HOST[:PORT]")]
pub struct EndpointError {
    text: String,
    reason: &'static str,
}

impl Endpoint {
    /// `https` to this host (without brackets) and port, with the default path.
    #[must_use]
    pub fn https(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, base: DEFAULT_BASE.to_owned(), plain: false }
    }

    /// DNS name or IP address, the latter without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path before every API path, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Plain HTTP, to loopback.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// What a Host header says.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refused = |reason| EndpointError { text: mask(text), reason };
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        if full.contains('#') {
            return Err(refused("it has a fragment"));
        }
        let uri: Uri = full.parse().map_err(|_| refused("it is malformed"))?;
        let plain = match uri.scheme_str() {
            Some("https") => false,
            Some("http") => true,
            _ => return Err(refused("only https is possible")),
        };
        let authority = uri.authority().ok_or_else(|| refused("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("credentials do not belong there"));
        }
        if uri.query().is_some() {
            return Err(refused("it has a query"));
        }
        let bracketed = authority.host();
        let host = bracketed
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(bracketed);
        if host.is_empty() {
            return Err(refused("it has no host"));
        }
        // `Authority` keeps a port it can not read, and reports none for it.
        let after_host = authority.as_str().strip_prefix(bracketed).unwrap_or("");
        let port = match (after_host, authority.port_u16()) {
            ("", _) => DEFAULT_PORT,
            (_, Some(port)) if port != 0 => port,
            _ => return Err(refused("its port is not a number from 1 to 65535")),
        };
        if plain && !named_loopback(host) {
            return Err(refused("http:// is possible to loopback only"));
        }
        let base = match uri.path().trim_end_matches('/') {
            "" => DEFAULT_BASE,
            path => path,
        };
        Ok(Self { host: host.to_owned(), port, base: base.to_owned(), plain })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "http" } else { "https" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

/// Checked again for the addresses `localhost` resolves to.
fn named_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(loopback)
}

pub(crate) fn loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Userinfo may hold a password.
fn mask(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings() {
        for (text, shown) in [
            ("pve1", "https://pve1:8006/api2/json"),
            ("pve1:443", "https://pve1:443/api2/json"),
            ("https://pve1/", "https://pve1:8006/api2/json"),
            ("https://192.0.2.1:8006/api2/json/", "https://192.0.2.1:8006/api2/json"),
            ("[2001:db8::1]:8007", "https://[2001:db8::1]:8007/api2/json"),
            ("https://proxy/pve/api2/json", "https://proxy:8006/pve/api2/json"),
            ("http://127.0.0.1:85", "http://127.0.0.1:85/api2/json"),
            ("http://[::1]:85", "http://[::1]:85/api2/json"),
            ("http://[::ffff:127.0.0.1]:85", "http://[::ffff:127.0.0.1]:85/api2/json"),
            ("http://localhost", "http://localhost:8006/api2/json"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        assert_eq!("[::1]".parse::<Endpoint>().unwrap().host(), "::1");
    }

    #[test]
    fn refusals() {
        for text in [
            "",
            "https://",
            "http://pve1",
            "http://192.0.2.1:8006",
            "http://127.0.0.1.example.org",
            "http://localhost.example.org",
            "ftp://pve1",
            "https://root:secret@pve1",
            "https://pve1:0",
            "https://pve1:99999",
            "https://pve1:",
            "https://pve1:x",
            "https://pve1/?a=b",
            "https://pve1/#x",
            "https://pve 1",
            "pve1\r\nHost: x",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(host in "[a-z][a-z0-9.-]{0,20}", port in 1u16.., base in "(/[a-z0-9]{1,5}){1,3}") {
            let endpoint = Endpoint { host, port, base, plain: false };
            prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
        }

        #[test]
        fn any_text_is_answered(text: String) {
            let _ = text.parse::<Endpoint>();
        }
    }
}
