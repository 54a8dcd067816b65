//! Answers made smaller on their way to the client.
//!
//! Proxmox VE is asked for plain answers only: what the gate reads must be readable, and its gzip
//! costs Proxmox VE more than it saves here. What may go out compressed is a table of allowances
//! ([`eligible`]): never a page with a CSRF token, a ticket or another secret, since the length of
//! a compressed body tells what is in it to whoever can put guesses beside it (BREACH). Files of
//! the interface are the same for everybody, so each is compressed once ([`Assets`]).
//!
//! A short body is compressed whole, so that its length can be said, a longer one as it passes, in
//! a bounded buffer. The state of a compressor is some
//! hundred kilobytes and is used again ([`Compressors`]).

mod assets;
mod coding;
mod eligible;
mod encoder;
mod stream;

pub(crate) use assets::{Assets, Keep, Keeping, Look};
pub(crate) use coding::Coding;
pub(crate) use eligible::asset;
pub(crate) use encoder::{Compressors, Encoder, Then};
pub(crate) use stream::Shrunk;

use std::io;
use std::rc::Rc;

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, LAST_MODIFIED, VARY,
};
use http::{HeaderValue, StatusCode, Version};

use self::eligible::may_shrink;
use crate::body::AnswerBody;
use crate::head::{Answer, Fields, Parts};
use crate::limits::{COMPRESS_FROM, COMPRESS_WHOLE};
use crate::metrics::Metrics;
use crate::route::Route;

/// The answer as it goes to a client that takes a coding, when there is anything to gain; `keep`
/// says where the whole of it is remembered.
pub(crate) async fn shrink(
    (parts, route): (&Parts, &Route<'_>),
    (compressors, metrics): (&Rc<Compressors>, &Metrics),
    keep: Option<Keep>,
    answer: Answer<AnswerBody>,
) -> io::Result<Answer<AnswerBody>> {
    let length = answer.body.length();
    let large = length.is_none_or(|length| length > COMPRESS_FROM);
    // HTTP/1.0 would learn of the end by the close of its connection.
    let lawful = answer.head.status == StatusCode::OK && parts.version != Version::HTTP_10;
    if !(large && lawful && may_shrink(&parts.method, route, &answer.head.headers)) {
        return Ok(answer);
    }
    let Answer { mut head, body } = answer;
    head.headers.append(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    let Some(coding) = Coding::wanted(&parts.headers) else {
        return Ok(Answer { head, body });
    };
    let dated = head.headers.contains(LAST_MODIFIED);
    let keep = keep.filter(|_| dated);
    let Some(encoder) = compressors.take(coding, length, keep.is_some()) else {
        metrics.limit("compressions");
        return Ok(Answer { head, body });
    };
    describe(&mut head.headers, coding);
    let keeping = keep.and_then(|keep| keep.begin(coding, &head.headers));
    let mut body = body.shrunk(encoder, keeping)?;
    if length.is_some_and(|length| length <= COMPRESS_WHOLE) {
        let whole = body.whole().await?;
        head.headers.insert(CONTENT_LENGTH, whole.len().into());
        body = AnswerBody::full(whole);
    }
    Ok(Answer { head, body })
}

/// What is no longer true of a compressed body.
fn describe(headers: &mut Fields, coding: Coding) {
    headers.remove(&CONTENT_LENGTH);
    headers.remove(&ACCEPT_RANGES);
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    // The same content in other bytes (RFC 9110 §8.8.1).
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    let weak =
        strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::{Coding, describe};
    use crate::head::Fields;
    use http::HeaderValue;
    use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG};

    #[test]
    fn a_strong_tag_becomes_a_weak_one() {
        let mut headers = Fields::default();
        headers.insert(CONTENT_LENGTH, 12.into());
        for (before, after) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\"")] {
            headers.insert(ETAG, HeaderValue::from_static(before));
            describe(&mut headers, Coding::Zstd);
            assert_eq!(headers[ETAG], after);
        }
        assert_eq!(headers[CONTENT_ENCODING], "zstd");
        assert!(!headers.contains(CONTENT_LENGTH));
    }
}
