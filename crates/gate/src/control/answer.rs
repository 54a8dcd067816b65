//! From an order to its answer.

use serde_json::{Value, json};

use super::Request;
use crate::policy::{NotConfirmed, Proof};
use crate::session::{Listed, Selection};
use crate::worker::Shared;

/// Digits of an id that name a session by accident of nobody.
const SHORTEST_ID: usize = 8;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The line is no request.
    #[error("no request that this gate knows: {0}")]
    Request(String),
    /// There is nothing to act on.
    #[error("{0}")]
    NotFound(String),
    /// A change of the policy stays on trial, or is gone.
    #[error(transparent)]
    NotConfirmed(#[from] NotConfirmed),
    /// It could not be made durable, so it was not done.
    #[error(transparent)]
    State(#[from] state::StoreError),
}

impl ControlError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::NotFound(_) => "not_found",
            Self::NotConfirmed(_) => "not_confirmed",
            Self::State(_) => "state",
        }
    }

    fn json(&self) -> Value {
        json!({ "error": { "kind": self.kind(), "message": self.to_string() } })
    }
}

/// The answer to one line.
pub(crate) async fn answer(shared: &Shared, line: &[u8]) -> Value {
    let request = serde_json::from_slice(line);
    let request = request.map_err(|error| ControlError::Request(error.to_string()));
    let outcome = match request {
        Ok(request) => carry_out(shared, request).await,
        Err(error) => Err(error),
    };
    outcome.map_or_else(|error| error.json(), |value| json!({ "ok": value }))
}

async fn carry_out(shared: &Shared, request: Request) -> Result<Value, ControlError> {
    match request {
        Request::BanList => Ok(shared.logins.list()),
        Request::BanRemove { of } => shared.logins.pardon(&of).await,
        Request::SessionList { user } => {
            let sessions = shared.sessions.list(shared.clock.unix_secs());
            let of_user = |listed: &Listed| user.as_ref().is_none_or(|user| listed.user == *user);
            let sessions: Vec<_> = sessions.into_iter().filter(of_user).collect();
            Ok(json!({ "sessions": sessions }))
        }
        Request::SessionRevoke { id, user, all } => {
            let which = match (&id, &user, all) {
                (Some(id), None, false) if id.len() >= SHORTEST_ID => Selection::Id(id),
                (None, Some(user), false) => Selection::User(user),
                (None, None, true) => Selection::All,
                _ => {
                    let text = "name one: an id of at least 8 digits, a user, or all";
                    return Err(ControlError::Request(text.to_owned()));
                }
            };
            match shared.sessions.revoke(&which).await? {
                0 if !all => {
                    let text = "no such session; `session list` shows those in force";
                    Err(ControlError::NotFound(text.to_owned()))
                }
                count => Ok(json!({ "revoked": count })),
            }
        }
        Request::Takeover => {
            let text = "a takeover is a connection of its own";
            Err(ControlError::Request(text.to_owned()))
        }
        Request::Status => Ok(shared.status()),
        Request::LoginStatus => Ok(shared.logins.status()),
        Request::PolicyStatus => Ok(shared.policy.status(shared.clock.monotonic())),
        Request::PolicyConfirm { id } => {
            let now = shared.clock.monotonic();
            let seen = shared.policy.confirm(&id, &Proof::Operator, now).await?;
            Ok(json!({ "confirmed": id, "seen": seen }))
        }
    }
}
