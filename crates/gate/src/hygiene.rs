//! Which headers go through, in either direction. Towards Proxmox VE only what the first
//! table lists; towards the client everything but the second, plus the third.

use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, HOST,
    IF_MODIFIED_SINCE, PROXY_AUTHENTICATE, REFERRER_POLICY, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, STRICT_TRANSPORT_SECURITY, TE, TRAILER, UPGRADE,
    USER_AGENT, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::credential::{CSRF_HEADER, Csrf, Lines};
use crate::limits::{HEAD_LINES, UPSTREAM_HEAD_BYTES};
use crate::refusal::Refusal;

/// Why each request header is passed on. What is not here never reaches Proxmox VE: above
/// all PVEDisableProxy, PVEClientIP, pvestreamfile, Forwarded and X-Forwarded-*, which it or
/// a daemon behind it would believe. Content-Length is written from the body itself.
/// Accept-Encoding is missing: upstream answers plain, and `compression` makes it smaller.
static REQUEST: [(HeaderName, &str); 9] = [
    (HOST, "WebAuthn derives its origin from it; unchanged, port included"),
    (COOKIE, "the one ticket that was judged, language and theme of the web interface"),
    (AUTHORIZATION, "the one API token or ticket that was judged"),
    (
        HeaderName::from_static("csrfpreventiontoken"),
        "every write with a ticket needs it; a session's own one is exchanged",
    ),
    (CONTENT_TYPE, "form, JSON or multipart"),
    (ACCEPT, "asked for by clients, harmless"),
    (ACCEPT_LANGUAGE, "the language of the login page"),
    (USER_AGENT, "pveproxy tells mobile browsers apart"),
    (IF_MODIFIED_SINCE, "static files answer 304"),
];

/// Passed on with a websocket request only. Sec-WebSocket-Extensions is missing on purpose:
/// pveproxy knows no frames with RSV bits, so compression must never be agreed on.
static WEBSOCKET: [(HeaderName, &str); 3] = [
    (SEC_WEBSOCKET_KEY, "the handshake's proof"),
    (SEC_WEBSOCKET_VERSION, "pveproxy checks for 13"),
    (SEC_WEBSOCKET_PROTOCOL, "`binary`; pveproxy echoes it"),
];

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

/// The headers to send upstream for a client's request.
///
/// # Errors
/// [`Refusal::HeadTooLarge`] when pveproxy would fall silent over the result. Only HTTP/2
/// gets there: an HTTP/1 head was measured as it came.
pub(crate) fn upstream_headers(
    parts: &Parts,
    target: &PathAndQuery,
    websocket: bool,
    lines: &Lines,
) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(16);
    let mut size = parts.method.as_str().len() + target.as_str().len() + " HTTP/1.1\r\n".len() + 3;
    let mut pass = |name: &HeaderName, value: HeaderValue| {
        size += name.as_str().len() + value.len() + ": \r\n".len();
        headers.append(name.clone(), value);
    };
    for (name, _) in &REQUEST {
        match *name {
            HOST => {
                if let Some(host) = host(parts) {
                    pass(name, host);
                }
            }
            COOKIE => lines.cookie.iter().for_each(|value| pass(name, value.clone())),
            AUTHORIZATION => {
                lines.authorization.iter().for_each(|value| pass(name, value.clone()));
            }
            _ if *name == CSRF_HEADER => match &lines.csrf {
                Csrf::None => {}
                Csrf::Is(value) => pass(name, value.clone()),
                Csrf::OfTheClient => {
                    for value in parts.headers.get_all(name) {
                        pass(name, value.clone());
                    }
                }
            },
            _ => {
                for value in parts.headers.get_all(name) {
                    pass(name, value.clone());
                }
            }
        }
    }
    if websocket {
        pass(&UPGRADE, HeaderValue::from_static("websocket"));
        pass(&CONNECTION, HeaderValue::from_static("Upgrade"));
        for (name, _) in &WEBSOCKET {
            for value in parts.headers.get_all(name) {
                pass(name, value.clone());
            }
        }
    }
    // 32 bytes and one line: the Content-Length that hyper adds. At one line more, pveproxy
    // would fall silent.
    if size + 32 > UPSTREAM_HEAD_BYTES || headers.len() + 1 >= HEAD_LINES {
        return Err(Refusal::HeadTooLarge);
    }
    Ok(headers)
}

/// Whether a header of an answer is kept from the client. Asked while its head is parsed, where
/// also the Connection lines and what they name are taken out.
pub(crate) fn is_withheld(name: &HeaderName) -> bool {
    RESPONSE_WITHHELD.iter().any(|(withheld, _)| withheld == name)
}

/// Adds what [`SECURITY`] lists and the answer does not carry yet.
pub(crate) fn add_security(headers: &mut HeaderMap) {
    for (name, value, _) in &SECURITY {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// HTTP/2 has the host in its authority.
fn host(parts: &Parts) -> Option<HeaderValue> {
    if let Some(host) = parts.headers.get(HOST) {
        return Some(host.clone());
    }
    HeaderValue::from_str(parts.uri.authority()?.as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::{REQUEST, RESPONSE_WITHHELD, SECURITY, WEBSOCKET, add_security, upstream_headers};
    use crate::credential::{Csrf, Lines};
    use crate::http1::parse_response;
    use crate::refusal::Refusal;
    use http::uri::PathAndQuery;
    use http::{HeaderMap, HeaderValue, Request, Version};

    fn upstream(request: http::request::Builder, websocket: bool) -> Result<HeaderMap, Refusal> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let lines = Lines {
            cookie: parts.headers.get("cookie").cloned(),
            authorization: parts.headers.get("authorization").cloned(),
            csrf: Csrf::OfTheClient,
        };
        upstream_headers(&parts, &PathAndQuery::from_static("/"), websocket, &lines)
    }

    #[test]
    fn credentials_are_those_that_were_judged() {
        let request = Request::builder()
            .header("cookie", "a=1")
            .header("authorization", "b")
            .header("csrfpreventiontoken", "c")
            .header("accept-encoding", "gzip");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let lines = Lines {
            cookie: Some(HeaderValue::from_static("d")),
            authorization: None,
            csrf: Csrf::Is(HeaderValue::from_static("e")),
        };
        let headers =
            upstream_headers(&parts, &PathAndQuery::from_static("/"), false, &lines).unwrap();
        assert_eq!(
            (&headers["cookie"], &headers["csrfpreventiontoken"]),
            (&"d".parse().unwrap(), &"e".parse().unwrap())
        );
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn every_row_of_the_request_tables_lets_its_header_through() {
        let rows = REQUEST.iter().chain(&WEBSOCKET).map(|(name, _)| name);
        for name in rows {
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
        assert!(upstream(request, false).unwrap().is_empty());
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
        assert!(!headers.contains_key("sec-websocket-extensions"));
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
            assert_eq!(head.parts.headers.len(), 1, "{name}");
            assert_eq!(head.parts.headers["date"], "y");
        }
    }

    #[test]
    fn security_headers_are_added_but_never_doubled() {
        let mut answer = HeaderMap::new();
        answer.append("x-frame-options", HeaderValue::from_static("DENY"));
        let mut headers = answer;
        add_security(&mut headers);
        assert_eq!(headers.get_all("x-frame-options").iter().count(), 1);
        assert_eq!(headers["x-frame-options"], "DENY");
        for (name, _, _) in &SECURITY {
            assert!(headers.contains_key(name), "{name}");
        }
    }
}
