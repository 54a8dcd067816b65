//! The reason phrase, which is PVE's error channel: kept to the letter in HTTP/1, and moved
//! to where it survives in HTTP/2, which has none.
//!
//! One exception: hyper's parser (httparse) gives an empty phrase for one with bytes outside
//! ASCII. None of the recorded phrases has any, and JSON bodies repeat the phrase.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderName, HeaderValue};
use hyper::ext::ReasonPhrase;

use crate::refusal::error_json;

/// Carries the phrase of an HTTP/2 answer whose body does not say it.
const HEADER: HeaderName = HeaderName::from_static("proxward-reason");

/// Adapts an answer for HTTP/2; `empty` says whether it has no body. Returns the body to send
/// instead, if one is needed: clients that show the body's message then show the phrase.
///
/// JSON bodies stay as they are: PVE repeats the phrase in them.
pub(crate) fn for_http2(head: &mut Parts, empty: bool) -> Option<Bytes> {
    // hyper keeps only phrases that differ from the status' own.
    let reason = head.extensions.remove::<ReasonPhrase>()?;
    let json = head
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if json && !empty {
        return None;
    }
    if let Ok(value) = HeaderValue::from_bytes(reason.as_bytes()) {
        head.headers.insert(HEADER, value);
    }
    let error = head.status.is_client_error() || head.status.is_server_error();
    if !(empty && error) {
        return None;
    }
    let body = error_json(&String::from_utf8_lossy(reason.as_bytes()));
    let json = HeaderValue::from_static("application/json;charset=UTF-8");
    head.headers.insert(CONTENT_TYPE, json);
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::for_http2;
    use http::Response;
    use hyper::ext::ReasonPhrase;

    fn head(
        status: u16,
        reason: &'static [u8],
        content_type: Option<&str>,
    ) -> http::response::Parts {
        let mut response = Response::builder().status(status);
        if let Some(content_type) = content_type {
            response = response.header("content-type", content_type);
        }
        let response = response.extension(ReasonPhrase::from_static(reason));
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_error_without_a_body_gets_the_phrase_as_one() {
        let mut head = head(401, b"No ticket", None);
        let body = for_http2(&mut head, true).unwrap();
        assert_eq!(body, "{\"data\":null,\"message\":\"No ticket\"}");
        assert_eq!(head.headers["proxward-reason"], "No ticket");
        assert_eq!(head.headers["content-type"], "application/json;charset=UTF-8");
        assert_eq!(head.headers["content-length"], body.len().to_string());
    }

    #[test]
    fn a_body_that_is_no_json_gets_a_header() {
        let mut head = head(500, b"no such file '/nope'", None);
        assert_eq!(for_http2(&mut head, false), None);
        assert_eq!(head.headers["proxward-reason"], "no such file '/nope'");
    }

    #[test]
    fn a_json_body_says_it_already() {
        let mut head =
            head(403, b"Permission check failed", Some("application/json;charset=UTF-8"));
        assert_eq!(for_http2(&mut head, false), None);
        assert!(!head.headers.contains_key("proxward-reason"));
    }

    #[test]
    fn a_phrase_is_kept_byte_by_byte() {
        let mut head = head(304, "NOT MODIFI\u{c9}D".as_bytes(), None);
        assert_eq!(for_http2(&mut head, true), None);
        assert_eq!(head.headers["proxward-reason"].as_bytes(), "NOT MODIFI\u{c9}D".as_bytes());
    }
}
