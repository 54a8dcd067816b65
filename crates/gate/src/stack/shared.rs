//! Answers that several get: see `sharing`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{Method, StatusCode};

use super::answer::{answered, shrunk};
use super::{Asked, refused};
use crate::body::AnswerBody;
use crate::caller::Caller;
use crate::head::Answer;
use crate::limits::{ANSWER_BYTES, ANSWER_TARGET};
use crate::link::LinkBody;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::route::{Format, Route};
use crate::sharing::{self, By, Joined, Question, polled};
use crate::upstream::{Outbound, UpstreamError};

/// The answer to what open interfaces poll; None where this request is asked for alone.
pub(super) async fn share(
    asked: &Asked<'_>,
    record: &mut Record,
    outbound: &Outbound<'_>,
) -> Result<Option<Answer<AnswerBody>>, Refusal> {
    let Asked { peer, parts, route, caller, .. } = *asked;
    let shared = &peer.worker.shared;
    let Some(sharing) = &shared.sharing else { return Ok(None) };
    if parts.method != Method::GET {
        return Ok(None);
    }
    // A tool may have changed something by another way, and must see it.
    let (Route::Api(Format::Json, below), Caller::Session { session, .. }) = (route, caller) else {
        return Ok(None);
    };
    let target = outbound.target.as_str();
    let by = polled(below).filter(|_| session.browser && target.len() <= ANSWER_TARGET);
    let Some(by) = by else { return Ok(None) };
    let now = shared.clock.monotonic();
    let several = sharing.several(target, session.id, now);
    let permissions = match by {
        By::Permissions if several => shared.permissions.whole(peer, caller, parts).await.ok(),
        By::Permissions | By::Caller => None,
    };
    let question = Question { target, caller: session.id, permissions, now };
    let leader = match sharing.join(question) {
        Joined::Alone => return Ok(None),
        Joined::Lead(leader) => leader,
        Joined::Follow(follower) => {
            peer.permit.heard();
            return match follower.answer().await {
                Some(answer) => response(asked, record, &answer).await.map(Some),
                None => Ok(None),
            };
        }
    };
    peer.permit.heard();
    let answer = peer.worker.upstream.call(outbound, &Bytes::new()).await;
    let answer = answer.map_err(|error| refused(record, &error))?;
    if !is_shareable(&answer) {
        drop(leader);
        return answered(asked, record, answer, None).await.map(Some);
    }
    let Answer { head, body } = answer;
    let body = body.whole(ANSWER_BYTES).await.map_err(|error| error.to_string());
    let body = body.and_then(|body| body.ok_or_else(|| "longer than announced".to_owned()));
    let body = body.map_err(|error| refused(record, &UpstreamError::Broken(error)))?;
    let answer = Arc::new(sharing::Answer { headers: head.headers, body });
    leader.land(Arc::clone(&answer));
    response(asked, record, &answer).await.map(Some)
}

/// Whether it is the whole of what was asked for, and the same for all who may ask.
fn is_shareable(answer: &Answer<LinkBody>) -> bool {
    let headers = &answer.head.headers;
    let json = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let length = answer.body.length();
    let small = length.is_some_and(|length| length > 0 && length <= ANSWER_BYTES as u64);
    answer.head.status == StatusCode::OK && json && small && !headers.contains(SET_COOKIE)
}

async fn response(
    asked: &Asked<'_>,
    record: &mut Record,
    answer: &sharing::Answer,
) -> Result<Answer<AnswerBody>, Refusal> {
    let mut response = Answer::new(AnswerBody::full(answer.body.clone()));
    response.head.headers = answer.headers.clone();
    shrunk(asked, None, response).await.map_err(|error| refused(record, &error))
}
