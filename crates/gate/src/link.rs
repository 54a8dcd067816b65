//! One HTTP/1.1 connection to Proxmox VE, driven by whoever uses it: no task can be left behind,
//! and dropping an answer before its end closes the connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::body::{Source, Stall};
use crate::http1::{BodyFraming, Decoded, ResponseHead, parse_response};
use crate::idle::Idle;
use crate::limits::{UPSTREAM_CHUNK, UPSTREAM_REQUESTS};
use crate::scratch::{self, take};
use crate::socket::Socket;

/// An open connection.
pub(crate) struct Link {
    socket: Socket,
    /// What was read and is not yet part of an answer.
    input: BytesMut,
    /// Requests sent, this one included.
    sent: u32,
    /// How long an answer may take; kept, with its timer, from request to request.
    silence: Stall,
}

/// A request that got no answer.
pub(crate) struct Unanswered {
    pub(crate) error: io::Error,
    /// Nothing of it was written.
    pub(crate) unsent: bool,
}

/// What is written of a request.
pub(crate) struct Message<'a> {
    /// What is left to be written of the head, and of an ordinary body behind it.
    pub(crate) bytes: &'a [u8],
    /// An upload's body.
    pub(crate) upload: Option<Upload<'a>>,
}

/// A body that is passed on as it comes, every piece within the limit on silence.
pub(crate) struct Upload<'a> {
    source: &'a mut dyn Source,
    /// What is left to be written of the piece at hand.
    piece: Bytes,
    stall: Stall,
    /// There is no more of it.
    ended: bool,
    /// The client has left, or was silent for too long, before the end of it.
    failed: bool,
}

impl Link {
    /// A connection on which the head of an answer comes within `limit` after the last byte that
    /// was taken of the request.
    pub(crate) fn new(socket: Socket, limit: Duration) -> Box<Self> {
        Box::new(Self { socket, input: BytesMut::new(), sent: 0, silence: Stall::new(limit) })
    }

    /// Sends a request and waits for the head of the answer. `None` when its time is over.
    pub(crate) async fn exchange(
        &mut self,
        mut message: Message<'_>,
    ) -> Option<Result<ResponseHead, Unanswered>> {
        self.sent += 1;
        let mut written = false;
        self.silence.end();
        let mut failed = None;
        poll_fn(|cx| {
            let before = message.left();
            if failed.is_none()
                && let Poll::Ready(Err(error)) = self.poll_send(cx, &mut message, &mut written)
            {
                if message.upload.as_ref().is_some_and(|upload| upload.failed) {
                    // Upstream would wait for the rest, and this for upstream.
                    return Poll::Ready(Some(Err(Unanswered { error, unsent: !written })));
                }
                // Upstream may have answered before it closed: its answer says more.
                failed = Some(error);
            }
            if message.left() != before {
                self.silence.end();
            }
            match self.poll_head(cx) {
                Poll::Ready(Ok(head)) => Poll::Ready(Some(Ok(head))),
                Poll::Ready(Err(error)) => {
                    let error = failed.take().unwrap_or(error);
                    Poll::Ready(Some(Err(Unanswered { error, unsent: !written })))
                }
                Poll::Pending => self.silence.poll(cx).map(|()| None),
            }
        })
        .await
    }

    /// After a 101: the stream, and what upstream already sent on it.
    pub(crate) fn into_tunnel(self) -> (Socket, Bytes) {
        (self.socket, self.input.freeze())
    }

