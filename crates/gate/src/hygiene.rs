//! Which headers go through, in either direction. Towards Proxmox VE only what the first
//! table lists; towards the client everything but the second, plus the third.

use std::sync::LazyLock;

use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, IF_MODIFIED_SINCE,
    PROXY_AUTHENTICATE, REFERRER_POLICY, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, STRICT_TRANSPORT_SECURITY, TE, TRAILER, UPGRADE, USER_AGENT,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};

use crate::credential::{CSRF_HEADER, Csrf, Lines};
use crate::head::{Fields, Parts};
use crate::limits::{HEAD_LINES, UPSTREAM_HEAD_BYTES};
use crate::refusal::Refusal;
use crate::scratch::Buffer;

/// A header, its name as it is written, and why it is there.
type Row = (HeaderName, &'static str, &'static str);

/// Why each request header is passed on, with its name as PVE's own clients write it. What is not
/// here never reaches Proxmox VE: above all PVEDisableProxy, PVEClientIP, pvestreamfile, Forwarded
/// and X-Forwarded-*, which it or a daemon behind it would believe. Content-Length is written from
/// the body itself. Accept-Encoding is missing: upstream answers plain, and `compression` makes it
/// smaller.
static REQUEST: [Row; 9] = [
    (HOST, "Host", "WebAuthn derives its origin from it; unchanged, port included"),
    (COOKIE, "Cookie", "the one ticket that was judged, language and theme of the web interface"),
    (AUTHORIZATION, "Authorization", "the one API token or ticket that was judged"),
    (
        HeaderName::from_static("csrfpreventiontoken"),
        "CSRFPreventionToken",
        "every write with a ticket needs it; a session's own one is exchanged",
    ),
    (CONTENT_TYPE, "Content-Type", "form, JSON or multipart"),
    (ACCEPT, "Accept", "asked for by clients, harmless"),
    (ACCEPT_LANGUAGE, "Accept-Language", "the language of the login page"),
    (USER_AGENT, "User-Agent", "pveproxy tells mobile browsers apart"),
    (IF_MODIFIED_SINCE, "If-Modified-Since", "static files answer 304"),
];

/// Passed on with a websocket request only. Sec-WebSocket-Extensions is missing on purpose:
/// pveproxy knows no frames with RSV bits, so compression must never be agreed on.
static WEBSOCKET: [Row; 3] = [
    (SEC_WEBSOCKET_KEY, "Sec-WebSocket-Key", "the handshake's proof"),
    (SEC_WEBSOCKET_VERSION, "Sec-WebSocket-Version", "pveproxy checks for 13"),
    (SEC_WEBSOCKET_PROTOCOL, "Sec-WebSocket-Protocol", "`binary`; pveproxy echoes it"),
];

/// The address pvedaemon takes for the client's.
const PVE_CLIENT_IP: &str = "PVEClientIP";

/// The type of a body that the gate has written.
const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Why each header of an answer is kept from the client.
static RESPONSE_WITHHELD: [(HeaderName, &str); 9] = [
    (HeaderName::from_static("keep-alive"), "between upstream and us"),
    (HeaderName::from_static("proxy-connection"), "between upstream and us"),
    (TE, "between upstream and us"),
    (TRAILER, "trailers are not passed on"),
    (UPGRADE, "an answer to a websocket request gets its own"),
    (PROXY_AUTHENTICATE, "upstream is no proxy of the client"),
    (
        HeaderName::from_static("pvestreamfile"),
        "makes pveproxy send a file: internal (CVE-2022-35508)",
    ),
    (HeaderName::from_static("pvedisableproxy"), "internal"),
    (HeaderName::from_static("pveclientip"), "internal"),
];

/// A bit for each length of a name in the table.
static WITHHELD_LENGTHS: LazyLock<u64> = LazyLock::new(|| {
    RESPONSE_WITHHELD.iter().fold(0, |bits, (name, _)| bits | 1 << name.as_str().len())
});

/// Set on every answer that does not already carry them, with the reason.
static SECURITY: [(HeaderName, HeaderValue, &str); 4] = [
    (
        STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=31536000"),
        "no clear text after the first visit; browsers ignore it while the certificate is not trusted",
    ),
    (
        X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
        "an uploaded file must not become a page",
    ),
    (
        X_FRAME_OPTIONS,
        HeaderValue::from_static("SAMEORIGIN"),
        "clickjacking; the interface frames its own consoles",
    ),
    (
        REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
        "console addresses carry tickets in their query",
    ),
];

/// Header lines as they are written to Proxmox VE.
pub(crate) struct HeadLines {
    bytes: Buffer,
    count: usize,
}

impl HeadLines {
    pub(crate) fn new() -> Self {
        Self { bytes: Buffer::new(), count: 0 }
    }

    /// Adds a line. The value is one that a parsed header had, or the gate's own.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            self.bytes.extend_from_slice(part);
        }
        self.count += 1;
    }

    /// Adds a line in the place of those of its name.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        let own =
            |line: &&[u8]| line.starts_with(name.as_bytes()) && line.get(name.len()) == Some(&b':');
        let mut kept = Self::new();
        for line in self.bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| !own(line)) {
            kept.bytes.extend_from_slice(line);
            kept.count += 1;
        }
        kept.add(name, value);
        *self = kept;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The header lines to send upstream for a client's request.
