//! The bodies that go through: the client's towards Proxmox VE, and the answer's back.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::link::LinkBody;
use crate::record::Record;

/// What is sent upstream.
pub(crate) enum RequestBody {
    /// Read before the request went on; empty for none.
    Whole(Option<Bytes>),
    /// An upload, as it comes.
    Stream(Stream),
}

/// An upload: every frame within the stall limit of the one before.
pub(crate) struct Stream {
    body: Incoming,
    stall: Stall,
    /// Bytes that went through: while this grows, waiting for the answer has not begun.
    taken: Rc<Cell<u64>>,
}

impl RequestBody {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    /// An upload whose client may be silent for `limit`; `taken` counts its bytes.
    pub(crate) fn stream(body: Incoming, limit: Duration, taken: Rc<Cell<u64>>) -> Self {
        Self::Stream(Stream { body, stall: Stall::new(limit), taken })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => {
                let Poll::Ready(frame) = Pin::new(&mut stream.body).poll_frame(cx) else {
                    return stream.stall.poll(cx).map(|()| Some(Err(timed_out())));
                };
                stream.stall.end();
                Poll::Ready(frame.map(|frame| {
                    let frame = frame.map_err(io::Error::other)?;
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    stream.taken.set(stream.taken.get() + length as u64);
                    Ok(frame)
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(stream) => stream.body.size_hint(),
        }
    }
}

/// What is sent to the client. Holds the request's record, which is written when this is
/// dropped: that is when the last byte was handed to the connection, or it ended early.
pub(crate) struct AnswerBody {
    kind: Kind,
    record: Option<Box<Record>>,
}

enum Kind {
    Full(Option<Bytes>),
    Upstream(Box<LinkBody>),
}

impl AnswerBody {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full((!bytes.is_empty()).then_some(bytes)), record: None }
    }

    pub(crate) fn upstream(body: LinkBody) -> Self {
        Self { kind: Kind::Upstream(Box::new(body)), record: None }
    }

    /// The record to write when this body has gone.
    pub(crate) fn set_record(&mut self, record: Box<Record>) {
        self.record = Some(record);
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Kind::Upstream(body) => body.poll_data(cx),
        };
        if let (Poll::Ready(Some(frame)), Some(record)) = (&frame, &mut this.record) {
            match frame {
                Ok(data) => record.count(data.len()),
                Err(error) => record.failed(error),
            }
        }
        frame.map(|frame| frame.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Upstream(body) => body.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Upstream(body) => body.size_hint(),
        }
    }
}

/// A limit on silence that costs nothing while there is none: the timer is made at the first
/// wait, and only looked at again when it fires.
pub(crate) struct Stall {
    limit: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    /// There is something: the next silence begins anew.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    /// Ready when the silence, which begins now if it had not, has lasted too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let deadline = *self.since.get_or_insert(now) + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if now >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

pub(crate) fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

#[cfg(test)]
mod tests {
    use super::Stall;
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;
    use tokio::time::Instant;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn silence_is_measured_from_the_last_sign_of_life() {
        block_on(async {
            let start = Instant::now();
            let mut stall = Stall::new(Duration::from_secs(10));
            // One look begins the silence, six seconds later something comes.
            let first = poll_fn(|cx| Poll::Ready(stall.poll(cx))).await;
            assert!(first.is_pending());
            tokio::time::sleep(Duration::from_secs(6)).await;
            stall.end();
            poll_fn(|cx| stall.poll(cx)).await;
            assert_eq!(start.elapsed().as_secs(), 16);
        });
    }
}
