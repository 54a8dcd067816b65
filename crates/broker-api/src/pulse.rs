//! pulse-sensor-proxy's protocol: one line of JSON each way.
//!
//! A line holds `{"method":…,"params":{…},"correlation_id":…}`; the answer
//! `{"correlation_id":…,"success":…,"data":…,"error":…}`. Clients tell errors apart by their
//! text, so the texts of [`error_text`] are the original's (reference: its `rpc.go`).

use serde_json::{Map, Value, json};
use telemetry::CorrelationId;

use crate::limits::PULSE_LINE;
use crate::{Code, Refusal};

/// The original's methods and the verbs they are.
pub const METHODS: [(&str, &str); 5] = [
    ("get_status", "broker.status"),
    ("get_temperature", "sensors.read"),
    ("register_nodes", "nodes.register"),
    ("ensure_cluster_keys", "keys.ensure"),
    ("request_cleanup", "cleanup.request"),
];

/// A line, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The method's name, not looked up yet.
    pub method: String,
    /// Its parameters.
    pub parameters: Map<String, Value>,
    /// The client's, when it gave a valid one; the original replaces others by a fresh one.
    pub correlation_id: Option<CorrelationId>,
}

/// The first line in `bytes` without its line feed, and where the next begins; `None` while it
/// is not whole.
///
/// # Errors
/// [`Code::PayloadTooLarge`], for a line that can not end within [`PULSE_LINE`].
pub fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Code> {
    let seen = bytes.get(..PULSE_LINE.min(bytes.len())).unwrap_or(bytes);
    match seen.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(seen.get(..end).map(|line| (line, end + 1))),
        None if seen.len() >= PULSE_LINE => Err(Code::PayloadTooLarge),
        None => Ok(None),
    }
}

impl Line {
    /// Takes a value of strict JSON apart.
    ///
    /// # Errors
    /// [`Code::InvalidJson`], the only word the original has for it; a correlation id that could
    /// be read goes with it.
    pub fn from_value(value: Value) -> Result<Self, (Code, Option<CorrelationId>)> {
        let Value::Object(mut members) = value else {
            return Err((Code::InvalidJson, None));
        };
        let correlation_id = match members.remove("correlation_id") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => return Err((Code::InvalidJson, None)),
        };
        let method = members.remove("method");
        let parameters = match members.remove("params") {
            None | Some(Value::Null) => Some(Map::new()),
            Some(Value::Object(parameters)) => Some(parameters),
            Some(_) => None,
        };
        match (method, parameters) {
            (Some(Value::String(method)), Some(parameters)) if members.is_empty() => {
                Ok(Self { method, parameters, correlation_id })
            }
            _ => Err((Code::InvalidJson, correlation_id)),
        }
    }
}

/// The line of an answer with data, its line feed included.
#[must_use]
pub fn done(correlation: &str, data: &Value) -> String {
    format!("{}\n", json!({"correlation_id": correlation, "success": true, "data": data}))
}

/// The line of an answer with an error, its line feed included.
#[must_use]
pub fn refused(correlation: &str, refusal: &Refusal) -> String {
    let error = error_text(refusal);
    format!("{}\n", json!({"correlation_id": correlation, "success": false, "error": error}))
}

/// The original's words for a code; where it puts details behind them, so do we.
#[must_use]
pub fn error_text(refusal: &Refusal) -> String {
    let message = &refusal.message;
    match refusal.code {
        Code::Unauthorized => "unauthorized".to_owned(),
        Code::RateLimited | Code::Busy => "rate limit exceeded".to_owned(),
        Code::ReadTimeout => "read timeout".to_owned(),
        Code::PayloadTooLarge => "payload too large".to_owned(),
        Code::EmptyRequest => "empty request".to_owned(),
        Code::InvalidFrame => "failed to read request".to_owned(),
        Code::InvalidJson | Code::InvalidRequest => "invalid request format".to_owned(),
        Code::UnknownVerb => "unknown method".to_owned(),
        Code::Forbidden => "method requires admin capability".to_owned(),
        Code::ShuttingDown | Code::Unavailable => format!("service unavailable: {message}"),
        Code::OutputTooLarge => format!("ssh output exceeded {message}"),
        Code::HandlerTimeout => "request cancelled while waiting for node".to_owned(),
        Code::InvalidParameter | Code::TargetRefused => message.clone(),
        Code::HostKeyChanged
        | Code::RemoteFailed
        | Code::NotFound
        | Code::Conflict
        | Code::Internal => format!("failed to get temperatures: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verb, strict_json};
    use proptest::prelude::*;

    #[test]
    fn methods_are_verbs() {
        assert!(METHODS.iter().all(|(_, verb)| Verb::find(verb).is_some()));
    }

    #[test]
    fn lines_end_or_are_too_long() {
        assert_eq!(line(b"{}\n{}"), Ok(Some((&b"{}"[..], 3))));
        assert_eq!(line(b"{}"), Ok(None));
        let mut long = vec![b' '; PULSE_LINE - 1];
        assert_eq!(line(&long), Ok(None));
        long.push(b'\n');
        assert!(matches!(line(&long), Ok(Some((_, PULSE_LINE)))));
        *long.last_mut().unwrap() = b' ';
        assert_eq!(line(&long), Err(Code::PayloadTooLarge));
    }

    #[test]
    fn what_pulse_sends_is_read() {
        let text = br#"{"correlation_id":"123e4567-e89b-12d3-a456-426614174000","method":"get_temperature","params":{"node":"pve1"}}"#;
        let line = Line::from_value(strict_json::parse(text).unwrap()).unwrap();
        assert_eq!((&*line.method, line.parameters.len()), ("get_temperature", 1));
        assert!(line.correlation_id.is_some());
        for wrong in ["[]", "{}", r#"{"method":1}"#, r#"{"method":"a","x":1}"#] {
            let value = strict_json::parse(wrong.as_bytes()).unwrap();
            assert_eq!(Line::from_value(value), Err((Code::InvalidJson, None)), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            if let Ok(Some((text, used))) = line(&bytes) {
                prop_assert_eq!(text.len() + 1, used);
            }
        }
    }
}
