//! `/proxward/api/…`: the broker's verbs for callers of the gate, each behind a privilege.
//!
//! Who holds Sys.Console on a node may have a root shell there, and other front servers hand that
//! shell to programs. Here a program gets a verb: it is looked up in one table ([`table`]), the
//! privilege in its row is asked of Proxmox VE with the caller's own credential, and the broker,
//! which knows the gate by its user, decides once more by its own rules. Origin, CSRF token and
//! ban were judged before (`stack`).

mod broker;
mod table;

use std::path::PathBuf;

use broker_api::{Code, strict_json};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use pve_access::Privilege;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use telemetry::CorrelationId;
use telemetry::audit::Event;

pub use self::table::{ApiRow, api_rows};

use self::broker::{Broker, Failure};
use self::table::{Found, find};
use crate::audit::Act;
use crate::body::AnswerBody;
use crate::caller::Caller;
use crate::config::ConfigError;
use crate::head::{Answer, Parts};
use crate::login::query_value;
use crate::reason::Phrase;
use crate::refusal::Refusal;
use crate::stack::Peer;

/// `[gate.api]` as it is written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSettings {
    /// The broker's socket. Without it there is nothing below `/proxward/api`.
    pub broker: Option<PathBuf>,
    /// This node's name in Proxmox VE. Default: the host's name up to the first dot.
    pub node: Option<String>,
}

/// Where the broker is, and which node this is in paths of access lists.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The broker's socket.
    pub socket: PathBuf,
    /// This node's name, as in `/nodes/NAME`.
    pub node: String,
}

/// The way to the broker, and what is asked of callers.
pub(crate) struct Api {
    broker: Broker,
    node: String,
}

/// One call, its credential and origin judged.
pub(crate) struct Call<'c> {
    pub(crate) peer: &'c Peer,
    pub(crate) parts: &'c Parts,
    pub(crate) caller: &'c Caller<'c>,
    pub(crate) id: CorrelationId,
    /// Below `/proxward/api/`.
    pub(crate) path: &'c str,
}

/// What is answered instead of a result.
struct Fault {
    status: u16,
    name: &'static str,
    message: String,
    retry_after_ms: Option<u64>,
}

impl ApiSettings {
    /// Checks both values.
    pub(crate) fn check(&self) -> Result<Option<ApiConfig>, ConfigError> {
        let Some(socket) = self.broker.clone() else { return Ok(None) };
        if !socket.is_absolute() {
            let what = format!("{}; write the whole path of the broker's socket", socket.display());
            return Err(ConfigError::new("api.broker", &what));
        }
        let host = rustix::system::uname();
        let host = host.nodename().to_str().unwrap_or_default();
        let own = host.split('.').next().unwrap_or_default();
        let node = self.node.clone().unwrap_or_else(|| own.to_owned());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if node.is_empty() || node.len() > 63 || !node.bytes().all(plain) {
            let what = format!("{node:?}; write the node's name as Proxmox VE shows it");
            return Err(ConfigError::new("api.node", &what));
        }
        Ok(Some(ApiConfig { socket, node }))
    }
}

impl Api {
    pub(crate) fn new(config: ApiConfig) -> Self {
        Self { broker: Broker::new(config.socket), node: config.node }
    }

    /// Answers a call; `body` is whole and bounded.
    ///
    /// # Errors
    /// [`Refusal::NotLoggedIn`], for whom nobody is behind the credential.
    pub(crate) async fn answer(
        &self,
        call: &Call<'_>,
        body: &Bytes,
    ) -> Result<Answer<AnswerBody>, Refusal> {
        let found = find(&call.parts.method, call.path);
        let outcome = match &found {
            Ok(found) => self.allowed(call, found, body).await?,
            Err(fault) => Err(Fault::of_route(*fault)),
        };
        if let Ok(found) = &found {
            self.record(call, found, &outcome);
        }
        Ok(match outcome {
            Ok(result) => respond(200, &json!({ "data": result })),
            Err(fault) => fault.response(),
        })
    }

    /// The privilege, then the parameters, then the broker.
    async fn allowed(
        &self,
        call: &Call<'_>,
        found: &Found<'_>,
        body: &Bytes,
    ) -> Result<Result<Value, Fault>, Refusal> {
        let row = found.row;
        if call.caller.id().is_none() {
            return Err(Refusal::NotLoggedIn);
        }
        if row.changes() && !may_change(call.caller) {
            let text = "a ticket from elsewhere changes nothing here: its CSRF token is Proxmox \
                        VE's to judge; log in to the gate, or use an API token";
            return Ok(Err(Fault::new(403, "foreign_ticket", text)));
        }
        let path = row.at.replace("{node}", &self.node);
        let held =
            call.peer.worker.shared.permissions.of(call.peer, call.caller, call.parts, &path);
        let held = held.await.map_err(|unknown| unknown.refusal(Refusal::Path))?;
        if !Privilege::parse(row.privilege).is_some_and(|wanted| held.contains(wanted)) {
            let text = format!("Permission check failed ({path}, {})", row.privilege);
            return Ok(Err(Fault::new(403, "permission", &text)));
        }
        Ok(match parameters(call.parts, found, body) {
            Ok(parameters) => {
                self.broker.call(row.verb, parameters, &call.id).await.map_err(Into::into)
            }
            Err(text) => Err(Fault::new(400, "invalid_parameter", &text)),
        })
    }

