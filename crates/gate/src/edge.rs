//! Rules on a parsed request, the same for HTTP/1 and HTTP/2: method, target, body.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, header};
use memchr::memchr;

use crate::head::Parts;
use crate::limits::BODY_BYTES;
use crate::refusal::Refusal;

/// The methods pveproxy knows; every other word is answered 501.
pub(crate) const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::PUT, Method::DELETE];

/// Formats under which the upload call can be reached, with the reason each is listed.
const UPLOAD_FORMATS: [(&str, &str); 3] = [
    ("json", "API clients"),
    ("extjs", "the web interface"),
    ("htmljs", "form posts of old web interfaces"),
];

/// Longest host name, as DNS has it.
const HOST_NAME: usize = 253;

/// How the body of a request is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyRule {
    /// There is none.
    None,
    /// Read whole before the request goes on, so that a slow client holds no upstream
    /// connection; at most [`BODY_BYTES`].
    Whole,
    /// Passed on as it comes: an upload.
    Stream,
}

/// Refuses methods pveproxy does not know. CONNECT and lower-case words are among them.
pub(crate) fn method(parts: &Parts) -> Result<(), Refusal> {
    if METHODS.contains(&parts.method) {
        return Ok(());
    }
    Err(Refusal::Method(parts.method.to_string()))
}

/// The path and query to ask upstream for. Absolute form is accepted for the host the
/// request names as its own (RFC 9112 §3.2.2), and is origin form from here on.
pub(crate) fn target(parts: &Parts) -> Result<PathAndQuery, Refusal> {
    // Whoever reads this header behind the gate shall find one name in it, as the gate does.
    let mut hosts = parts.headers.get_all(header::HOST);
    let host = hosts.next();
    let is_one = |host: &HeaderValue| host.to_str().is_ok_and(is_host);
    if !host.is_none_or(is_one) || hosts.next().is_some() {
        return Err(Refusal::Host);
    }
    // HTTP/2 always has an authority; there it takes the place of Host.
    if let Some(authority) = parts.uri.authority() {
        if authority.as_str().contains('@') {
            return Err(Refusal::Url);
        }
        if let Some(host) = host
            && !same_authority(host.as_bytes(), authority)
        {
            return Err(Refusal::Authority);
        }
    }
    let target = parts.uri.path_and_query().cloned();
    let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
    // HTTP/1 was judged on the wire; HTTP/2 may bring other characters, or "*".
    let visible = target.as_str().bytes().all(|byte| byte.is_ascii_graphic());
    if visible && target.path().starts_with('/') { Ok(target) } else { Err(Refusal::Url) }
}

/// Whether Host names what the target names.
fn same_authority(host: &[u8], authority: &Authority) -> bool {
    host.eq_ignore_ascii_case(authority.as_str().as_bytes())
}

