//! The bodies that go through: the client's towards Proxmox VE, and the answer's back.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::compression::{Encoder, Keeping, Shrunk, Then};
use crate::link::LinkBody;
use crate::record::Record;

/// The body of a client's request, read piece by piece.
pub(crate) trait Source {
    /// The next piece; `None` at the end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>;

    /// Bytes still to come, when the client has said how many.
    fn left(&self) -> Option<u64>;
}

/// The body of an HTTP/2 request.
pub(crate) struct Http2Body(pub(crate) Incoming);

impl Source for Http2Body {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            return match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    // Trailers are not passed on.
                    Err(_) => continue,
                },
                Some(Err(error)) => Poll::Ready(Some(Err(io::Error::other(error)))),
                None => Poll::Ready(None),
            };
        }
    }

    fn left(&self) -> Option<u64> {
        if self.0.is_end_stream() { Some(0) } else { self.0.size_hint().exact() }
    }
}

/// A body that was read already.
pub(crate) struct Ready(pub(crate) Option<Bytes>);

impl Source for Ready {
    fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(Ok))
    }

    fn left(&self) -> Option<u64> {
        Some(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
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
    Shrunk(Box<Shrunk>),
}

impl AnswerBody {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Full((!bytes.is_empty()).then_some(bytes)), record: None }
    }

    pub(crate) fn upstream(body: LinkBody) -> Self {
        Self { kind: Kind::Upstream(Box::new(body)), record: None }
    }

    /// The same body, compressed: what is there at once, what comes as it passes.
    pub(crate) fn shrunk(self, mut encoder: Encoder, keeping: Option<Keeping>) -> io::Result<Self> {
        let kind = match self.kind {
            Kind::Upstream(body) => Kind::Shrunk(Box::new(Shrunk::new(*body, encoder, keeping))),
            Kind::Full(bytes) => {
                let mut out = Vec::new();
                encoder.write(&bytes.unwrap_or_default(), &mut out, Then::End)?;
                if let Some(mut keeping) = keeping {
                    keeping.push(&out);
                    keeping.end();
                }
                Kind::Full(Some(Bytes::from(out)))
            }
            kind @ Kind::Shrunk(_) => kind,
        };
        Ok(Self { kind, ..self })
    }

    /// The record to write when this body has gone.
    pub(crate) fn set_record(&mut self, record: Box<Record>) {
        self.record = Some(record);
    }
}

impl AnswerBody {
    /// The next piece; `None` at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let data = match &mut self.kind {
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Kind::Upstream(body) => body.poll_data(cx),
            Kind::Shrunk(body) => body.poll_data(cx),
        };
        if let (Poll::Ready(Some(data)), Some(record)) = (&data, &mut self.record) {
            match data {
                Ok(data) => record.count(data.len()),
                Err(error) => record.failed(error),
            }
        }
        data
    }

    /// Everything, of a body whose length is known to be small.
    pub(crate) async fn whole(&mut self) -> io::Result<Bytes> {
        let mut whole = Vec::new();
        while let Some(data) = poll_fn(|cx| self.poll_data(cx)).await.transpose()? {
            if whole.is_empty() && self.length() == Some(0) {
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
        Ok(Bytes::from(whole))
    }

    /// Bytes to come, if that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.kind {
            Kind::Full(bytes) => Some(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Upstream(body) => body.length(),
            Kind::Shrunk(body) => body.length(),
        }
    }
}

/// For HTTP/2, which is hyper's.
impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.poll_data(cx).map(|data| data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::new, SizeHint::with_exact)
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

    /// The silence that `former` has seen goes on here.
    pub(crate) fn go_on(&mut self, former: &mut Self) {
        self.since = former.since.take();
    }

    /// What was tried, or [`timed_out`] when it has been pending for too long.
    pub(crate) fn bound<T>(
        &mut self,
        cx: &mut Context<'_>,
        tried: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.end();
            return tried;
        }
        self.poll(cx).map(|()| Err(timed_out()))
    }

    /// Ready when the silence, which begins now if it had not, has lasted too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
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
