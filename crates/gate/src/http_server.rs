//! hyper on a client connection: its settings, and when it is told to stop.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use tokio::sync::watch;
use tracing::debug;

use crate::body::Stall;
use crate::connection::Client;
use crate::guard::Guard;
use crate::limits::{
    CLIENT_BUFFER, H2_CONNECTION_WINDOW, H2_LOCAL_RESETS, H2_PENDING_RESETS, H2_PING_ANSWER,
    H2_PING_EVERY, H2_SEND_BUFFER, H2_STREAM_WINDOW, H2_STREAMS, HEAD_BYTES, HEAD_LINES,
};
use crate::stack::{self, Peer};
use crate::tasks::StreamTasks;

/// HTTP/1 until the connection ends; what hyper had read and not used comes back with it.
pub(crate) async fn serve_http1(
    peer: &Rc<Peer>,
    guard: Guard<Client>,
    mut drain: watch::Receiver<bool>,
) -> (Guard<Client>, Bytes) {
    let service = service_fn(|request| stack::serve(Rc::clone(peer), request));
    let mut connection = http1::Builder::new()
        // A client that has said all it has to say still wants its answer.
        .half_close(true)
        // PVE writes its names like this, and some clients compare them as text.
        .title_case_headers(true)
        .max_headers(HEAD_LINES + 1)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(CLIENT_BUFFER)
        // The guard keeps the time of heads and of idle connections.
        .header_read_timeout(None)
        .serve_connection(guard, service);
    let drained = tokio::select! {
        biased;
        ended = &mut connection => {
            trace_end(ended);
            false
        }
        _ = drain.wait_for(|drain| *drain) => true,
    };
    if drained {
        Pin::new(&mut connection).graceful_shutdown();
        trace_end((&mut connection).await);
    }
    let parts = connection.into_parts();
    (parts.io, parts.read_buf)
}

/// HTTP/2 until the connection ends, has been idle for too long, or the gate stops.
pub(crate) async fn serve_http2(
    peer: &Rc<Peer>,
    guard: Guard<Client>,
    mut drain: watch::Receiver<bool>,
) {
    let streams = StreamTasks::default();
    let service = service_fn(|request| stack::serve(Rc::clone(peer), request));
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
        .serve_connection(guard, service);
    let mut connection = pin!(connection);
    let mut drained = pin!(drain.wait_for(|drain| *drain));
    let mut idle = Stall::new(peer.worker.shared.limits.idle);
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
    trace_end(ended.await);
}

fn trace_end(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}
