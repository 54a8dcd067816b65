//! Answers that are read here before they go on: what of them a client must not have is taken
//! out. An answer that can not be read is not passed on.

use std::net::IpAddr;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

use crate::caller::Caller;
use crate::head::{Answer, AnswerHead, Fields};
use crate::index::with_own_token;
use crate::limits::{CONSOLE_ANSWER_BYTES, LOGIN_ANSWER_BYTES, PAGE_BYTES};
use crate::link::LinkBody;
use crate::login::{Envelope, Exchange, Judged, Member};
use crate::route::Format;
use crate::stack::Peer;
use crate::upstream::UpstreamError;

/// An answer read whole, its headers already the client's.
pub(crate) struct Read {
    pub(crate) head: AnswerHead,
    pub(crate) body: Bytes,
}

/// Reads an answer of at most `limit` bytes.
async fn read(answer: Answer<LinkBody>, limit: usize) -> Result<Read, UpstreamError> {
    let Answer { head, body } = answer;
    if head.headers.contains(CONTENT_ENCODING) {
        return Err(broken("an answer to be read here came compressed"));
    }
    let body = body.whole(limit).await.map_err(|error| broken(&error.to_string()))?;
    let body = body.ok_or_else(|| broken(&format!("an answer of more than {limit} bytes")))?;
    Ok(Read { head, body })
}

/// The answer to a login: judged, its ticket put into the vault. What the login replaces is
/// for the caller of this to end, durably, before the answer goes out.
pub(crate) async fn login(
    peer: &Peer,
    (caller, client): (&Caller<'_>, IpAddr),
    exchange: &Exchange,
    answer: Answer<LinkBody>,
) -> Result<(Read, Judged), UpstreamError> {
    let mut answer = read(answer, LOGIN_ANSWER_BYTES).await?;
    let judged = exchange.judge(peer, (caller, client), &mut answer.head, &answer.body);
    let judged = judged.map_err(|error| broken(&error.to_string()))?;
    answer.replace(judged.body.clone());
    Ok((answer, judged))
}

/// A page of a session: its CSRF tokens are the session's own.
pub(crate) async fn page(
    caller: &Caller<'_>,
    answer: Answer<LinkBody>,
) -> Result<Read, UpstreamError> {
    let mut answer = read(answer, PAGE_BYTES).await?;
    if let Caller::Session { session, .. } = caller {
        let page = with_own_token(&answer.body, session.csrf.expose());
        answer.replace(Bytes::from(page));
    }
    Ok(answer)
}

/// An answer that may hand out a console's ticket, which is noted.
pub(crate) async fn console(
    peer: &Peer,
    (caller, client): (&Caller<'_>, IpAddr),
    format: Format,
    answer: Answer<LinkBody>,
) -> Result<Read, UpstreamError> {
    let answer = read(answer, CONSOLE_ANSWER_BYTES).await?;
    let shared = &peer.worker.shared;
    let envelope = Envelope::read(format, &answer.body);
    if answer.head.status == StatusCode::OK
        && let Some(id) = caller.id()
        && let Some(ticket) = envelope.as_ref().and_then(|envelope| envelope.text(Member::Ticket))
    {
        let now = shared.clock.monotonic();
        shared.consoles.note(ticket.as_bytes(), id, client, now);
        shared.consoles.share(ticket.as_bytes(), id, client, shared.clock.unix()).await;
    }
    Ok(answer)
}

/// Whether an answer is a page for people.
pub(crate) fn is_page(headers: &Fields) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

impl Read {
    fn replace(&mut self, body: Bytes) {
        if self.head.headers.contains(CONTENT_LENGTH) {
            self.head.headers.insert(CONTENT_LENGTH, body.len().into());
        }
        self.body = body;
    }
}

fn broken(what: &str) -> UpstreamError {
    UpstreamError::Broken(what.to_owned())
}