    fn record(&self, call: &Call<'_>, found: &Found<'_>, outcome: &Result<Value, Fault>) {
        let event = Event::new(Act::ApiCall.kind())
            .field("user", call.caller.name())
            .field("verb", found.row.verb)
            .field("path", call.path)
            .field("correlation_id", call.id.as_str())
            .field("outcome", outcome.as_ref().map_or_else(|fault| fault.name, |_| "done"));
        call.peer.worker.shared.logins.audit(event);
    }
}

/// A browser sends a ticket along without being asked; only the gate's own tokens were checked.
fn may_change(caller: &Caller<'_>) -> bool {
    matches!(caller, Caller::Session { .. } | Caller::ApiToken(_))
}

/// Of the path, and of the query (GET) or the body (otherwise), as the verb's table wants them.
fn parameters(
    parts: &Parts,
    found: &Found<'_>,
    body: &Bytes,
) -> Result<Map<String, Value>, String> {
    let mut given = if found.row.changes() {
        match body.is_empty() {
            true => Map::new(),
            false => match strict_json::parse(body).map_err(|error| error.to_string())? {
                Value::Object(members) => members,
                _ => return Err("the body: expected a JSON object".to_owned()),
            },
        }
    } else {
        let query = parts.uri.query().unwrap_or_default();
        let mut given = Map::new();
        for name in found.row.query {
            if let Some(bytes) = query_value(query, name) {
                let text = String::from_utf8(bytes).map_err(|_| format!("{name}: not UTF-8"))?;
                // A number where the table wants one.
                let value = text.parse::<u64>().map_or(Value::String(text), Value::from);
                given.insert((*name).to_owned(), value);
            }
        }
        given
    };
    for (name, value) in &found.named {
        if given.insert((*name).to_owned(), Value::from(*value)).is_some() {
            return Err(format!("{name}: it stands in the path already"));
        }
    }
    let verb = broker_api::Verb::find(found.row.verb).ok_or("no such verb")?;
    verb.check(&given).map_err(|error| error.to_string())?;
    Ok(given)
}

impl Fault {
    fn new(status: u16, name: &'static str, message: &str) -> Self {
        Self { status, name, message: message.to_owned(), retry_after_ms: None }
    }

    fn of_route(status: u16) -> Self {
        match status {
            405 => Self::new(405, "method", "this path is asked for with another method"),
            _ => {
                Self::new(404, "no_such_path", "no such path; /proxward/api/verbs lists the verbs")
            }
        }
    }

    fn response(&self) -> Answer<AnswerBody> {
        let mut error = json!({ "name": self.name, "retryable": self.retry_after_ms.is_some() });
        if let (Some(members), Some(millis)) = (error.as_object_mut(), self.retry_after_ms) {
            members.insert("retry_after_ms".to_owned(), millis.into());
        }
        let body = json!({ "data": null, "message": self.message, "error": error });
        let mut answer = respond(self.status, &body);
        if let Some(millis) = self.retry_after_ms {
            answer.head.headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000)));
        }
        answer
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        let (code, message, retry_after_ms) = match failure {
            Failure::NotReached(message) => {
                return Self { retry_after_ms: Some(1000), ..Self::new(503, "broker", &message) };
            }
            Failure::Busy => {
                let text = "as many calls as the gate passes on are under way";
                return Self { retry_after_ms: Some(1000), ..Self::new(503, "busy", text) };
            }
            Failure::Refused { code, message, retry_after_ms } => (code, message, retry_after_ms),
        };
        let status = match code {
            Code::InvalidParameter | Code::InvalidRequest | Code::InvalidJson => 400,
            Code::Unauthorized | Code::Forbidden | Code::TargetRefused => 403,
            Code::NotFound | Code::UnknownVerb => 404,
            Code::Conflict => 409,
            Code::OutputTooLarge | Code::PayloadTooLarge => 413,
            Code::RateLimited => 429,
            Code::HandlerTimeout => 504,
            Code::RemoteFailed | Code::HostKeyChanged => 502,
            Code::Busy | Code::Unavailable | Code::ShuttingDown => 503,
            _ => 500,
        };
        let retry_after_ms = retry_after_ms.or_else(|| code.retryable().then_some(1000));
        Self { status, name: code.name(), message, retry_after_ms }
    }
}

fn respond(status: u16, body: &Value) -> Answer<AnswerBody> {
    let mut answer = Answer::new(AnswerBody::full(Bytes::from(body.to_string())));
    if let Ok(status) = StatusCode::from_u16(status) {
        answer.head.status = status;
        let text = status.canonical_reason().unwrap_or("error");
        answer.head.phrase = Phrase::new(Bytes::from_static(text.as_bytes()));
    }
    let headers = &mut answer.head.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
