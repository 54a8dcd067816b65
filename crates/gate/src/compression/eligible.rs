//! Which answers may be compressed.

use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, SET_COOKIE};

use crate::head::Fields;
use crate::route::{Format, Route};

/// Where the files of the interface lie: pveproxy answers them without a credential, the same for
/// everybody (`PVE::Service::pveproxy`, its tables of directories and files).
const ASSETS: [&str; 12] = [
    "/pve2/",
    "/pwt/",
    "/novnc/",
    "/xtermjs/",
    "/pve-docs/",
    "/yew-mobile/",
    "/bootstrap5/",
    "/widgettoolkit/",
    "/proxmoxlib.js",
    "/proxmox-mobile/",
    "/qrcode.min.js",
    "/favicon.ico",
];

/// Calls whose answers stay plain, `*` for any segment, each with the secret that is in them.
const SECRET: [(&[&str], &str); 10] = [
    (&["access", "ticket"], "a ticket and a CSRF token"),
    (&["access", "vncticket"], "a ticket"),
    (&["access", "openid"], "a ticket, or the state of a login"),
    (&["access", "tfa"], "second factors"),
    (&["access", "users", "*", "tfa"], "second factors"),
    (&["access", "users", "*", "token"], "API tokens"),
    (&["cluster", "sdn", "ipams"], "credentials of other services"),
    (&["cluster", "sdn", "dns"], "credentials of other services"),
    (&["cluster", "metrics", "server"], "credentials of other services"),
    (&["nodes", "*", "*", "*", "cloudinit"], "the hash of a guest's password"),
];

/// Media types that shrink, with the reason.
const TYPES: [(&str, &str); 9] = [
    ("application/json", "the API"),
    ("application/javascript", "the interface"),
    ("text/javascript", "the interface"),
    ("text/css", "the interface"),
    ("text/plain", "translations, licences"),
    ("text/html", "the documentation"),
    ("application/xml", "the documentation"),
    ("image/svg+xml", "icons"),
    ("application/wasm", "the mobile interface"),
];

/// Whether an answer of this kind may be compressed, whatever its size.
pub(crate) fn may_shrink(method: &Method, route: &Route<'_>, headers: &Fields) -> bool {
    let allowed = match route {
        Route::Api(Format::Json | Format::Extjs, below) => !holds_secret(below),
        Route::Page(path) => asset(path),
        Route::Api(..) | Route::Own(_) => false,
    };
    let transform = headers.get(CACHE_CONTROL).is_none_or(|value| {
        !value.to_str().unwrap_or_default().to_ascii_lowercase().contains("no-transform")
    });
    // A part of a body is a part of those bytes, and a cookie may be a ticket.
    let plain = [CONTENT_ENCODING, CONTENT_RANGE, SET_COOKIE];
    allowed
        && *method == Method::GET
        && shrinks(headers)
        && transform
        && !plain.iter().any(|name| headers.contains(name))
}

/// Whether this is a file of the interface.
pub(crate) fn asset(path: &str) -> bool {
    ASSETS.iter().any(|prefix| path.starts_with(prefix)) && !path.contains("/../")
}

fn holds_secret(below: &str) -> bool {
    let matches = |(pattern, _): &(&[&str], &str)| {
        let mut segments = below.split('/').filter(|segment| !segment.is_empty());
        pattern.iter().all(|part| segments.next().is_some_and(|have| *part == "*" || *part == have))
    };
    SECRET.iter().any(matches)
}

fn shrinks(headers: &Fields) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    TYPES.iter().any(|(known, _)| media.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::{SECRET, may_shrink};
    use crate::head::Fields;
    use crate::route::Route;
    use http::header::CONTENT_TYPE;
    use http::{HeaderName, Method};

    fn may(method: &Method, path: &str, lines: &[(&'static str, &str)]) -> bool {
        let mut headers = Fields::default();
        headers.insert(CONTENT_TYPE, "application/json;charset=UTF-8".parse().unwrap());
        for (name, value) in lines {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        may_shrink(method, &Route::of(path), &headers)
    }

    #[test]
    fn lists_and_files_but_nothing_with_a_secret() {
        for path in [
            "/api2/json/cluster/resources",
            "/api2/extjs/nodes/a/qemu/100/config",
            "/api2/json/access/roles",
            "/pve2/js/pvemanagerlib.js",
        ] {
            assert!(may(&Method::GET, path, &[]), "{path}");
            assert!(!may(&Method::POST, path, &[]), "{path}");
        }
        for path in [
            "/",
            "/api2/html/cluster/resources",
            "/api2/png/nodes/a/rrd",
            "/api2/json/access/ticket",
            "/api2/json//access//ticket/",
            "/api2/json/access/openid/auth-url",
            "/api2/json/access/users/a@pve/token/t",
            "/api2/json/nodes/a/qemu/100/cloudinit/dump",
            "/proxward/permissions",
            "/other",
        ] {
            assert!(!may(&Method::GET, path, &[]), "{path}");
        }
    }

    #[test]
    fn what_the_answer_itself_forbids() {
        let path = "/api2/json/nodes";
        for line in [
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-1/2"),
            ("set-cookie", "a=b"),
            ("cache-control", "private, No-Transform"),
            ("content-type", "image/png"),
            ("content-type", ""),
        ] {
            assert!(!may(&Method::GET, path, &[line]), "{line:?}");
        }
    }

    #[test]
    fn no_row_is_dead() {
        for (pattern, _) in SECRET {
            let path = format!("/api2/json/{}", pattern.join("/"));
            assert!(!may(&Method::GET, &path, &[]), "{path}");
        }
    }
}
