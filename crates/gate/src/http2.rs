//! HTTP/2 on a client connection: hyper's, with its settings and when it is told to stop.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tracing::debug;

use crate::body::{Http2Body, Stall};
use crate::connection::Client;
use crate::limits::{
    H2_CONNECTION_WINDOW, H2_LOCAL_RESETS, H2_PENDING_RESETS, H2_PING_ANSWER, H2_PING_EVERY,
    H2_SEND_BUFFER, H2_STREAM_WINDOW, H2_STREAMS, HEAD_BYTES,
};
use crate::prefixed::Prefixed;
use crate::stack::{self, Peer};
use crate::tasks::StreamTasks;

/// HTTP/2 until the connection ends, has been idle for too long, or the gate stops.
pub(crate) async fn serve(
    peer: &Rc<Peer>,
    client: Prefixed<Client>,
    mut drain: watch::Receiver<bool>,
) {
    let streams = StreamTasks::default();
    let service = service_fn(|request: Request<Incoming>| {
        let peer = Rc::clone(peer);
        async move {
            let (parts, body) = request.into_parts();
            let answer = stack::serve(&peer, &parts.into(), &mut Http2Body(body)).await;
            Ok::<_, Infallible>(Response::from(answer))
        }
    });
    let write = Stall::new(peer.worker.live().limits.write);
    let io = Bounded { io: TokioIo::new(client), write };
    let connection = http2::Builder::new(streams.clone())
        .timer(hyper_util::rt::TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS)
        .max_local_error_reset_streams(H2_LOCAL_RESETS)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_ANSWER)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut drained = pin!(drain.wait_for(|drain| *drain));
    let mut idle = Stall::new(peer.worker.live().limits.idle);
    let mut closing = false;
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            streams.reap(cx);
            if closing {
                return Poll::Pending;
            }
            let quiet = streams.is_empty();
            if !quiet {
                idle.end();
            }
            let leave = drained.as_mut().poll(cx).is_ready() || (quiet && idle.poll(cx).is_ready());
            if !leave {
                return Poll::Pending;
            }
            connection.as_mut().graceful_shutdown();
            closing = true;
        }
    });
    if let Err(error) = ended.await {
        debug!(%error, "connection ended");
    }
}

/// The connection as hyper sees it: a client that takes nothing for too long loses it.
struct Bounded<S> {
    io: S,
    write: Stall,
}

impl<S: Read + Unpin> Read for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: Write + Unpin> Write for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.write.bound(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.write.bound(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.io).poll_shutdown(cx);
        self.write.bound(cx, closed)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.write.bound(cx, written)
    }
}
