//! The class under which a request is counted and timed: few enough to be labels, and such that
//! those of one class take about as long.

use http::Method;

use crate::compression::asset;
use crate::edge::is_upload;
use crate::route::Route;

/// See [`ENDPOINTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Refused before it was known what is asked for.
    Unknown,
    Login,
    Console,
    Upload,
    Poll,
    Read,
    Write,
    File,
    Page,
    Own,
}

/// Label and meaning of every class, in the order of the variants.
pub(crate) const ENDPOINTS: [(&str, &str); 10] = [
    ("unknown", "refused before it was known what is asked for"),
    ("login", "login, renewal, second factor, console ticket"),
    ("console", "calls that hand out a console, and its websocket"),
    ("upload", "files sent to a storage"),
    ("poll", "lists that every open interface asks for again and again"),
    ("read", "every other GET of the API"),
    ("write", "every other POST, PUT and DELETE of the API"),
    ("file", "files of the interface"),
    ("page", "pages of the interface, and what does not exist"),
    ("own", "what the gate answers below /proxward/"),
];

/// What an open interface asks for every few seconds, by the end of the path.
const POLLED: [&str; 6] = ["resources", "status", "tasks", "current", "rrddata", "log"];

impl Endpoint {
    /// The class of a request whose path is decoded.
    pub(crate) fn of(method: &Method, path: &str, route: &Route<'_>) -> Self {
        let below = match route {
            Route::Own(_) => return Self::Own,
            Route::Page(path) if asset(path) => return Self::File,
            Route::Page(_) => return Self::Page,
            Route::Api(_, below) => below.trim_end_matches('/'),
        };
        let last = below.rsplit('/').next().unwrap_or_default();
        match *method {
            Method::GET if last == "vncwebsocket" => Self::Console,
            Method::GET if POLLED.contains(&last) => Self::Poll,
            Method::GET => Self::Read,
            Method::POST if route.auth(method).is_some() => Self::Login,
            Method::POST if route.hands_out_console(method) => Self::Console,
            Method::POST if is_upload(path) => Self::Upload,
            _ => Self::Write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ENDPOINTS, Endpoint};
    use crate::route::Route;
    use http::Method;

    #[test]
    fn every_class_has_a_request_and_its_own_label() {
        let cases = [
            (Method::POST, "/api2/json/access/ticket", "login"),
            (Method::POST, "/api2/extjs//access/openid/login", "login"),
            (Method::POST, "/api2/json/nodes/a/qemu/100/vncproxy", "console"),
            (Method::GET, "/api2/json/nodes/a/vncwebsocket", "console"),
            (Method::POST, "/api2/json/nodes/a/storage/b/upload", "upload"),
            (Method::GET, "/api2/json/cluster/resources", "poll"),
            (Method::GET, "/api2/json/nodes/a/qemu/100/status/current/", "poll"),
            (Method::GET, "/api2/json/nodes", "read"),
            (Method::PUT, "/api2/json/cluster/resources", "write"),
            (Method::DELETE, "/api2/json/nodes/a/qemu/100", "write"),
            (Method::GET, "/pve2/js/a.js", "file"),
            (Method::GET, "/", "page"),
            (Method::GET, "/proxward/health", "own"),
        ];
        for (method, path, label) in &cases {
            let endpoint = Endpoint::of(method, path, &Route::of(path));
            assert_eq!(ENDPOINTS[endpoint as usize].0, *label, "{path}");
        }
        for (label, _) in &ENDPOINTS[1..] {
            assert!(cases.iter().any(|(.., have)| have == label), "{label}");
        }
    }
}
