//! The client's connection as hyper sees it: whole, checked request heads and the bodies they
//! announce, nothing else.
//!
//! A head is held back until its last byte is there and [`wire::check`] has accepted it. On a
//! refusal hyper gets an end of stream, finishes what it was writing and returns; the
//! connection's owner then writes the answer itself. So no byte of a refused message is ever
//! parsed, and a drip-fed head costs one small buffer and no hyper state.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::body::{Stall, timed_out};
use crate::limits::{HEAD_BYTES, Limits, READ_CHUNK};
use crate::refusal::Refusal;
use crate::wire;

/// Bytes read while a head is awaited: most requests fit.
const HEAD_CHUNK: usize = 2 * 1024;

/// Reads and writes of one client connection, for hyper.
pub(crate) struct Guard<S> {
    io: S,
    /// What was read and is not yet hyper's.
    buffer: BytesMut,
    /// How much of the buffer's start hyper may have.
    released: usize,
    /// How much of a head was already searched for its end.
    searched: usize,
    expected: Expected,
    refusal: Option<Refusal>,
    idle: Stall,
    head: Stall,
    write: Stall,
}

/// What the next byte from the client belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Head,
    /// A body with so many bytes to come.
    Body(u64),
    /// Another protocol: HTTP/2, or whatever follows an upgrade. Not looked at.
    Raw,
}

impl<S> Guard<S> {
    /// HTTP/1 over `io`, of which `first` was read already.
    pub(crate) fn http1(io: S, first: &[u8], limits: &Limits) -> Self {
        Self::new(io, first, limits, Expected::Head)
    }

    /// HTTP/2 over `io`: only the limit on a client that does not read is applied here.
    pub(crate) fn http2(io: S, first: &[u8], limits: &Limits) -> Self {
        Self::new(io, first, limits, Expected::Raw)
    }

    /// Why the connection ended, if the client's bytes were the reason.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// The connection, and what of it was read but not handed out.
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.io, self.buffer.freeze())
    }

    fn new(io: S, first: &[u8], limits: &Limits, expected: Expected) -> Self {
        Self {
            io,
            buffer: BytesMut::from(first),
            released: 0,
            searched: 0,
            expected,
            refusal: None,
            idle: Stall::new(limits.idle),
            head: Stall::new(limits.head),
            write: Stall::new(limits.write),
        }
    }

    /// Decides how much of the buffer hyper may have.
    fn release(&mut self) {
        match self.expected {
            Expected::Raw => self.released = self.buffer.len(),
            Expected::Body(left) => {
                let here = usize::try_from(left).unwrap_or(usize::MAX);
                self.released = here.min(self.buffer.len());
                self.expected = match left - self.released as u64 {
                    0 => Expected::Head,
                    left => Expected::Body(left),
                };
            }
            Expected::Head => self.release_head(),
        }
    }

    fn release_head(&mut self) {
        // One empty line before a request is forgiven (RFC 9112 §2.2), as pveproxy does.
        if self.searched == 0 && self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
        }
        let Some(end) = wire::head_end(&self.buffer, self.searched) else {
            self.searched = self.buffer.len();
            if self.searched > HEAD_BYTES {
                self.refusal = Some(Refusal::HeadTooLarge);
            }
            return;
        };
        self.searched = 0;
        let head = self.buffer.get(..end).unwrap_or_default();
        match wire::check(head) {
            Err(refusal) => self.refusal = Some(refusal),
            Ok(framing) => {
                self.released = end;
                self.expected = match framing.body {
                    _ if framing.upgrade => Expected::Raw,
                    0 => Expected::Head,
                    length => Expected::Body(length),
                };
                // "Expect: 100-continue" is answered by hyper, unless the client did not wait
                // (RFC 9110 §10.1.1); pveproxy never answers it.
                if let Some(line) = framing.expect
                    && self.buffer.len() > end
                {
                    self.released -= line.len();
                    let rest = self.buffer.split_off(line.end);
                    self.buffer.truncate(line.start);
                    self.buffer.unsplit(rest);
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads more into the buffer; 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let chunk = if self.expected == Expected::Head { HEAD_CHUNK } else { READ_CHUNK };
        self.buffer.reserve(chunk);
        match pin!(self.io.read_buf(&mut self.buffer)).poll(cx) {
            // Many clients leave without a TLS goodbye; what was cut off shows in the framing.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(0))
            }
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => {
                if self.buffer.is_empty() {
                    // An idle connection holds no buffer.
                    self.buffer = BytesMut::new();
                }
                Poll::Pending
            }
        }
    }

    /// Whether the client has been silent, or slow with its head, for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.expected {
            Expected::Head if self.buffer.is_empty() => self.idle.poll(cx),
            Expected::Head => {
                ready!(self.head.poll(cx));
                self.refusal = Some(Refusal::HeadTimeout);
                Poll::Ready(())
            }
            // Whoever reads the body bounds its time.
            Expected::Body(_) | Expected::Raw => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> Read for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.refusal.is_some() {
                return Poll::Ready(Ok(()));
            }
            if this.released == 0 && !this.buffer.is_empty() {
                this.release();
            }
            if this.released > 0 {
                let count = this.released.min(buf.remaining());
                buf.put_slice(this.buffer.get(..count).unwrap_or_default());
                this.buffer.advance(count);
                this.released -= count;
                this.idle.end();
                this.head.end();
                return Poll::Ready(Ok(()));
            }
            if this.refusal.is_some() {
                continue;
            }
            match this.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return this.poll_patience(cx).map(Ok),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    /// A client that takes nothing for too long loses the connection.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write.end();
            return written;
        }
        self.write.poll(cx).map(|()| Err(timed_out()))
    }
}

impl<S: AsyncWrite + Unpin> Write for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.bounded(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.bounded(cx, flushed)
    }

    /// Only flushes: the owner closes, after an answer or a tunnel that hyper knows nothing of.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.bounded(cx, written)
    }
}
