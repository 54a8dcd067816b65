//! What a decoded path asks for, told as pveproxy tells it (`split_abs_uri`, `find_handler`).
//!
//! Routing there ignores repeated and trailing slashes, the list of calls that need nobody's
//! credential does not; both are followed, or a slash would be a way around a rule.

use http::Method;

/// Calls that are answered without any credential (`PVE::HTTPServer::auth_handler`).
const OPEN: [(Method, &str); 6] = [
    (Method::GET, "/access/domains"),
    (Method::GET, "/access/ticket"),
    (Method::POST, "/access/ticket"),
    (Method::POST, "/access/vncticket"),
    (Method::POST, "/access/openid/login"),
    (Method::POST, "/access/openid/auth-url"),
];

/// Calls that answer with a ticket for a console or a migration, by their last segment. The
/// ticket of a SPICE console is for another port and never comes back here.
const CONSOLES: [&str; 4] = ["vncproxy", "vncshell", "termproxy", "mtunnel"];

/// How an answer of the API is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    /// Always status 200; the true one stands in the body.
    Extjs,
    /// The same with HTML entities.
    Htmljs,
    /// Pages for people.
    Html,
    /// Any other word.
    Other,
}

const FORMATS: [(&str, Format); 4] = [
    ("json", Format::Json),
    ("extjs", Format::Extjs),
    ("htmljs", Format::Htmljs),
    ("html", Format::Html),
];

/// A call that answers whether somebody is who they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthCall {
    /// Login, renewal, second factor.
    Ticket,
    /// The last step of a login by OpenID Connect.
    OpenId,
    /// Whether a console's ticket is good.
    VncTicket,
}

const AUTH: [(&[&str], AuthCall); 3] = [
    (&["access", "ticket"], AuthCall::Ticket),
    (&["access", "openid", "login"], AuthCall::OpenId),
    (&["access", "vncticket"], AuthCall::VncTicket),
];

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    /// `/api2/FORMAT` and the path below it, with its first slash.
    Api(Format, &'p str),
    /// Below `/proxward/`: answered here.
    Own(&'p str),
    /// Everything else: the interface, its files, what does not exist.
    Page(&'p str),
}

impl<'p> Route<'p> {
    /// Of a path that was decoded once.
    pub(crate) fn of(path: &'p str) -> Self {
        if let Some(own) = path.strip_prefix("/proxward/") {
            return Self::Own(own);
        }
        match api(path) {
            Some((word, below)) => {
                let known = FORMATS.iter().find(|(name, _)| *name == word);
                Self::Api(known.map_or(Format::Other, |(_, format)| *format), below)
            }
            None => Self::Page(path),
        }
    }

    /// Whether Proxmox VE asks for no credential.
    pub(crate) fn is_open(&self, method: &Method) -> bool {
        match self {
            Self::Api(_, below) => OPEN.iter().any(|(open, path)| open == method && path == below),
            _ => false,
        }
    }

    /// The call that is an attempt to log in, if it is one.
    pub(crate) fn auth(&self, method: &Method) -> Option<(Format, AuthCall)> {
        let Self::Api(format, below) = self else { return None };
        if *method != Method::POST {
            return None;
        }
        let row = AUTH.iter().find(|(path, _)| segments(below).eq(path.iter().copied()));
        row.map(|(_, call)| (*format, *call))
    }

    /// Whether the answer may hold a console's ticket.
    pub(crate) fn hands_out_console(&self, method: &Method) -> bool {
        let Self::Api(_, below) = self else { return false };
        *method == Method::POST
            && segments(below).next() == Some("nodes")
            && segments(below).last().is_some_and(|last| CONSOLES.contains(&last))
    }

    /// Whether Proxmox VE writes a CSRF token into the page it answers with.
    pub(crate) fn is_index(&self) -> bool {
        match self {
            Self::Page(path) => *path == "/",
            Self::Api(format, _) => *format == Format::Html,
            Self::Own(_) => false,
        }
    }
}

/// `^/api2/+([a-z][a-z0-9]+)(/.*)?$`
fn api(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/api2/")?.trim_start_matches('/');
    let end =
        rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit())).unwrap_or(rest.len());
    let (word, below) = rest.split_at(end);
    let first = word.bytes().next()?;
    let is_word = word.len() > 1 && first.is_ascii_lowercase();
    match below {
        "" if is_word => Some((word, "/")),
        _ if is_word && below.starts_with('/') => Some((word, below)),
        _ => None,
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{AuthCall, Format, Route};
    use http::Method;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        assert_eq!(Route::of("/api2/json/version"), Route::Api(Format::Json, "/version"));
        assert_eq!(Route::of("/api2///extjs"), Route::Api(Format::Extjs, "/"));
        assert_eq!(Route::of("/api2/png/x"), Route::Api(Format::Other, "/x"));
        for page in [
            "/",
            "/api2",
            "/api2/",
            "//api2/json/version",
            "/api2/j/x",
            "/api2/json.x/y",
            "/api2/Json/x",
        ] {
            assert_eq!(Route::of(page), Route::Page(page));
        }
        assert_eq!(Route::of("/proxward/logout"), Route::Own("logout"));
    }

    #[test]
    fn a_slash_more_is_the_same_login_but_not_open() {
        for path in [
            "/api2/json/access/ticket",
            "/api2//json//access///ticket/",
            "/api2/json/access/ticket/",
        ] {
            assert_eq!(
                Route::of(path).auth(&Method::POST),
                Some((Format::Json, AuthCall::Ticket)),
                "{path}"
            );
        }
        assert_eq!(Route::of("/api2/json/access/ticket").auth(&Method::GET), None);
        assert!(Route::of("/api2/json/access/ticket").is_open(&Method::POST));
        assert!(!Route::of("/api2/json/access/ticket/").is_open(&Method::POST));
        assert!(!Route::of("/access/ticket").is_open(&Method::POST));
        let openid = Route::of("/api2/extjs/access/openid/login").auth(&Method::POST);
        assert_eq!(openid, Some((Format::Extjs, AuthCall::OpenId)));
    }

    #[test]
    fn consoles_and_pages_with_tokens() {
        let hands_out = |path| Route::of(path).hands_out_console(&Method::POST);
        assert!(hands_out("/api2/json/nodes/a/qemu/100/vncproxy"));
        assert!(hands_out("/api2/extjs/nodes/a/termproxy/"));
        assert!(!hands_out("/api2/json/nodes/a/qemu/100/vncwebsocket"));
        assert!(Route::of("/").is_index() && Route::of("/api2/html/nodes").is_index());
        assert!(!Route::of("/pve2/js/pvemanagerlib.js").is_index());
    }

    proptest! {
        #[test]
        fn any_path_has_a_route(path in "/(api2)?[/a-z0-9.é]{0,20}") {
            let route = Route::of(&path);
            route.auth(&Method::POST);
            route.hands_out_console(&Method::POST);
        }
    }
}
