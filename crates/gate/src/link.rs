//! One HTTP/1.1 connection to Proxmox VE, driven by whoever uses it.
//!
//! hyper splits a client connection into a sender and a driver meant for a task of its own.
//! Here the request's task polls both: no task can be left behind, no wake-up crosses tasks,
//! and dropping the answer closes the connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::{Body, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use crate::body::{RequestBody, Stall, timed_out};
use crate::idle::{Idle, Kept};
use crate::limits::{UPSTREAM_BUFFER, UPSTREAM_HEADER_LINES, UPSTREAM_REQUESTS};
use crate::socket::Socket;

type Io = TokioIo<Socket>;

/// An open connection.
pub(crate) struct Link {
    sender: SendRequest<RequestBody>,
    driver: Connection<Io, RequestBody>,
    /// The driver has returned and must not be polled again.
    ended: bool,
    /// Requests sent, this one included.
    pub(crate) sent: u32,
}

/// A request that got no answer.
pub(crate) struct Unanswered {
    pub(crate) error: hyper::Error,
    /// Nothing of it was written.
    pub(crate) unsent: bool,
}

impl Link {
    /// HTTP over a connected stream on which `sent` requests were made before.
    pub(crate) async fn open(socket: Socket, sent: u32) -> Result<Box<Self>, hyper::Error> {
        let (sender, driver) = Builder::new()
            .title_case_headers(true)
            .max_headers(UPSTREAM_HEADER_LINES)
            .max_buf_size(UPSTREAM_BUFFER)
            .handshake(TokioIo::new(socket))
            .await?;
        Ok(Box::new(Self { sender, driver, ended: false, sent }))
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Unanswered> {
        self.sent += 1;
        let mut answer = pin!(self.sender.try_send_request(request));
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        let answer = poll_fn(|cx| {
            let _ = poll_driver(driver, ended, cx);
            answer.as_mut().poll(cx)
        });
        answer.await.map_err(|mut error| Unanswered {
            unsent: error.take_message().is_some(),
            error: error.into_error(),
        })
    }

    /// After a 101: the stream, and what upstream already sent on it.
    pub(crate) async fn into_tunnel(mut self) -> (Socket, Bytes) {
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        poll_fn(|cx| poll_driver(driver, ended, cx)).await;
        let parts = self.driver.into_parts();
        (parts.io.into_inner(), parts.read_buf)
    }

    /// Whether the connection can take another request now. Asked without a task to wake: an
    /// idle connection is looked at again when it is taken up.
    pub(crate) fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = poll_driver(&mut self.driver, &mut self.ended, &mut cx);
        !self.ended && self.sender.is_ready()
    }

    /// The stream of a connection that hyper is done with, if nothing is left on it.
    fn reclaim(mut self) -> Option<Socket> {
        if !self.ended && self.is_usable() {
            return None;
        }
        let parts = self.driver.into_parts();
        (self.ended && parts.read_buf.is_empty()).then(|| parts.io.into_inner())
    }
}

fn poll_driver(
    driver: &mut Connection<Io, RequestBody>,
    ended: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if !*ended {
        // Its error is also the answer's.
        let _ = ready!(driver.poll_without_shutdown(cx));
        *ended = true;
    }
    Poll::Ready(())
}

/// The body of an answer, which keeps its connection until the last byte and then gives it
/// back.
pub(crate) struct LinkBody {
    /// Read ahead by [`Self::is_empty`].
    first: Option<Bytes>,
    incoming: Incoming,
    link: Option<Box<Link>>,
    /// Upstream said both `close` and `Keep-Alive` (see [`stays_open`]).
    stays_open: bool,
    idle: Rc<RefCell<Idle>>,
    stall: Stall,
}

