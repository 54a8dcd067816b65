//! The reason phrase, which is PVE's error channel: kept to the letter in HTTP/1, and moved
//! to where it survives in HTTP/2, which has none.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};

use crate::head::AnswerHead;
use crate::refusal::error_json;

/// Carries the phrase of an HTTP/2 answer whose body does not say it.
const HEADER: HeaderName = HeaderName::from_static("proxward-reason");

/// The reason phrase of an answer where it is not the status' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phrase(Bytes);

impl Phrase {
    /// `None` for control characters (RFC 9112 §4 allows the tab).
    pub(crate) fn new(bytes: Bytes) -> Option<Self> {
        let control = |byte: &u8| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f;
        (!bytes.iter().any(control)).then_some(Self(bytes))
    }

    /// One of ours: visible ASCII and blanks.
    pub(crate) fn fixed(text: &'static [u8]) -> Self {
        Self(Bytes::from_static(text))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Adapts an answer for HTTP/2; `empty` says whether it has no body. Returns the body to send
/// instead, if one is needed: clients that show the body's message then show the phrase.
///
/// JSON bodies stay as they are: PVE repeats the phrase in them.
pub(crate) fn for_http2(head: &mut AnswerHead, empty: bool) -> Option<Bytes> {
    let reason = head.phrase.take()?;
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
    use super::{Phrase, for_http2};
    use crate::head::AnswerHead;
    use bytes::Bytes;
    use http::header::CONTENT_TYPE;
    use http::{HeaderValue, StatusCode};

    fn head(status: u16, reason: &'static [u8], content_type: Option<&str>) -> AnswerHead {
        let line = |text: &str| (CONTENT_TYPE, HeaderValue::from_str(text).unwrap());
        AnswerHead {
            status: StatusCode::from_u16(status).unwrap(),
            phrase: Phrase::new(Bytes::from_static(reason)),
            headers: content_type.map(line).into_iter().collect(),
        }
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
        assert!(!head.headers.contains("proxward-reason"));
    }

    #[test]
    fn a_phrase_is_kept_byte_by_byte() {
        let mut head = head(304, "NOT MODIFI\u{c9}D".as_bytes(), None);
        assert_eq!(for_http2(&mut head, true), None);
        assert_eq!(head.headers["proxward-reason"].as_bytes(), "NOT MODIFI\u{c9}D".as_bytes());
    }
}
