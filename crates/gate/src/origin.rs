//! Whether a browser sends this request for a page of ours. Judged for every state change and
//! every websocket: pveproxy looks at neither signal, and its upload call and its websockets
//! are not covered by the CSRF token (gateway reference §3.1, S7 and S15).
//!
//! A request without Origin and without Sec-Fetch-Site comes from no browser of these years;
//! nobody else's page can make a tool send one, so there is nothing to forge.

use http::Method;
use http::header::{HOST, ORIGIN};

use crate::head::{Fields, Parts};
use crate::refusal::Refusal;

const SITE: &str = "sec-fetch-site";

/// Begins the names of the headers that only a browser sets, which no script can (Fetch
/// Metadata §2).
const METADATA: &str = "sec-fetch-";

/// Origins besides the gate's own from which browsers may change something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    /// Checked origins, `https://HOST[:PORT]`.
    pub(crate) fn new(origins: Vec<String>) -> Self {
        Self(origins)
    }

    /// Refuses what a browser sends for another site's page. Every signal that is there has to
    /// be right.
    pub(crate) fn check(&self, parts: &Parts, websocket: bool) -> Result<(), Refusal> {
        if parts.method == Method::GET && !websocket {
            return Ok(());
        }
        let mut known = false;
        for origin in parts.headers.get_all(ORIGIN) {
            known =
                self.0.iter().any(|known| origin.as_bytes().eq_ignore_ascii_case(known.as_bytes()));
            if !known && !is_own(parts, origin.as_bytes()) {
                return Err(Refusal::CrossSite);
            }
        }
        for site in parts.headers.get_all(SITE) {
            // `none`: typed by the user, not caused by a page.
            if !known && !matches!(site.as_bytes(), b"same-origin" | b"none") {
                return Err(Refusal::CrossSite);
            }
        }
        Ok(())
    }
}

/// Whether the request shows that a browser sends it.
pub(crate) fn from_browser(headers: &Fields) -> bool {
    headers.contains(ORIGIN) || has_metadata(headers)
}

/// Whether it carries any Sec-Fetch-* header.
pub(crate) fn has_metadata(headers: &Fields) -> bool {
    headers.iter().any(|(name, _)| name.as_str().starts_with(METADATA))
}

/// Whether the origin is the host that the request itself names.
fn is_own(parts: &Parts, origin: &[u8]) -> bool {
    let host = match parts.headers.get(HOST) {
        Some(host) => host.as_bytes(),
        None => match parts.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => return false,
        },
    };
    // Browsers leave the scheme's own port out of an origin.
    let host = host.strip_suffix(b":443").unwrap_or(host);
    origin.strip_prefix(b"https://").is_some_and(|own| own.eq_ignore_ascii_case(host))
}

/// A configured origin, or why it is none.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").filter(|host| crate::edge::is_host(host));
    match host {
        Some(_) => Ok(text.strip_suffix(":443").unwrap_or(text).to_ascii_lowercase()),
        None => Err(format!("{text:?} is no origin; write https://HOST[:PORT]")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Origins, from_browser, parse};
    use crate::head::Parts;
    use http::Request;

    fn passes(method: &str, websocket: bool, headers: &[(&str, &str)]) -> bool {
        let request = Request::builder().method(method).header("host", "pve1:8006");
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let parts = Parts::from(request);
        Origins::new(vec![parse("https://Portal.example:443").unwrap()])
            .check(&parts, websocket)
            .is_ok()
    }

    #[test]
    fn the_matrix() {
        let own = ("origin", "https://PVE1:8006");
        let evil = ("origin", "https://evil.example");
        let site = |site| ("sec-fetch-site", site);
        let portal = ("origin", "https://portal.example");
        let cases: [(&[(&str, &str)], bool); 14] = [
            (&[], true),
            (&[own], true),
            (&[own, site("same-origin")], true),
            (&[site("same-origin")], true),
            (&[site("none")], true),
            (&[site("same-site")], false),
            (&[site("cross-site")], false),
            (&[evil], false),
            (&[("origin", "null")], false),
            (&[("origin", "http://pve1:8006")], false),
            (&[("origin", "https://pve1")], false),
            (&[evil, site("same-origin")], false),
            (&[portal, site("cross-site")], true),
            (&[own, site("cross-site")], false),
        ];
        for (headers, expected) in cases {
            for method in ["POST", "PUT", "DELETE"] {
                assert_eq!(passes(method, false, headers), expected, "{method} {headers:?}");
            }
            assert_eq!(passes("GET", true, headers), expected, "websocket {headers:?}");
            assert!(passes("GET", false, headers), "{headers:?}");
        }
    }

    #[test]
    fn browsers_give_themselves_away() {
        let shows = |name: &str| {
            let parts = Parts::from(Request::builder().header(name, "x"));
            from_browser(&parts.headers)
        };
        assert!(shows("origin") && shows("sec-fetch-mode") && !shows("user-agent"));
    }

    #[test]
    fn configured_origins() {
        assert_eq!(parse("https://A.example:8443").as_deref(), Ok("https://a.example:8443"));
        for bad in ["http://a", "a.example", "https://a/", "https://", "https://*.a", "null"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