impl LinkBody {
    pub(crate) fn new(
        link: Box<Link>,
        incoming: Incoming,
        headers: &HeaderMap,
        idle: Rc<RefCell<Idle>>,
        limit: Duration,
    ) -> Self {
        Self {
            first: None,
            stays_open: stays_open(headers),
            incoming,
            link: Some(link),
            idle,
            stall: Stall::new(limit),
        }
    }

    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        loop {
            let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
            if frame.is_pending()
                && let Some(link) = &mut self.link
            {
                // The first look told hyper that the body is wanted; now it may read.
                let _ = poll_driver(&mut link.driver, &mut link.ended, cx);
                frame = Pin::new(&mut self.incoming).poll_frame(cx);
            }
            return match frame {
                Poll::Pending => self.stall.poll(cx).map(|()| Some(Err(timed_out()))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.stall.end();
                        Poll::Ready(Some(Ok(data)))
                    }
                    // Trailers are not passed on.
                    Err(_) => continue,
                },
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
                Poll::Ready(None) => Poll::Ready(None),
            };
        }
    }

    /// Waits until it is known whether there is a body. Needed where upstream announces no
    /// length: its authentication errors end with the connection.
    pub(crate) async fn is_empty(&mut self) -> io::Result<bool> {
        if self.is_end() {
            return Ok(true);
        }
        if self.first.is_none() {
            self.first = poll_fn(|cx| self.poll_data(cx)).await.transpose()?;
        }
        Ok(self.first.is_none())
    }

    /// Everything, for an answer that is read here; None when it is longer than `limit`.
    pub(crate) async fn whole(mut self, limit: usize) -> io::Result<Option<Bytes>> {
        let mut read = Vec::new();
        while let Some(data) = poll_fn(|cx| self.poll_data(cx)).await.transpose()? {
            if read.is_empty() && self.is_end() && data.len() <= limit {
                return Ok(Some(data));
            }
            if read.len() + data.len() > limit {
                return Ok(None);
            }
            read.extend_from_slice(&data);
        }
        Ok(Some(Bytes::from(read)))
    }

    pub(crate) fn is_end(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let ahead = self.first.as_ref().map_or(0, Bytes::len) as u64;
        match self.incoming.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest + ahead),
            None => SizeHint::new(),
        }
    }
}

impl Drop for LinkBody {
    fn drop(&mut self) {
        let (Some(mut link), true) = (self.link.take(), self.incoming.is_end_stream()) else {
            return;
        };
        if link.sent >= UPSTREAM_REQUESTS {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if link.is_usable() {
            idle.put(Kept::Link(link));
        } else if self.stays_open {
            let sent = link.sent;
            if let Some(socket) = link.reclaim() {
                idle.put(Kept::Socket(socket, sent));
            }
        }
    }
}

/// Whether the answer was relayed from pvedaemon: it then carries two Connection lines,
/// `close` and after it `Keep-Alive`, and pveproxy keeps the connection open (reference:
/// real-pve.md). hyper rightly takes the first for final, which would cost a TLS handshake
/// after every such call; the length must be announced, or the end would be the close.
fn stays_open(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::CONNECTION).iter();
    let is = |value: Option<&http::HeaderValue>, text: &str| {
        value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(text.as_bytes()))
    };
    headers.contains_key(header::CONTENT_LENGTH)
        && is(lines.next(), "close")
        && is(lines.next(), "keep-alive")
        && lines.next().is_none()
}

/// Whether the end of an answer without announced length would be a close that pveproxy puts
/// off: its redirects say Keep-Alive and then wait out their five seconds.
pub(crate) fn ends_late(status: StatusCode, headers: &HeaderMap) -> bool {
    status.is_redirection()
        && !headers.contains_key(header::CONTENT_LENGTH)
        && !headers.contains_key(header::TRANSFER_ENCODING)
}

#[cfg(test)]
mod tests {
    use super::{ends_late, stays_open};
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_the_pair_of_a_relayed_answer_with_a_length_stays_open() {
        let length = ("content-length", "1");
        let (close, keep) = (("connection", "close"), ("connection", "Keep-Alive"));
        assert!(stays_open(&headers(&[close, keep, length])));
        assert!(!stays_open(&headers(&[close, keep])));
        assert!(!stays_open(&headers(&[keep, close, length])));
        assert!(!stays_open(&headers(&[close, length])));
        assert!(!stays_open(&headers(&[close, keep, close, length])));
    }

    #[test]
    fn only_redirects_without_a_length_end_late() {
        assert!(ends_late(StatusCode::MOVED_PERMANENTLY, &headers(&[])));
        assert!(!ends_late(StatusCode::MOVED_PERMANENTLY, &headers(&[("content-length", "0")])));
        assert!(!ends_late(StatusCode::UNAUTHORIZED, &headers(&[])));
    }
}
