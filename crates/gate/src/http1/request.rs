//! A checked request head as the parts everything after it reads.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::wire;
use crate::refusal::Refusal;

/// Room for the headers of an ordinary browser.
const HEADERS: usize = 16;

/// The parts of a head that [`wire::check`] accepted, without copying target and values.
///
/// # Errors
/// [`Refusal::RequestLine`] or [`Refusal::Url`] for what the grammar allows and no URL holds.
pub(super) fn parse(head: &Bytes) -> Result<Parts, Refusal> {
    let mut lines = wire::lines(head);
    let line = lines.next().ok_or(Refusal::RequestLine)?;
    let mut words = wire::words(head, line);
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(Refusal::RequestLine);
    };
    let (mut parts, ()) = Request::new(()).into_parts();
    let method = head.get(method).unwrap_or_default();
    parts.method = Method::from_bytes(method).map_err(|_| Refusal::RequestLine)?;
    parts.uri = Uri::from_maybe_shared(head.slice(target)).map_err(|_| Refusal::Url)?;
    parts.version = match head.get(version) {
        Some(b"HTTP/1.0") => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    parts.headers.reserve(HEADERS);
    for line in lines {
        let Some((name, value)) = wire::field(head, line) else { break };
        let name = head.get(name).unwrap_or_default();
        let name = HeaderName::from_bytes(name).map_err(|_| Refusal::HeaderLine)?;
        let value = HeaderValue::from_maybe_shared(head.slice(value));
        parts.headers.append(name, value.map_err(|_| Refusal::HeaderValue)?);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::http1::wire;
    use bytes::Bytes;
    use http::Version;
    use proptest::prelude::*;

    #[test]
    fn an_ordinary_head() {
        let head = Bytes::from_static(
            b"POST /api2/json/x?a=b HTTP/1.0\r\nHost: h:8006\r\ncookie:  a=1; b=2\t\r\nX-Empty:\r\nCookie: c\r\n\r\n",
        );
        let parts = parse(&head).unwrap();
        assert_eq!(parts.method, "POST");
        assert_eq!(parts.uri, "/api2/json/x?a=b");
        assert_eq!(parts.version, Version::HTTP_10);
        assert_eq!(parts.headers["host"], "h:8006");
        assert_eq!(parts.headers["x-empty"], "");
        let cookies: Vec<_> = parts.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2", "c"]);
    }

    proptest! {
        /// What was accepted parses, or is refused: it never panics, and loses no line.
        #[test]
        fn every_accepted_line_becomes_a_header(
            target in "/[!-~]{0,30}",
            lines in proptest::collection::vec("[A-Za-z-]{1,8}:[ -~\t\u{e9}]{0,24}", 0..8),
        ) {
            let head = format!("GET {target} HTTP/1.1\r\n{}\r\n", lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
            if wire::check(head.as_bytes()).is_ok()
                && let Ok(parts) = parse(&Bytes::from(head))
            {
                prop_assert_eq!(parts.headers.len(), lines.len());
                for line in &lines {
                    let (name, value) = line.split_once(':').unwrap();
                    let value = value.trim_matches([' ', '\t']).as_bytes();
                    let found = parts.headers.get_all(name).iter().any(|v| v.as_bytes() == value);
                    prop_assert!(found, "{:?}", line);
                }
            }
        }
    }
}
