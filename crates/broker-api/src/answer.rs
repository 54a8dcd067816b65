//! An answer of the own protocol.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Code, VERSION};

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub code: Code,
    /// One line with the remedy, for people. No secret and nothing of the peer's own text.
    pub message: String,
    /// A word for programs where the code alone says too little: `node_not_allowlisted`.
    pub reason: Option<&'static str>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done, or one of several answers.
    Done {
        /// The result.
        result: Value,
        /// More answers follow.
        more: bool,
    },
    /// Not done, by code, message, reason and whether to retry.
    Refused {
        /// The number.
        code: u64,
        /// For people.
        message: String,
        /// For programs.
        reason: Option<String>,
        /// Whether the same request may succeed later.
        retryable: bool,
        /// When to try again.
        retry_after_ms: Option<u64>,
    },
}

/// An answer as a client reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The client's id, or the broker's for a request without one.
    pub correlation_id: String,
    /// The request's `id`.
    pub id: Option<u64>,
    /// Counts the answers of a connection, from 1.
    pub seq: u64,
    /// What became of it.
    pub outcome: Outcome,
}

impl Refusal {
    /// A refusal without more than its text.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reason: None, retry_after: None }
    }

    /// With a word for programs.
    #[must_use]
    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// With the time after which to try again.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl Answer {
    /// The text of an answer with a result.
    #[must_use]
    pub fn done(
        correlation: &str,
        id: Option<u64>,
        seq: u64,
        result: &Value,
        more: bool,
    ) -> String {
        let mut text = head(correlation, id, seq);
        if more {
            text.push_str(",\"more\":true");
        }
        text.push_str(",\"result\":");
        text.push_str(&serde_json::to_string(result).unwrap_or_else(|_| "null".to_owned()));
        text.push('}');
        text
    }

    /// The text of an answer with a refusal.
    #[must_use]
    pub fn refused(correlation: &str, id: Option<u64>, seq: u64, refusal: &Refusal) -> String {
        let mut error = json!({
            "code": refusal.code.number(), "name": refusal.code.name(),
            "message": refusal.message, "retryable": refusal.code.retryable(),
        });
        if let Some(members) = error.as_object_mut() {
            members.extend(refusal.reason.map(|reason| ("reason".to_owned(), reason.into())));
            members.extend(refusal.retry_after.map(|wait| {
                let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
                ("retry_after_ms".to_owned(), millis.into())
            }));
        }
        let mut text = head(correlation, id, seq);
        let _ = write!(text, ",\"error\":{error}}}");
        text
    }

    /// Reads an answer; `None` for JSON of another shape.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        if value.get("v")?.as_u64()? != VERSION {
            return None;
        }
        let outcome = match (value.get("result"), value.get("error")) {
            (Some(result), None) => {
                let more = value.get("more").is_some_and(|more| more == &Value::Bool(true));
                Outcome::Done { result: result.clone(), more }
            }
            (None, Some(error)) => Outcome::Refused {
                code: error.get("code")?.as_u64()?,
                message: error.get("message")?.as_str()?.to_owned(),
                reason: error.get("reason").and_then(Value::as_str).map(str::to_owned),
                retryable: error.get("retryable")?.as_bool()?,
                retry_after_ms: error.get("retry_after_ms").and_then(Value::as_u64),
            },
            _ => return None,
        };
        Some(Self {
            correlation_id: value.get("correlation_id")?.as_str()?.to_owned(),
            id: value.get("id").and_then(Value::as_u64),
            seq: value.get("seq")?.as_u64()?,
            outcome,
        })
    }
}

/// The members every answer has. A correlation id needs no escaping.
fn head(correlation: &str, id: Option<u64>, seq: u64) -> String {
    let mut text = String::with_capacity(160);
    let _ = write!(text, "{{\"v\":{VERSION},\"correlation_id\":\"{correlation}\",\"seq\":{seq}");
    if let Some(id) = id {
        let _ = write!(text, ",\"id\":{id}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_back() {
        let text = Answer::done("abcd1234", Some(3), 9, &json!({"a": 1}), true);
        let answer = Answer::from_value(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!((answer.id, answer.seq, &*answer.correlation_id), (Some(3), 9, "abcd1234"));
        assert_eq!(answer.outcome, Outcome::Done { result: json!({"a": 1}), more: true });

        let refusal = Refusal::new(Code::RateLimited, "later")
            .because("budget")
            .after(Duration::from_micros(1));
        let text = Answer::refused("abcd1234", None, 1, &refusal);
        let answer = Answer::from_value(&serde_json::from_str(&text).unwrap()).unwrap();
        let expected = Outcome::Refused {
            code: 30,
            message: "later".to_owned(),
            reason: Some("budget".to_owned()),
            retryable: true,
            retry_after_ms: Some(1),
        };
        assert_eq!(answer.outcome, expected);
        assert_eq!(Answer::from_value(&json!({"v": 2})), None);
    }
}