/// Whether this is a host with an optional port, in characters that can not leave the
/// authority of a URL.
pub(crate) fn is_host(text: &str) -> bool {
    let (known, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
        None => {
            let colon = text.bytes().position(|byte| byte == b':');
            let (name, rest) = text.split_at(colon.unwrap_or(text.len()));
            (is_host_name(name), rest)
        }
    };
    known && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_port(digits: &str) -> bool {
    let port = digits.bytes().try_fold(0_u32, |port, byte| {
        let port = port * 10 + u32::from(byte.wrapping_sub(b'0'));
        (byte.is_ascii_digit() && port <= u32::from(u16::MAX)).then_some(port)
    });
    port.is_some() && !digits.is_empty()
}

fn is_host_name(name: &str) -> bool {
    let allowed =
        |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_');
    (1..=HOST_NAME).contains(&name.len()) && name.bytes().all(allowed)
}

/// Percent-decodes a path once, as pveproxy does before it routes (`uri_unescape`): a `%`
/// without two hex digits stays as it is, `+` is no space, dots and double slashes mean
/// nothing. Rules on paths must see this form and no other.
///
/// # Errors
/// [`Refusal::Path`] for control characters (NUL among them) and for what is not UTF-8: no
/// path of the API holds either, and a log line must not.
pub(crate) fn decode_path(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    // Nearly all are plain, which one look at many bytes at once tells.
    let odd = |byte: u8| !matches!(byte, 0x20..=0x7e) | (byte == b'%');
    if !raw.bytes().fold(false, |found, byte| found | odd(byte)) {
        return Ok(Cow::Borrowed(raw));
    }
    let decoded = if raw.contains('%') {
        let bytes = unescape(raw.as_bytes());
        Cow::Owned(String::from_utf8(bytes).map_err(|_| Refusal::Path)?)
    } else {
        Cow::Borrowed(raw)
    };
    // Of the characters beyond ASCII a few are control characters too.
    if decoded.chars().any(char::is_control) {
        return Err(Refusal::Path);
    }
    Ok(decoded)
}

pub(crate) fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escaped)) = memchr(b'%', rest).and_then(|at| rest.split_at_checked(at)) {
        decoded.extend_from_slice(plain);
        let (byte, next) = match escaped {
            [b'%', high, low, next @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, next),
                _ => (b'%', escaped.get(1..).unwrap_or_default()),
            },
            _ => (b'%', escaped.get(1..).unwrap_or_default()),
        };
        decoded.push(byte);
        rest = next;
    }
    decoded.extend_from_slice(rest);
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// How the body is to be treated. `path` is decoded; `length` is what the message declares
/// (`None`: HTTP/2 without Content-Length), `empty` whether it already ended.
pub(crate) fn body_rule(
    method: &Method,
    path: &str,
    length: Option<u64>,
    empty: bool,
) -> Result<BodyRule, Refusal> {
    if empty || length == Some(0) {
        return Ok(BodyRule::None);
    }
    if *method == Method::GET || *method == Method::DELETE {
        return Err(Refusal::UnexpectedContent(method.to_string()));
    }
    if *method == Method::POST && is_upload(path) {
        return length.map(|_| BodyRule::Stream).ok_or(Refusal::LengthRequired);
    }
    if length.is_some_and(|length| length > BODY_BYTES) {
        return Err(Refusal::BodyTooLarge);
    }
    Ok(BodyRule::Whole)
}

/// `/api2/FORMAT/nodes/NODE/storage/STORAGE/upload`: the only call whose body has no bound.
pub(crate) fn is_upload(path: &str) -> bool {
    // Few paths end so, and all are asked.
    if !path.ends_with("/upload") {
        return false;
    }
    let mut parts = path.split('/');
    let fixed = |part: Option<&str>, text: &str| part == Some(text);
    let variable = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    fixed(parts.next(), "")
        && fixed(parts.next(), "api2")
        && parts.next().is_some_and(|format| UPLOAD_FORMATS.iter().any(|(name, _)| *name == format))
        && fixed(parts.next(), "nodes")
        && variable(parts.next())
        && fixed(parts.next(), "storage")
        && variable(parts.next())
        && fixed(parts.next(), "upload")
        && parts.next().is_none()
}

