//! What a gate does not know by itself, before a request of it is judged.

use std::net::IpAddr;

use crate::head::Parts;

use crate::caller::Caller;
use crate::credential::{Credential, Headers};
use crate::refusal::Refusal;
use crate::session::{Id, Shape, shape};
use crate::worker::Shared;

impl Caller<'_> {
    /// Whether it is somebody by what the gates have handed out, which one of them may have
    /// taken back.
    fn is_of_the_gates(&self) -> bool {
        matches!(self, Self::Session { .. } | Self::LoggedOut(_) | Self::ProxyToken(_))
    }
}

/// Refuses a caller who may have been revoked, as far as this gate can know.
pub(crate) fn fresh(shared: &Shared, caller: &Caller<'_>) -> Result<(), Refusal> {
    let stale = || shared.joint.as_ref().is_some_and(super::Joint::is_stale);
    if caller.is_of_the_gates() && stale() { Err(Refusal::StoreSilent) } else { Ok(()) }
}

/// The session value that a request shows and that stands for nothing here.
pub(crate) fn unknown(
    shared: &Shared,
    headers: &Headers<'_>,
    caller: &Caller<'_>,
) -> Result<Option<Id>, Refusal> {
    if shared.joint.is_none() || caller.is_of_the_gates() || !shared.sessions.config().enabled {
        return Ok(None);
    }
    if let Some(value) = headers.session()?.flatten() {
        return Ok(Some(value.id()));
    }
    let Credential::Ticket { text, .. } = headers.credential() else { return Ok(None) };
    Ok(match shape(&text) {
        Shape::Opaque { value, .. } => Some(value.id()),
        Shape::Dummy | Shape::Foreign => None,
    })
}

/// The caller again, after the session was looked for where other gates put theirs.
pub(crate) async fn find_again<'h>(
    shared: &Shared,
    id: Id,
    (headers, parts): (&'h Headers<'h>, &Parts),
    (client, now): (IpAddr, u64),
) -> Result<Caller<'h>, Refusal> {
    // Whether it is a session that has ended, nobody can say now: a page would be told to log out.
    shared.sessions.look_up(id, now).await.map_err(|_| Refusal::StoreSilent)?;
    Caller::find(headers, parts, (&shared.sessions, &shared.tokens), (client, now))
}
