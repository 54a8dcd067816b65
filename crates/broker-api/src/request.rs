//! A request of the own protocol.

use serde_json::{Map, Value, json};
use telemetry::CorrelationId;

use crate::VERSION;

/// `{"v":1,"verb":"sensors.read","params":{…},"id":7,"correlation_id":"…"}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The verb's name, not looked up yet.
    pub verb: String,
    /// Its parameters, not checked yet.
    pub parameters: Map<String, Value>,
    /// Given back with the answer, so that a client can tell pipelined ones apart.
    pub id: Option<u64>,
    /// The client's, when it gave a valid one.
    pub correlation_id: Option<CorrelationId>,
}

/// JSON of another shape than a request. The correlation id is kept for the answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{what}")]
pub struct InvalidRequest {
    what: &'static str,
    /// The client's, when it could be read.
    pub correlation_id: Option<CorrelationId>,
    /// Likewise.
    pub id: Option<u64>,
}

impl Request {
    /// A request without parameters.
    #[must_use]
    pub fn new(verb: impl Into<String>) -> Self {
        let (parameters, id, correlation_id) = (Map::new(), None, None);
        Self { verb: verb.into(), parameters, id, correlation_id }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.parameters.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a value of strict JSON apart.
    ///
    /// # Errors
    /// [`InvalidRequest`]: not an object, a member too many, too few or of another type.
    pub fn from_value(value: Value) -> Result<Self, InvalidRequest> {
        let mut fault = InvalidRequest { what: "", correlation_id: None, id: None };
        let refuse = |fault: InvalidRequest, what| Err(InvalidRequest { what, ..fault });
        let Value::Object(mut members) = value else {
            return refuse(fault, "expected an object");
        };
        match members.remove("correlation_id") {
            None => {}
            Some(Value::String(text)) => match text.parse() {
                Ok(id) => fault.correlation_id = Some(id),
                Err(_) => {
                    return refuse(fault, "correlation_id: expected 8 to 64 of A-Z a-z 0-9 _ -");
                }
            },
            Some(_) => return refuse(fault, "correlation_id: expected text"),
        }
        match members.remove("id").map(|id| id.as_u64()) {
            None => {}
            Some(Some(id)) => fault.id = Some(id),
            Some(None) => return refuse(fault, "id: expected a whole number, 0 or more"),
        }
        if members.remove("v").and_then(|v| v.as_u64()) != Some(VERSION) {
            return refuse(fault, "v: this broker speaks version 1");
        }
        let Some(Value::String(verb)) = members.remove("verb") else {
            return refuse(fault, "verb: expected text");
        };
        let parameters = match members.remove("params") {
            None => Map::new(),
            Some(Value::Object(parameters)) => parameters,
            Some(_) => return refuse(fault, "params: expected an object"),
        };
        if !members.is_empty() {
            return refuse(fault, "expected v, verb, params, id, correlation_id and nothing else");
        }
        Ok(Self { verb, parameters, id: fault.id, correlation_id: fault.correlation_id })
    }

    /// The text on the wire.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut value = json!({"v": VERSION, "verb": self.verb, "params": self.parameters});
        if let Some(members) = value.as_object_mut() {
            members.extend(self.id.map(|id| ("id".to_owned(), id.into())));
            let correlation = self.correlation_id.as_ref();
            members.extend(correlation.map(|id| ("correlation_id".to_owned(), id.as_str().into())));
        }
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strict_json;

    #[test]
    fn what_is_written_is_read_back() {
        let mut request = Request::new("sensors.read").with("node", "pve2");
        request.id = Some(7);
        request.correlation_id = Some("abcd-1234".parse().unwrap());
        let value = strict_json::parse(request.to_json().as_bytes()).unwrap();
        assert_eq!(Request::from_value(value), Ok(request));
    }

    #[test]
    fn what_is_refused_keeps_the_correlation_id() {
        for (text, why) in [
            (r"[]", "an object"),
            (r#"{"verb":"x"}"#, "version 1"),
            (r#"{"v":2,"verb":"x","correlation_id":"abcd1234"}"#, "version 1"),
            (r#"{"v":1}"#, "verb"),
            (r#"{"v":1,"verb":"x","params":[]}"#, "params"),
            (r#"{"v":1,"verb":"x","id":-1}"#, "id"),
            (r#"{"v":1,"verb":"x","correlation_id":"a b"}"#, "correlation_id"),
            (r#"{"v":1,"verb":"x","correlation_id":1}"#, "correlation_id"),
            (r#"{"v":1,"verb":"x","more":1}"#, "nothing else"),
        ] {
            let fault = Request::from_value(strict_json::parse(text.as_bytes()).unwrap());
            let fault = fault.unwrap_err();
            assert!(fault.to_string().contains(why), "{text}: {fault}");
            assert_eq!(fault.correlation_id.is_some(), text.contains("abcd1234"));
        }
    }
}
