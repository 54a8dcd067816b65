//! A client's connection: its requests one after the other, and their bodies.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{request, wire};
use crate::body::{Source, Stall};
use crate::head::Parts;
use crate::limits::{HEAD_BYTES, Limits, REQUEST_PAUSE};
use crate::refusal::Refusal;
use crate::scratch::{self, take};

/// What tells a client that waits with its body to send it (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// HTTP/1 on one client connection. Between two requests it holds no buffer.
pub(crate) struct Connection<S> {
    pub(super) io: S,
    /// What was read and is not yet part of a request.
    input: BytesMut,
    /// How much of `input` was already searched for the end of a head.
    searched: usize,
    body: Body,
    pause: Stall,
    idle: Stall,
    head: Stall,
    /// A client that takes nothing for too long loses the connection.
    pub(super) write: Stall,
}

/// The body of the request at hand.
#[derive(Clone, Copy, Default)]
struct Body {
    /// Bytes still to be read.
    left: u64,
    /// The client may be waiting to be told to send it.
    expect: bool,
}

/// What the client does next.
pub(crate) enum Next {
    Request(Parts),
    Refused(Refusal),
    /// It left, or was silent for too long.
    End,
}

impl<S> Connection<S> {
    /// HTTP over `io`, of which `first` was read already.
    pub(crate) fn new(io: S, first: &[u8], limits: &Limits) -> Self {
        Self {
            io,
            input: BytesMut::from(first),
            searched: 0,
            body: Body::default(),
            pause: Stall::new(REQUEST_PAUSE.min(limits.idle)),
            idle: Stall::new(limits.idle),
            head: Stall::new(limits.head),
            write: Stall::new(limits.write),
        }
    }

    /// Nothing of a next request has come.
    pub(crate) fn is_idle(&self) -> bool {
        self.input.is_empty()
    }

    /// The whole body of the request at hand was read.
    pub(crate) fn body_is_read(&self) -> bool {
        self.body.left == 0
    }

    /// The stream, and what was read of it beyond the last request.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.io, self.input.freeze())
    }

    /// The next head, if it is whole.
    fn take_head(&mut self) -> Option<Next> {
        // One empty line before a request is forgiven (RFC 9112 §2.2), as pveproxy does.
        if self.searched == 0 && self.input.starts_with(b"\r\n") {
            self.input.advance(2);
        }
        let Some(end) = wire::head_end(&self.input, self.searched) else {
            self.searched = self.input.len();
            return (self.searched > HEAD_BYTES).then_some(Next::Refused(Refusal::HeadTooLarge));
        };
        self.searched = 0;
        let head = take(&mut self.input, end);
        Some(match request::parse(&head) {
            Ok((checked, parts)) => {
                self.body = Body { left: checked.body, expect: checked.expect };
                Next::Request(parts)
            }
            Err(refusal) => Next::Refused(refusal),
        })
    }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Waits for the next request. Can be dropped and asked again: nothing read is lost.
    pub(crate) async fn next(&mut self) -> Next {
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Pending if self.is_idle() => self.idle.poll(cx).map(|()| Next::End),
            next => next,
        })
        .await
    }

    /// The next request; None when it has not begun to come within [`REQUEST_PAUSE`].
    pub(crate) async fn next_soon(&mut self) -> Option<Next> {
        poll_fn(|cx| match self.poll_next(cx) {
            Poll::Pending if self.is_idle() => {
                ready!(self.pause.poll(cx));
                self.idle.go_on(&mut self.pause);
                Poll::Ready(None)
            }
            next => next.map(Some),
        })
        .await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if !self.input.is_empty()
                && let Some(next) = self.take_head()
            {
                self.pause.end();
                self.idle.end();
                self.head.end();
                return Poll::Ready(next);
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Next::End),
                Poll::Pending if self.is_idle() => return Poll::Pending,
                Poll::Pending => {
                    return self.head.poll(cx).map(|()| Next::Refused(Refusal::HeadTimeout));
                }
            }
        }
    }

    /// Reads more; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match ready!(scratch::poll_read(&mut self.io, cx, &mut self.input)) {
            // Many clients leave without a TLS goodbye; what was cut off shows in the framing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
            read => Poll::Ready(read),
        }
    }
}

impl<S: AsyncWrite + Unpin> Connection<S> {
    fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.body.expect && self.input.is_empty() {
            // Nothing waits to be written before it, so these few bytes go out whole.
            let _ = ready!(Pin::new(&mut self.io).poll_write(cx, CONTINUE))?;
            let _ = Pin::new(&mut self.io).poll_flush(cx)?;
        }
        self.body.expect = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Source for Connection<S> {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.body.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.poll_continue(cx))?;
        if self.input.is_empty() && ready!(self.poll_fill(cx))? == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        let left = usize::try_from(self.body.left).unwrap_or(usize::MAX);
        let data = take(&mut self.input, left);
        self.body.left -= data.len() as u64;
        Poll::Ready(Some(Ok(data)))
    }

    fn left(&self) -> Option<u64> {
        Some(self.body.left)
    }
}
