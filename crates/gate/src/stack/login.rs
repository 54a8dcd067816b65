//! The way of a request that logs somebody in.

use bytes::Bytes;

use super::answer::readout;
use super::{Asked, refused};
use crate::body::AnswerBody;
use crate::head::Answer;
use crate::login::{Begun, Exchange, Outcome};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::rewrite;
use crate::route::{AuthCall, Format};
use crate::upstream::Outbound;

/// A login: its parameters read and written anew, the answer judged, its ticket kept here.
pub(super) async fn login(
    asked: &Asked<'_>,
    record: &mut Record,
    auth: (Format, AuthCall),
    outbound: Outbound<'_>,
    body: &Bytes,
) -> Result<Answer<AnswerBody>, Refusal> {
    let Asked { peer, client, parts, caller, now, .. } = *asked;
    let shared = &peer.worker.shared;
    let mut exchange = Exchange::read(auth, parts, outbound.target.query(), body)?;
    let attempt = exchange.attempt(client);
    let permit = match shared.logins.begin(&attempt) {
        Begun::Pass(permit) => permit,
        Begun::Refused(refused) => {
            shared.logins.refuse(&attempt, refused).await;
            return Ok(readout(parts.version, exchange.failure(shared.clock.unix())));
        }
    };
    if let Some(id) = exchange.value().filter(|_| shared.joint.is_some()) {
        let looked = shared.sessions.look_up(id, now).await;
        looked.map_err(|_| Refusal::StoreSilent)?;
    }
    exchange.substitute(caller, &shared.sessions, now)?;
    let rewritten = exchange.rewritten(outbound.target);
    let outbound = Outbound { target: &rewritten.target, ..outbound };
    let answer = match &peer.worker.daemon {
        Some(daemon) => daemon.call(&outbound, &rewritten.body).await,
        None => peer.worker.upstream.call(&outbound, &rewritten.body).await,
    };
    let answer = answer.map_err(|error| refused(record, &error))?;
    let judged = rewrite::login(peer, (caller, client), &exchange, answer).await;
    let (read, judged) = judged.map_err(|error| refused(record, &error))?;
    // Other gates have to know the session before the client does.
    if judged.verdict.outcome() == Outcome::Success && shared.sessions.settle().await.is_err() {
        // Nobody gets its value: it would only take somebody's place.
        judged.opened.into_iter().for_each(|id| shared.sessions.drop_later(id));
        return Err(Refusal::StoreSilent);
    }
    shared.logins.end(permit, &attempt, judged.verdict.outcome()).await;
    if let Some(session) = judged.replaced {
        shared.sessions.end(session.id).await.map_err(|_| Refusal::NotStored)?;
    }
    Ok(readout(parts.version, read))
}