    /// Whether the connection can take another request: nothing unasked has come on it, nor its
    /// end. Asked without a task to wake.
    pub(crate) fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut byte = [0];
        let read = Pin::new(&mut self.socket).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
        self.input.is_empty() && read.is_pending()
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: &mut Message<'_>,
        written: &mut bool,
    ) -> Poll<io::Result<()>> {
        loop {
            while !message.bytes.is_empty() {
                let count = ready!(self.poll_write(cx, message.bytes))?;
                *written = true;
                message.bytes = message.bytes.get(count..).unwrap_or_default();
            }
            if let Some(upload) = &mut message.upload {
                while !upload.piece.is_empty() {
                    let count = ready!(self.poll_write(cx, &upload.piece))?;
                    upload.piece.advance(count);
                }
            }
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            let Some(upload) = message.upload.as_mut().filter(|upload| !upload.ended) else {
                return Poll::Ready(Ok(()));
            };
            upload.piece = match ready!(upload.poll(cx)) {
                Some(data) => data?,
                None => Bytes::new(),
            };
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => Poll::Ready(Ok(count)),
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ResponseHead>> {
        loop {
            if !self.input.is_empty()
                && let Some(head) = parse_response(&mut self.input).map_err(invalid)?
            {
                return Poll::Ready(Ok(head));
            }
            if ready!(scratch::poll_read(&mut self.socket, cx, &mut self.input))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, chunk: usize) -> Poll<io::Result<usize>> {
        self.input.reserve(chunk);
        pin!(self.socket.read_buf(&mut self.input)).poll(cx)
    }
}

impl Message<'_> {
    /// Bytes at hand that upstream has not taken.
    fn left(&self) -> usize {
        self.bytes.len() + self.upload.as_ref().map_or(0, |upload| upload.piece.len())
    }
}

impl<'a> Upload<'a> {
    /// A body whose client may be silent for `limit`.
    pub(crate) fn new(source: &'a mut dyn Source, limit: Duration) -> Self {
        let stall = Stall::new(limit);
        Self { source, piece: Bytes::new(), stall, ended: false, failed: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let data = self.source.poll_data(cx).map(Option::transpose);
        let data = ready!(self.stall.bound(cx, data));
        self.ended = !matches!(data, Ok(Some(_)));
        self.failed = data.is_err();
        Poll::Ready(data.transpose())
    }
}

/// The body of an answer, which keeps its connection until the last byte and then gives it
/// back.
pub(crate) struct LinkBody {
    /// Read ahead by [`Self::is_empty`].
    first: Option<Bytes>,
    framing: BodyFraming,
    ended: bool,
    stays_open: bool,
    /// `None` once it was given back.
    link: Option<Box<Link>>,
    idle: Rc<RefCell<Idle>>,
    stall: Stall,
}

impl LinkBody {
    pub(crate) fn new(
        link: Box<Link>,
        framing: BodyFraming,
        stays_open: bool,
        idle: Rc<RefCell<Idle>>,
        limit: Duration,
    ) -> Self {
        let mut body = Self {
            first: None,
            ended: matches!(framing, BodyFraming::Length(0)),
            framing,
            stays_open,
            link: Some(link),
            idle,
            stall: Stall::new(limit),
        };
        body.give_back_when_ended();
        body
    }

    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let data = self.poll_link(cx);
        let data = ready!(self.stall.bound(cx, data));
        self.give_back_when_ended();
        Poll::Ready(data.transpose())
    }

    /// Waits until it is known whether there is a body. Needed where upstream announces no
    /// length: its authentication errors end with the connection.
    pub(crate) async fn is_empty(&mut self) -> io::Result<bool> {
        if self.first.is_none() {
            self.first = poll_fn(|cx| self.poll_data(cx)).await.transpose()?;
        }
        Ok(self.first.is_none())
    }

    /// Everything, for an answer that is read here; None when it is longer than `limit`.
    pub(crate) async fn whole(mut self, limit: usize) -> io::Result<Option<Bytes>> {
        let mut read = Vec::new();
        while let Some(data) = poll_fn(|cx| self.poll_data(cx)).await.transpose()? {
            if read.is_empty() && self.length() == Some(0) && data.len() <= limit {
                return Ok(Some(data));
            }
            if read.len() + data.len() > limit {
                return Ok(None);
            }
            read.extend_from_slice(&data);
        }
        Ok(Some(Bytes::from(read)))
    }

    /// Everything, where it has come together with the head: that of most answers.
    pub(crate) fn take_whole(&mut self) -> Option<Bytes> {
        let link = self.link.as_mut().filter(|_| self.first.is_none())?;
        let BodyFraming::Length(left) = &mut self.framing else { return None };
        let length = usize::try_from(*left).ok().filter(|length| *length <= link.input.len())?;
        let data = take(&mut link.input, length);
        (*left, self.ended) = (0, true);
        self.give_back_when_ended();
        Some(data)
    }

    /// Bytes still to come, if that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        let ahead = self.first.as_ref().map_or(0, Bytes::len) as u64;
        match self.framing {
            BodyFraming::Length(left) => Some(left + ahead),
            _ if self.ended => Some(ahead),
            _ => None,
        }
    }

    /// Whether the end would be a close that pveproxy puts off: its redirects announce no length,
    /// say Keep-Alive and then wait out their five seconds.
    pub(crate) fn ends_late(&self, status: StatusCode) -> bool {
        status.is_redirection() && matches!(self.framing, BodyFraming::Close)
    }

    fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let Some(link) = self.link.as_mut().filter(|_| !self.ended) else {
            return Poll::Ready(Ok(None));
        };
        loop {
            let wanted = match &mut self.framing {
                BodyFraming::Chunked(chunked) => match chunked.decode(&mut link.input)? {
                    Decoded::Data(data) => return Poll::Ready(Ok(Some(data))),
                    Decoded::End => {
                        self.ended = true;
                        return Poll::Ready(Ok(None));
                    }
                    Decoded::More => UPSTREAM_CHUNK,
                },
                BodyFraming::Length(left) if !link.input.is_empty() => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX);
                    let data = take(&mut link.input, here);
                    *left -= data.len() as u64;
                    self.ended = *left == 0;
                    return Poll::Ready(Ok(Some(data)));
                }
                BodyFraming::Length(left) => {
                    usize::try_from(*left).unwrap_or(UPSTREAM_CHUNK).min(UPSTREAM_CHUNK)
                }
                BodyFraming::Close if !link.input.is_empty() => {
                    return Poll::Ready(Ok(Some(link.input.split().freeze())));
                }
                BodyFraming::Close => UPSTREAM_CHUNK,
            };
            if ready!(link.poll_fill(cx, wanted))? == 0 {
                if matches!(self.framing, BodyFraming::Close) {
                    self.ended = true;
                    return Poll::Ready(Ok(None));
                }
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// The connection goes back with the last byte, before the client has taken it: its next
    /// request may need one.
    fn give_back_when_ended(&mut self) {
        if !self.ended {
            return;
        }
        let Some(mut link) = self.link.take() else { return };
        if self.stays_open && link.sent < UPSTREAM_REQUESTS && link.input.is_empty() {
            // An idle connection holds no buffer.
            link.input = BytesMut::new();
            self.idle.borrow_mut().put(link);
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
