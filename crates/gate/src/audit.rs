//! What the audit log records: one row for each kind of record, with what it says.
//!
//! Logins and bans are recorded where they are counted (`login`), the broker's verbs where they
//! are called (`api`). Everything else that somebody changes comes through here, with who it was:
//! an operator by what the kernel says of the control socket's peer, a person by their session and
//! address, or the gate itself.

use std::net::IpAddr;

use telemetry::audit::Event;

use crate::stack::Asked;
use crate::worker::Shared;

/// Something that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    LoginSucceeded,
    LoginFailed,
    LoginLocked,
    BanAdded,
    BanRemoved,
    SessionsListed,
    SessionsRevoked,
    SessionLoggedOut,
    TokenCreated,
    TokenRotated,
    TokenRevoked,
    TokenUsed,
    StepUpEnrolled,
    StepUpRemoved,
    StepUpUsed,
    PolicyProposed,
    PolicyConfirmed,
    PolicyTakenBack,
    ApiCall,
}

use Act::{
    ApiCall, BanAdded, BanRemoved, LoginFailed, LoginLocked, LoginSucceeded, PolicyConfirmed,
    PolicyProposed, PolicyTakenBack, SessionLoggedOut, SessionsListed, SessionsRevoked,
    StepUpEnrolled, StepUpRemoved, StepUpUsed, TokenCreated, TokenRevoked, TokenRotated, TokenUsed,
};

/// Every kind, in the order of [`Act`], with what has happened and what its field `of` names.
pub(crate) const ACTS: [(Act, &str, &str); 19] = [
    (LoginSucceeded, "login.succeeded", "a login; `client`, `user`, `channel`"),
    (LoginFailed, "login.failed", "a login, ticket or token was refused; the same fields"),
    (
        LoginLocked,
        "login.locked",
        "an account is locked for a source; also `address`, `until`, `step`",
    ),
    (BanAdded, "ban.added", "a source is banned; the same fields"),
    (BanRemoved, "ban.removed", "a ban or lock was lifted; `of`: the address or account"),
    (SessionsListed, "session.listed", "the sessions were shown; `of`: of this user, or `all`"),
    (SessionsRevoked, "session.revoked", "sessions were ended; `of`: id, user, or `all`"),
    (SessionLoggedOut, "session.logged_out", "somebody has logged out; `of`: the session"),
    (TokenCreated, "token.created", "a proxy token was made; `of`: its name"),
    (TokenRotated, "token.rotated", "a proxy token got another value; `of`: its name"),
    (TokenRevoked, "token.revoked", "a proxy token was ended; `of`: its name"),
    (
        TokenUsed,
        "token.used",
        "a proxy token was used, from this source for the first time since the start; `of`: its name",
    ),
    (StepUpEnrolled, "step_up.enrolled", "a user got a secret for codes; `of`: the user"),
    (StepUpRemoved, "step_up.removed", "a user's secret was forgotten; `of`: the user"),
    (
        StepUpUsed,
        "step_up.used",
        "a good code was shown; `of`: the session. A wrong one is `login.failed`",
    ),
    (PolicyProposed, "policy.proposed", "a change of the policy is on trial; `of`: its id"),
    (PolicyConfirmed, "policy.confirmed", "a change of the policy stays; `of`: its id"),
    (
        PolicyTakenBack,
        "policy.taken_back",
        "a change of the policy was not confirmed; `of`: its id",
    ),
    (
        ApiCall,
        "api.call",
        "a verb of the broker was called; `user`, `verb`, `path`, `correlation_id`, `outcome`",
    ),
];

/// Who did it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By<'a> {
    /// Who has connected to the control socket, by the kernel's word.
    Operator { uid: u32, pid: i32 },
    /// Somebody whose credential was judged, from this address.
    Caller { user: &'a str, client: IpAddr },
    /// A start, a reload, or time.
    Gate,
}

impl Act {
    /// The word in the log.
    pub(crate) fn kind(self) -> &'static str {
        ACTS.get(self as usize).map_or("unknown", |(_, kind, _)| kind)
    }

    /// The record that this was done to `of` by somebody.
    pub(crate) fn event(self, of: &str, by: By<'_>) -> Event {
        let event = Event::new(self.kind()).field("of", of);
        match by {
            By::Operator { uid, pid } => {
                event.field("by", "operator").field("uid", uid).field("pid", pid)
            }
            By::Caller { user, client } => {
                let event = event.field("by", "caller").field("user", user);
                event.field("client", client.to_string())
            }
            By::Gate => event.field("by", "gate"),
        }
    }
}

impl Shared {
    /// Adds a record, where there is an audit log.
    pub(crate) fn record(&self, act: Act, of: &str, by: By<'_>) {
        self.logins.audit(act.event(of, by));
    }
}

impl Asked<'_> {
    /// Adds a record of what the caller has done.
    pub(crate) fn record(&self, act: Act, of: &str) {
        let by = By::Caller { user: &self.caller.name(), client: self.client };
        self.peer.worker.shared.record(act, of, by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../docs/guides/operate.md");

    #[test]
    fn every_kind_is_its_own_and_stands_in_the_guide() {
        for (at, (act, kind, what)) in ACTS.iter().enumerate() {
            assert_eq!((*act as usize, act.kind()), (at, *kind));
            assert!(
                GUIDE.contains(&format!("| `{kind}` | {what} |")),
                "put into the guide:\n| `{kind}` | {what} |"
            );
        }
    }
}
