//! Whether a websocket may be opened.

use http::uri::PathAndQuery;

use super::{Asked, policy};
use crate::console::{Taken, ticket};
use crate::refusal::Refusal;
use crate::route::Route;

/// Uses up the ticket of a console: it is good once, for whom it was handed to. One that was not
/// handed out here has at least to be signed for the caller, where that can be told.
pub(super) async fn open(asked: &Asked<'_>, target: &PathAndQuery) -> Result<(), Refusal> {
    let Asked { peer, client, caller, route, now, .. } = *asked;
    let shared = &peer.worker.shared;
    let ticket = ticket(target);
    let monotonic = shared.clock.monotonic();
    if shared.joint.is_some() {
        let times = (shared.clock.unix(), monotonic);
        let fetched = shared.consoles.fetch(ticket.as_deref(), times).await;
        fetched.map_err(|_| Refusal::StoreSilent)?;
    }
    let taken = shared.consoles.take(ticket.as_deref(), caller.id(), client, monotonic)?;
    let (Taken::Unknown, Some(ticket), Route::Api(_, below)) = (taken, ticket, route) else {
        return Ok(());
    };
    let Some(user) = policy::subject(caller) else { return Ok(()) };
    match shared.tickets.may_open(&ticket, (&user, below, target), now).await {
        true => Ok(()),
        false => Err(Refusal::ConsoleTicket),
    }
}
