//! Calls of the broker, from a runtime's thread.

use std::path::PathBuf;
use std::time::Duration;

use broker_api::{Answer, Code, Outcome, Request, frame};
use serde_json::{Map, Value};
use telemetry::CorrelationId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::{API_CALLS, API_WAIT};

/// Bytes read at once.
const PART: usize = 16 * 1024;

/// Where it is, and how many ask it at a time.
pub(super) struct Broker {
    socket: PathBuf,
    places: Semaphore,
}

/// Why there is no result.
pub(super) enum Failure {
    /// Nobody listens, or what answers is no broker. The text says which.
    NotReached(String),
    /// Too many ask.
    Busy,
    Refused {
        code: Code,
        message: String,
        retry_after_ms: Option<u64>,
    },
}

impl Broker {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, places: Semaphore::new(API_CALLS) }
    }

    /// One call under the name that the gate's own log has for the request.
    pub(super) async fn call(
        &self,
        verb: &str,
        parameters: Map<String, Value>,
        id: &CorrelationId,
    ) -> Result<Value, Failure> {
        let _place = self.places.try_acquire().map_err(|_| Failure::Busy)?;
        let mut request = Request::new(verb);
        request.parameters = parameters;
        request.correlation_id = Some(id.clone());
        let outcome = timeout(API_WAIT, self.exchange(&request)).await;
        let late = |_| Failure::NotReached(format!("the broker did not answer in {API_WAIT:?}"));
        match outcome.map_err(late)?? {
            Outcome::Done { result, .. } => Ok(result),
            Outcome::Refused { code, message, retry_after_ms, .. } => {
                let code = Code::from_number(code).unwrap_or(Code::Internal);
                Err(Failure::Refused { code, message, retry_after_ms })
            }
        }
    }

    /// A connection for each call: what breaks off is never taken for another one's answer.
    async fn exchange(&self, request: &Request) -> Result<Outcome, Failure> {
        let broken = |what: &str| Failure::NotReached(format!("the broker's answer {what}"));
        let mut stream = UnixStream::connect(&self.socket).await.map_err(|error| {
            Failure::NotReached(format!("the broker is not reached: {}", error.kind()))
        })?;
        let mut bytes = Vec::new();
        let large = |error: frame::TooLarge| Failure::Refused {
            code: Code::PayloadTooLarge,
            message: error.to_string(),
            retry_after_ms: None,
        };
        frame::push(&mut bytes, request.to_json().as_bytes()).map_err(large)?;
        stream.write_all(&bytes).await.map_err(|_| broken("broke off"))?;
        bytes.clear();
        loop {
            while let Some((body, used)) =
                frame::answer(&bytes).map_err(|_| broken("is too long"))?
            {
                let value: Value =
                    serde_json::from_slice(body).map_err(|_| broken("is no JSON"))?;
                let answer =
                    Answer::from_value(&value).ok_or_else(|| broken("has another form"))?;
                bytes.drain(..used);
                // What streams is not offered here; the last answer is the one that counts.
                if !matches!(answer.outcome, Outcome::Done { more: true, .. }) {
                    return Ok(answer.outcome);
                }
            }
            bytes.reserve(PART);
            match stream.read_buf(&mut bytes).await {
                Ok(1..) => {}
                _ => return Err(broken("broke off")),
            }
        }
    }
}

/// How long a call may take, as the limits say it: longer than the broker's own limit on work.
const _: () = assert!(API_WAIT.as_millis() > Duration::from_secs(30).as_millis());