///
/// # Errors
/// [`Refusal::HeadTooLarge`] when pveproxy would fall silent over the result. Only HTTP/2
/// gets there: an HTTP/1 head was measured as it came.
pub(crate) fn upstream_lines(
    parts: &Parts,
    target: &PathAndQuery,
    websocket: bool,
    lines: &Lines,
) -> Result<HeadLines, Refusal> {
    let mut out = HeadLines::new();
    let csrf = match &lines.csrf {
        Csrf::Is(value) => Some(value.as_bytes()),
        Csrf::None | Csrf::OfTheClient => None,
    };
    let own = [
        ("Host", host(parts)),
        ("Cookie", lines.cookie.as_ref().map(HeaderValue::as_bytes)),
        ("Authorization", lines.authorization.as_ref().map(HeaderValue::as_bytes)),
        ("CSRFPreventionToken", csrf),
        ("Content-Type", lines.form.then_some(FORM)),
    ];
    for (name, value) in own {
        if let Some(value) = value {
            out.add(name, value);
        }
    }
    pass(parts, &REQUEST, lines, &mut out);
    if let Some(client) = lines.client {
        out.add(PVE_CLIENT_IP, client.to_string().as_bytes());
    }
    if websocket {
        out.add("Upgrade", b"websocket");
        out.add("Connection", b"Upgrade");
        pass(parts, &WEBSOCKET, lines, &mut out);
    }
    let request = parts.method.as_str().len() + target.as_str().len() + " HTTP/1.1\r\n".len() + 3;
    // 32 bytes and one line: the Content-Length. At one line more, pveproxy would fall silent.
    if request + out.bytes.len() + 32 > UPSTREAM_HEAD_BYTES || out.count + 1 >= HEAD_LINES {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(out)
}

/// Passes the client's own lines on: those that `table` lists and the gate does not write itself.
fn pass(parts: &Parts, table: &[Row], lines: &Lines, out: &mut HeadLines) {
    for (header, value) in parts.headers.iter() {
        let Some((_, name, _)) = table.iter().find(|(row, ..)| row == header) else { continue };
        let written = match *header {
            HOST | COOKIE | AUTHORIZATION => true,
            CONTENT_TYPE => lines.form,
            _ => *header == CSRF_HEADER && !matches!(lines.csrf, Csrf::OfTheClient),
        };
        if !written {
            out.add(name, value.as_bytes());
        }
    }
}

/// Whether a header of an answer is kept from the client. Asked while its head is parsed, where
/// also the Connection lines and what they name are taken out.
pub(crate) fn is_withheld(name: &HeaderName) -> bool {
    // Few names are as long as one of the table: only those are looked for.
    *WITHHELD_LENGTHS >> name.as_str().len().min(63) & 1 == 1
        && RESPONSE_WITHHELD.iter().any(|(withheld, _)| withheld == name)
}

/// Adds what [`SECURITY`] lists and the answer does not carry yet.
pub(crate) fn add_security(headers: &mut Fields) {
    let mut carried = 0_u8;
    for (name, _) in headers.iter() {
        let row = match *name {
            STRICT_TRANSPORT_SECURITY => 0,
            X_CONTENT_TYPE_OPTIONS => 1,
            X_FRAME_OPTIONS => 2,
            REFERRER_POLICY => 3,
            _ => continue,
        };
        carried |= 1 << row;
    }
    for (row, (name, value, _)) in SECURITY.iter().enumerate() {
        if carried >> row & 1 == 0 {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// HTTP/2 has the host in its authority.
fn host(parts: &Parts) -> Option<&[u8]> {
    if let Some(host) = parts.headers.get(HOST) {
        return Some(host.as_bytes());
    }
    Some(parts.uri.authority()?.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{
        HeadLines, REQUEST, RESPONSE_WITHHELD, SECURITY, WEBSOCKET, add_security, upstream_lines,
    };
    use crate::credential::{Csrf, Lines};
    use crate::head::{Fields, Parts};
    use crate::http1::parse_response;
    use crate::refusal::Refusal;
    use http::header::X_FRAME_OPTIONS;
    use http::uri::PathAndQuery;
    use http::{HeaderName, HeaderValue, Request, Version};

    fn upstream(request: http::request::Builder, websocket: bool) -> Result<Fields, Refusal> {
        let parts = Parts::from(request);
        let lines = Lines {
            cookie: parts.headers.get("cookie").cloned(),
            authorization: parts.headers.get("authorization").cloned(),
            csrf: Csrf::OfTheClient,
            ..Lines::default()
        };
        written(&parts, websocket, &lines)
    }

    /// What is written, read again.
    fn written(parts: &Parts, websocket: bool, lines: &Lines) -> Result<Fields, Refusal> {
        let target = PathAndQuery::from_static("/");
        let lines = upstream_lines(parts, &target, websocket, lines)?;
        let text = std::str::from_utf8(lines.as_bytes()).unwrap();
        let line = |line: &str| {
            let (name, value) = line.strip_suffix("\r\n").unwrap().split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        Ok(text.split_inclusive('\n').map(line).collect())
    }

    #[test]
    fn credentials_are_those_that_were_judged() {
        let request = Request::builder()
            .header("cookie", "a=1")
            .header("authorization", "b")
            .header("csrfpreventiontoken", "c")
            .header("accept-encoding", "gzip");
        let parts = Parts::from(request);
        let lines = Lines {
            cookie: Some(HeaderValue::from_static("d")),
            authorization: None,
            csrf: Csrf::Is(HeaderValue::from_static("e")),
            ..Lines::default()
        };
        let headers = written(&parts, false, &lines).unwrap();
        assert_eq!(
            (&headers["cookie"], &headers["csrfpreventiontoken"]),
            (&"d".parse().unwrap(), &"e".parse().unwrap())
        );
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn every_row_of_the_request_tables_lets_its_header_through() {
        for (name, written, _) in REQUEST.iter().chain(&WEBSOCKET) {
            assert_eq!(name.as_str(), written.to_ascii_lowercase());
            let headers = upstream(Request::builder().header(name, "x"), true).unwrap();
            assert_eq!(headers.get(name), Some(&HeaderValue::from_static("x")), "{name}");
        }
    }

    #[test]
    fn what_proxmox_would_believe_never_passes() {
        let mut request = Request::builder();
        let forged = [
            "pvedisableproxy",
            "pveclientip",
            "pvestreamfile",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-real-ip",
            "via",
            "te",
            "expect",
            "connection",
            "upgrade",
            "sec-websocket-key",
            "content-length",
            "transfer-encoding",
            "proxy-authorization",
            "range",
            "accept-encoding",
            "sec-websocket-extensions",
        ];
        for name in forged {
            request = request.header(name, "x");
        }
        assert_eq!(upstream(request, false).unwrap().len(), 0);
    }

    #[test]
    fn a_websocket_request_asks_for_a_websocket_and_no_extension() {
        let request = Request::builder()
            .header("upgrade", "WebSocket")
            .header("connection", "keep-alive, Upgrade")
            .header("sec-websocket-key", "k")
            .header("sec-websocket-extensions", "permessage-deflate");
        let headers = upstream(request, true).unwrap();
        assert_eq!(headers["upgrade"], "websocket");
        assert_eq!(headers["connection"], "Upgrade");
        assert_eq!(headers["sec-websocket-key"], "k");
        assert!(!headers.contains("sec-websocket-extensions"));
    }

    #[test]
    fn a_line_takes_the_place_of_those_of_its_name() {
        let mut lines = HeadLines::new();
        for (name, value) in [("If-Modified-Since", "a"), ("Host", "h"), ("If-Modified", "b")] {
            lines.add(name, value.as_bytes());
        }
        lines.set("If-Modified-Since", b"c");
        assert_eq!(lines.as_bytes(), b"Host: h\r\nIf-Modified: b\r\nIf-Modified-Since: c\r\n");
        assert_eq!(lines.count, 3);
    }

    #[test]
    fn pvedaemon_gets_the_address_and_no_credential() {
        let request = Request::builder().header("host", "h").header("csrfpreventiontoken", "c");
        let parts = Parts::from(request);
        let lines = Lines {
            cookie: Some(HeaderValue::from_static("a=1")),
            authorization: Some(HeaderValue::from_static("b")),
            csrf: Csrf::OfTheClient,
            ..Lines::default()
        };
        let lines = lines.of_login(Some("192.0.2.7".parse().unwrap()));
        let headers = written(&parts, false, &lines).unwrap();
        assert_eq!(headers["pveclientip"], "192.0.2.7");
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!((headers.len(), &headers["host"]), (3, &"h".parse().unwrap()));
    }

    #[test]
    fn http2_gets_a_host() {
        let request = Request::builder()
            .version(Version::HTTP_2)
            .uri("https://pve1:8006/")
            .header("accept", "*/*");
        let headers = upstream(request, false).unwrap();
        assert_eq!(headers["host"], "pve1:8006");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn a_head_over_which_pveproxy_falls_silent_is_refused() {
        let request = Request::builder().header("cookie", "x".repeat(8200));
        assert_eq!(upstream(request, false), Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn every_withheld_header_is_withheld() {
        for (name, _) in &RESPONSE_WITHHELD {
            let head = format!("HTTP/1.1 200 OK\r\n{name}: x\r\nDate: y\r\n{name}: z\r\n\r\n");
            let head = parse_response(&mut head.as_bytes().into()).unwrap().unwrap();
            assert_eq!(head.head.headers.len(), 1, "{name}");
            assert_eq!(head.head.headers["date"], "y");
        }
    }

    #[test]
    fn security_headers_are_added_but_never_doubled() {
        let mut headers = Fields::default();
        headers.append(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        add_security(&mut headers);
        assert_eq!(headers.get_all(X_FRAME_OPTIONS).count(), 1);
        assert_eq!(headers["x-frame-options"], "DENY");
        for (name, _, _) in &SECURITY {
            assert!(headers.contains(name), "{name}");
        }
    }
}