/// Whether the client asks for a websocket: the only upgrade that goes through.
pub(crate) fn wants_websocket(parts: &Parts) -> bool {
    let upgrade = parts.headers.get(header::UPGRADE);
    parts.version == http::Version::HTTP_11
        && parts.method == Method::GET
        && upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

#[cfg(test)]
mod tests {
    use super::{BodyRule, body_rule, decode_path, is_host, is_upload, method, target};
    use crate::head::Parts;
    use crate::limits::BODY_BYTES;
    use crate::refusal::Refusal;
    use http::{Method, Request};
    use proptest::prelude::*;

    fn parts(method: &str, uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.into()
    }

    #[test]
    fn methods_as_the_genuine_server_knows_them() {
        for known in ["GET", "POST", "PUT", "DELETE"] {
            assert_eq!(method(&parts(known, "/", None)), Ok(()));
        }
        for other in ["HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get"] {
            assert_eq!(method(&parts(other, "/", None)), Err(Refusal::Method(other.into())));
        }
    }

    #[test]
    fn absolute_form_only_for_the_host_itself() {
        let of = |uri, host| target(&parts("GET", uri, host)).map(|target| target.to_string());
        assert_eq!(of("/a?b", Some("h")), Ok("/a?b".into()));
        assert_eq!(of("https://h:8006/a?b", Some("H:8006")), Ok("/a?b".into()));
        assert_eq!(of("https://h", None), Ok("/".into()));
        assert_eq!(of("https://h/", Some("h:8006")), Err(Refusal::Authority));
        assert_eq!(of("https://evil/", Some("h")), Err(Refusal::Authority));
        assert_eq!(of("https://u@h/", Some("h")), Err(Refusal::Url));
        assert_eq!(of("/caf\u{e9}", Some("h")), Err(Refusal::Url));
    }

    #[test]
    fn paths_decode_once() {
        assert_eq!(decode_path("/api2/json%2Fversion").unwrap(), "/api2/json/version");
        assert_eq!(decode_path("/%61pi2/%2566").unwrap(), "/api2/%66");
        assert_eq!(decode_path("/a%zz%4").unwrap(), "/a%zz%4");
        assert_eq!(decode_path("/a+b/../c").unwrap(), "/a+b/../c");
        assert_eq!(decode_path("/%c3%a9").unwrap(), "/é");
        for bad in ["/%00", "/a%0d%0ab", "/%7f", "/%c2%85", "/%ff", "/%c3"] {
            assert_eq!(decode_path(bad), Err(Refusal::Path), "{bad}");
        }
    }

    #[test]
    fn bodies() {
        let rule = |method: Method, path, length| body_rule(&method, path, length, false);
        let upload = "/api2/json/nodes/pve1/storage/local/upload";
        assert_eq!(rule(Method::POST, "/a", Some(0)), Ok(BodyRule::None));
        assert_eq!(rule(Method::PUT, "/a", Some(BODY_BYTES)), Ok(BodyRule::Whole));
        assert_eq!(rule(Method::PUT, "/a", None), Ok(BodyRule::Whole));
        assert_eq!(rule(Method::PUT, "/a", Some(BODY_BYTES + 1)), Err(Refusal::BodyTooLarge));
        assert_eq!(rule(Method::GET, "/a", Some(3)), Err(Refusal::UnexpectedContent("GET".into())));
        assert_eq!(rule(Method::POST, upload, Some(1 << 40)), Ok(BodyRule::Stream));
        assert_eq!(rule(Method::POST, upload, None), Err(Refusal::LengthRequired));
        assert_eq!(rule(Method::PUT, upload, Some(1 << 40)), Err(Refusal::BodyTooLarge));
    }

    #[test]
    fn only_the_upload_call_is_an_upload() {
        assert!(is_upload("/api2/extjs/nodes/a/storage/b/upload"));
        for other in [
            "/api2/json/nodes/a/storage/b/upload/",
            "/api2/json/nodes//storage/b/upload",
            "/api2/html/nodes/a/storage/b/upload",
            "/x/api2/json/nodes/a/storage/b/upload",
            "/api2/json/nodes/a/storage/b/c/upload",
        ] {
            assert!(!is_upload(other), "{other}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["pve1", "pve1.example.org:8006", "192.0.2.1:1", "[2001:db8::1]:8006", "[::1]"]
        {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "", ":8006", "a b", "a/b", "a@b", "a:b:c", "[::1", "[::1]x", "[evil]", "a:99999",
            "a:+1", "a\\b", "a?b", "a:",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_holds_no_control(raw in "[%0-9a-fA-F/ -~]{0,60}") {
            if let Ok(decoded) = decode_path(&raw) {
                prop_assert!(!decoded.chars().any(char::is_control));
            }
        }

        #[test]
        fn an_encoded_path_decodes_to_itself(path in "/\\PC{0,20}") {
            let encoded: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decode_path(&encoded).unwrap(), path);
        }
    }
}
