//! What came back, as data or as an error.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, header};
use hyper::ext::ReasonPhrase;
use serde_json::Value;

use crate::error::ClientError;
use crate::limits::REASON_MAX;

/// The answer to a successful call.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The status code, 2xx.
    pub status: u16,
    /// The reason phrase, usually `OK`.
    pub reason: String,
    /// The `data` of PVE's envelope; `Null` when `raw` is there.
    pub data: Value,
    /// How many there are in all, where PVE lists a part (`total`).
    pub total: Option<u64>,
    /// The body where it is not JSON: task logs and other downloads.
    pub raw: Option<Bytes>,
}

/// An HTTP answer read whole.
pub(crate) struct Raw {
    pub(crate) status: StatusCode,
    pub(crate) reason: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The connection ended without TLS's close_notify where only its end marks the body's end.
    pub(crate) cut: bool,
}

impl Raw {
    pub(crate) fn judged(self) -> Result<Reply, ClientError> {
        match self.status.as_u16() {
            200..=299 => self.reply(),
            401 => Err(ClientError::Auth { reason: self.reason }),
            403 => Err(ClientError::Permission { reason: self.reason }),
            status @ 300..=399 => {
                Err(ClientError::Redirect { status, host: location_host(&self.headers) })
            }
            status => {
                let errors = field_errors(&self.body);
                Err(ClientError::Api { status, reason: self.reason, errors })
            }
        }
    }

    fn reply(self) -> Result<Reply, ClientError> {
        let Self { status, reason, headers, body, cut } = self;
        let status = status.as_u16();
        if cut {
            return Err(ClientError::Protocol("the connection broke within the answer".to_owned()));
        }
        if !is_json(&headers) {
            return Ok(Reply { status, reason, data: Value::Null, total: None, raw: Some(body) });
        }
        let envelope: Value = serde_json::from_slice(&body)
            .map_err(|error| ClientError::Protocol(format!("the answer is no JSON: {error}")))?;
        let Value::Object(mut envelope) = envelope else {
            return Err(no_envelope());
        };
        let data = envelope.remove("data").ok_or_else(no_envelope)?;
        let total = envelope.get("total").and_then(lenient_u64);
        Ok(Reply { status, reason, data, total, raw: None })
    }
}

/// The reason phrase as text for a log line: no control characters, bounded.
pub(crate) fn reason(status: StatusCode, extensions: &http::Extensions) -> String {
    match extensions.get::<ReasonPhrase>() {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes())
            .chars()
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .take(REASON_MAX)
            .collect(),
        None => status.canonical_reason().unwrap_or("").to_owned(),
    }
}

/// PVE sends numbers as numbers or as text, depending on release and Perl's mood.
pub(crate) fn lenient_u64(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or("").split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Best effort: an error is an error without a readable body too.
fn field_errors(body: &[u8]) -> BTreeMap<String, String> {
    let envelope = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
    let errors = envelope.get("errors").and_then(Value::as_object);
    errors
        .into_iter()
        .flatten()
        .map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().trim().to_owned()))
        .collect()
}

fn location_host(headers: &HeaderMap) -> String {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let uri = location.and_then(|text| text.parse::<Uri>().ok());
    uri.as_ref().and_then(Uri::host).unwrap_or("").to_owned()
}

fn no_envelope() -> ClientError {
    ClientError::Protocol("the answer is JSON without `data`; is this PVE's API?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Extensions, HeaderValue};
    use proptest::prelude::*;

    fn raw(status: u16, kind: &str, body: &str) -> Raw {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        Raw {
            status: StatusCode::from_u16(status).unwrap(),
            reason: "reason".to_owned(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
            cut: false,
        }
    }

    #[test]
    fn the_envelope_is_opened() {
        let body = r#"{"data":[1],"total":"7"}"#;
        let reply = raw(200, "application/json;charset=UTF-8", body).judged().unwrap();
        assert_eq!((reply.data, reply.total, reply.raw), (serde_json::json!([1]), Some(7), None));
        let text = raw(200, "text/plain", "log").judged().unwrap();
        assert_eq!((text.data, text.raw), (Value::Null, Some(Bytes::from_static(b"log"))));
    }

    #[test]
    fn what_is_no_answer_of_the_api_is_an_error() {
        for body in ["", "x", "[]", "1", r#"{"error":1}"#, &"[".repeat(1000)] {
            let error = raw(200, "application/json", body).judged().unwrap_err();
            assert!(matches!(error, ClientError::Protocol(_)), "{body}: {error:?}");
        }
        let mut cut = raw(200, "application/json", r#"{"data":1}"#);
        cut.cut = true;
        assert!(matches!(cut.judged(), Err(ClientError::Protocol(_))));
    }

    #[test]
    fn errors_by_status() {
        let body = r#"{"data":null,"errors":{"vmid":"bad\n","x":1}}"#;
        let error = raw(400, "application/json", body).judged().unwrap_err();
        assert_eq!(error.to_string(), "the API answered 400 reason; vmid: bad; x: ");
        assert!(matches!(raw(401, "x/y", "").judged(), Err(ClientError::Auth { .. })));
        assert!(matches!(raw(403, "x/y", "").judged(), Err(ClientError::Permission { .. })));
        let error = raw(595, "x/y", "no route").judged().unwrap_err();
        assert!(error.is_transient());
        assert!(!raw(500, "x/y", "").judged().unwrap_err().is_transient());
    }

    #[test]
    fn a_reason_can_not_break_the_log() {
        let mut extensions = Extensions::new();
        extensions.insert(ReasonPhrase::try_from(&b"a\tb\xff"[..]).unwrap());
        assert_eq!(reason(StatusCode::OK, &extensions), "a\u{fffd}b\u{fffd}");
        assert_eq!(reason(StatusCode::FORBIDDEN, &Extensions::new()), "Forbidden");
    }

    proptest! {
        #[test]
        fn any_answer_is_answered(status in 200u16..600, json: bool, body: String) {
            let kind = if json { "application/json" } else { "text/html" };
            let _ = raw(status, kind, &body).judged();
        }
    }
}
