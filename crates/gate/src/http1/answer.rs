//! Writing an answer: its head and the first bytes of its body in one go.

use std::future::poll_fn;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode, Version};
use tokio::io::AsyncWrite;

use super::connection::Connection;
use super::response::reason;
use super::{wire, write_headers};
use crate::body::AnswerBody;
use crate::head::{Answer, AnswerHead};
use crate::scratch::{self, Buffer};

/// Body pieces up to this size are copied behind what is to be written anyway; larger ones are
/// written from where they are.
const COPIED: usize = 4 * 1024;

impl<S: AsyncWrite + Unpin> Connection<S> {
    /// Writes the answer to a request of this version, or its head alone to a HEAD; returns whether
    /// another may follow. `keep` is whether the gate and the client want that.
    pub(crate) async fn answer(
        &mut self,
        (version, head_only): (Version, bool),
        answer: Answer<AnswerBody>,
        keep: bool,
    ) -> io::Result<bool> {
        let Answer { mut head, mut body } = answer;
        let framing = if head_only { Framing::None } else { Framing::of(version, &head, &body) };
        let said = head.headers.get(CONNECTION);
        let closes = said.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        let keep = keep && !closes && framing != Framing::Close;
        framing.announce(version, keep, &mut head);
        let mut out =
            Outgoing { bytes: write_head(version, &head), at: 0, data: Bytes::new(), framing };
        scratch::give_back(head.headers);
        let mut ended = framing == Framing::None;
        poll_fn(|cx| {
            loop {
                while !ended && out.data.is_empty() && out.bytes.len() - out.at <= COPIED {
                    match body.poll_data(cx) {
                        Poll::Ready(Some(data)) => out.push(data?),
                        Poll::Ready(None) => {
                            out.end();
                            ended = true;
                        }
                        Poll::Pending => break,
                    }
                }
                if out.is_empty() {
                    let flushed = Pin::new(&mut self.io).poll_flush(cx);
                    ready!(self.write.bound(cx, flushed))?;
                    return if ended { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending };
                }
                ready!(self.poll_write_out(cx, &mut out))?;
            }
        })
        .await?;
        Ok(keep)
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<io::Result<()>> {
        let bytes = out.bytes.get(out.at..).unwrap_or_default();
        let written = match (bytes.is_empty(), out.data.is_empty()) {
            (true, _) => Pin::new(&mut self.io).poll_write(cx, &out.data),
            (_, true) => Pin::new(&mut self.io).poll_write(cx, bytes),
            _ => {
                let both = [IoSlice::new(bytes), IoSlice::new(&out.data)];
                Pin::new(&mut self.io).poll_write_vectored(cx, &both)
            }
        };
        match ready!(self.write.bound(cx, written))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => {
                out.advance(written);
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// How the client learns where the body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is no body; a length that is announced says nothing of what follows.
    None,
    Length(u64),
    Chunked,
    Close,
}

impl Framing {
    fn of(version: Version, head: &AnswerHead, body: &AnswerBody) -> Self {
        let bodiless = head.status.is_informational()
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match body.length() {
            _ if bodiless => Self::None,
            Some(length) => Self::Length(length),
            None if version == Version::HTTP_11 => Self::Chunked,
            None => Self::Close,
        }
    }

    fn announce(self, version: Version, keep: bool, head: &mut AnswerHead) {
        let headers = &mut head.headers;
        match self {
            Self::None => {}
            Self::Length(length) => {
                let said = headers.get(CONTENT_LENGTH);
                let said = said.and_then(|value| wire::content_length(value.as_bytes()).ok());
                if said != Some(length) {
                    headers.insert(CONTENT_LENGTH, length.into());
                }
            }
            Self::Chunked => {
                headers.remove(&CONTENT_LENGTH);
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            Self::Close => {
                headers.remove(&CONTENT_LENGTH);
            }
        }
        let connection = match (keep, version) {
            _ if head.status == StatusCode::SWITCHING_PROTOCOLS => return,
            (false, _) => "close",
            (true, Version::HTTP_10) => "keep-alive",
            (true, _) => return,
        };
        headers.insert(CONNECTION, HeaderValue::from_static(connection));
    }
}

fn write_head(version: Version, head: &AnswerHead) -> Buffer {
    let mut out = Buffer::new();
    out.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(head));
    out.extend_from_slice(b"\r\n");
    write_headers(&mut out, &head.headers);
    out.extend_from_slice(b"\r\n");
    out
}

/// What waits to be written: bytes of ours, then a piece of the body as it came.
struct Outgoing {
    bytes: Buffer,
    at: usize,
    data: Bytes,
    framing: Framing,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.at == self.bytes.len() && self.data.is_empty()
    }

    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.framing == Framing::Chunked {
            // A write to a vector can not fail.
            let _ = write!(self.bytes, "{:x}\r\n", data.len());
        }
        if data.len() <= COPIED {
            self.bytes.extend_from_slice(&data);
            self.end_piece();
        } else {
            self.data = data;
        }
    }

    fn end_piece(&mut self) {
        if self.framing == Framing::Chunked {
            self.bytes.extend_from_slice(b"\r\n");
        }
    }

    fn end(&mut self) {
        if self.framing == Framing::Chunked {
            self.bytes.extend_from_slice(b"0\r\n\r\n");
        }
    }

    fn advance(&mut self, written: usize) {
        let own = written.min(self.bytes.len() - self.at);
        self.at += own;
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
        }
        if written > own {
            self.data.advance(written - own);
            if self.data.is_empty() {
                self.end_piece();
            }
        }
    }
}
