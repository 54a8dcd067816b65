//! From an order to its answer.

use serde_json::{Value, json};

use super::Request;
use crate::audit::{Act, By};
use crate::limits::PROXY_TOKEN_OVERLAP;
use crate::policy::{EnrolError, NotConfirmed, Proof, TokenError, Wanted};
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
    /// About a proxy token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// About codes shown to the gate.
    #[error(transparent)]
    StepUp(#[from] EnrolError),
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
            Self::Token(TokenError::Unknown) | Self::StepUp(EnrolError::Unknown(_)) => "not_found",
            Self::Token(_) => "token",
            Self::StepUp(_) => "step_up",
            Self::NotConfirmed(_) => "not_confirmed",
            Self::State(_) => "state",
        }
    }

    fn json(&self) -> Value {
        json!({ "error": { "kind": self.kind(), "message": self.to_string() } })
    }
}

/// The answer to one line. What it has changed is recorded with who has sent it.
pub(crate) async fn answer(shared: &Shared, line: &[u8], by: By<'_>) -> Value {
    let request = serde_json::from_slice(line);
    let outcome = match request {
        Ok(request) => {
            let act = act(&request);
            let outcome = carry_out(shared, request).await;
            if let (Ok(_), Some((act, of))) = (&outcome, act) {
                shared.record(act, &of, by);
            }
            outcome
        }
        Err(error) => Err(ControlError::Request(error.to_string())),
    };
    outcome.map_or_else(|error| error.json(), |value| json!({ "ok": value }))
}

/// What is recorded of an order that was carried out, and whom or what it was about. Orders that
/// only show what holds no person's data are not.
fn act(request: &Request) -> Option<(Act, String)> {
    let all = || "all".to_owned();
    Some(match request {
        Request::BanRemove { of } => (Act::BanRemoved, of.clone()),
        Request::SessionList { user } => (Act::SessionsListed, user.clone().unwrap_or_else(all)),
        Request::SessionRevoke { id, user, .. } => {
            (Act::SessionsRevoked, id.clone().or_else(|| user.clone()).unwrap_or_else(all))
        }
        Request::TokenCreate { name, .. } => (Act::TokenCreated, name.clone()),
        Request::TokenRotate { name, .. } => (Act::TokenRotated, name.clone()),
        Request::TokenRevoke { name } => (Act::TokenRevoked, name.clone()),
        Request::StepUpEnroll { user } => (Act::StepUpEnrolled, user.clone()),
        Request::StepUpRemove { user } => (Act::StepUpRemoved, user.clone()),
        Request::PolicyConfirm { id } => (Act::PolicyConfirmed, id.clone()),
        Request::BanList
        | Request::Status
        | Request::ConsolesHeld { .. }
        | Request::Takeover
        | Request::LoginStatus
        | Request::TokenList
        | Request::StepUpList
        | Request::PolicyStatus => return None,
    })
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
            match shared.sessions.revoke(&which, shared.clock.unix_secs()).await? {
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
        Request::ConsolesHeld { held } => Ok(shared.ended(&held)),
        Request::LoginStatus => Ok(shared.logins.status()),
        Request::TokenCreate { name, token, networks, methods, paths, expires_in } => {
            let now = shared.clock.unix_secs();
            let expires = expires_in.map(|seconds| now.saturating_add(seconds));
            let token = token.expose().to_owned();
            let wanted = Wanted { name, token, networks, methods, paths, expires };
            Ok(json!({ "value": shared.tokens.create(wanted, now).await? }))
        }
        Request::TokenRotate { name, overlap } => {
            let until = shared.clock.unix_secs().saturating_add(overlap.min(PROXY_TOKEN_OVERLAP));
            Ok(json!({ "value": shared.tokens.rotate(&name, until).await? }))
        }
        Request::TokenRevoke { name } => {
            shared.tokens.revoke(&name).await?;
            Ok(json!({ "revoked": name }))
        }
        Request::TokenList => Ok(shared.tokens.list()),
        Request::StepUpEnroll { user } => Ok(json!({ "uri": shared.step_ups.enrol(&user).await? })),
        Request::StepUpRemove { user } => {
            shared.step_ups.remove(&user).await?;
            Ok(json!({ "removed": user }))
        }
        Request::StepUpList => Ok(shared.step_ups.list()),
        Request::PolicyStatus => Ok(shared.policy.status(shared.clock.monotonic())),
        Request::PolicyConfirm { id } => {
            let now = shared.clock.monotonic();
            let seen = shared.policy.confirm(&id, &Proof::Operator, now).await?;
            Ok(json!({ "confirmed": id, "seen": seen }))
        }
    }
}
