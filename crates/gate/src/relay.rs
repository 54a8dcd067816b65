//! Bytes both ways after a 101, with bounded buffers and an end to silence.
//!
//! pveproxy's own relay once read without waiting for the slower side and grew until the
//! kernel killed it (its bug 7483); here each direction holds one buffer and reads only when
//! that is empty.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::body::{Stall, timed_out};
use crate::frames::Frames;
use crate::limits::TUNNEL_BUFFER;

/// Bytes that went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) to_upstream: u64,
    pub(crate) to_client: u64,
}

/// Relays until both sides have ended, one fails, nothing moves for `limit`, or `stop` says why not
/// to go on. An end is passed on; the other direction goes on, as consoles close one side first.
pub(crate) async fn relay<C, U>(
    (mut client, mut upstream): (C, U),
    (limit, stop): (Duration, impl Future<Output = &'static str>),
    traffic: &mut Traffic,
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Direction::judged(), Direction::new());
    let (mut silence, mut stop) = (Stall::new(limit), pin!(stop));
    let pass = poll_fn(|cx| {
        let before = (up.moved, down.moved);
        let up_done = up.poll(cx, &mut client, &mut upstream)?;
        let down_done = down.poll(cx, &mut upstream, &mut client)?;
        if up_done.is_ready() && down_done.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(why) = stop.as_mut().poll(cx) {
            return Poll::Ready(Err(io::Error::other(why)));
        }
        if before != (up.moved, down.moved) {
            silence.end();
        }
        silence.poll(cx).map(|()| Err(timed_out()))
    });
    let outcome = pin!(pass).await;
    *traffic = Traffic { to_upstream: up.moved, to_client: down.moved };
    outcome
}

/// One direction: what was read and not yet written, and how far the end has got.
struct Direction {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    state: State,
    moved: u64,
    unflushed: bool,
    /// The frames of a client are judged; Proxmox VE's are not.
    frames: Option<Frames>,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    /// The source has ended; the sink is still to be told.
    Ending,
    Ended,
}

impl Direction {
    fn new() -> Self {
        Self {
            buffer: vec![0; TUNNEL_BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            state: State::Open,
            moved: 0,
            unflushed: false,
            frames: None,
        }
    }

    fn judged() -> Self {
        Self { frames: Some(Frames::default()), ..Self::new() }
    }

    fn poll<S, D>(&mut self, cx: &mut Context<'_>, from: &mut S, to: &mut D) -> Poll<io::Result<()>>
    where
        S: AsyncRead + Unpin,
        D: AsyncWrite + Unpin,
    {
        loop {
            match self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Ended;
                    continue;
                }
                State::Open => {}
            }
            while self.start < self.end {
                let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
                let written = ready!(Pin::new(&mut *to).poll_write(cx, bytes))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += written;
                self.moved += written as u64;
                self.unflushed = true;
            }
            let mut space = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *from).poll_read(cx, &mut space) {
                Poll::Pending => {
                    // Flushed only before waiting: small frames in a burst share a record.
                    if self.unflushed {
                        ready!(Pin::new(&mut *to).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) => {}
                // A peer that left without a TLS goodbye has left.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
            (self.start, self.end) = (0, space.filled().len());
            if let Some(frames) = &mut self.frames {
                frames.pass(space.filled()).map_err(io::Error::other)?;
            }
            if self.end == 0 {
                self.state = State::Ending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Traffic, relay};
    use std::future::{pending, ready};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// `hello`, with a mask of zeros.
    const FRAME: &[u8] = b"\x82\x85\0\0\0\0hello";

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn bytes_and_ends_go_both_ways() {
        block_on(async {
            let (client, client_side) = duplex(64);
            let (mut upstream, upstream_side) = duplex(64);
            let mut traffic = Traffic::default();
            let limit = Duration::from_secs(60);
            let (mut from_gate, mut to_gate) = tokio::io::split(client);
            let asks = async {
                to_gate.write_all(FRAME).await.unwrap();
                to_gate.shutdown().await.unwrap();
                let mut got = Vec::new();
                from_gate.read_to_end(&mut got).await.unwrap();
                assert_eq!(got.len(), 100_000);
            };
            let answers = async {
                let mut got = Vec::new();
                upstream.read_to_end(&mut got).await.unwrap();
                assert_eq!(got, FRAME);
                // The other direction is still open.
                upstream.write_all(&[7; 100_000]).await.unwrap();
                upstream.shutdown().await.unwrap();
            };
            let relayed = relay((client_side, upstream_side), (limit, pending()), &mut traffic);
            let (outcome, (), ()) = tokio::join!(relayed, asks, answers);
            outcome.unwrap();
            assert_eq!(traffic, Traffic { to_upstream: 11, to_client: 100_000 });
        });
    }

    #[test]
    fn a_frame_that_pveproxy_would_not_take_ends_it() {
        block_on(async {
            let (mut client, client_side) = duplex(64);
            let (_upstream, upstream_side) = duplex(64);
            client.write_all(b"\x82\x05hello").await.unwrap();
            let limit = Duration::from_secs(60);
            let mut traffic = Traffic::default();
            let error = relay((client_side, upstream_side), (limit, pending()), &mut traffic)
                .await
                .unwrap_err();
            assert_eq!(error.to_string(), "a websocket frame without a mask");
            assert_eq!(traffic.to_upstream, 0);
        });
    }

    #[test]
    fn silence_ends_it() {
        block_on(async {
            let (_client, client_side) = duplex(64);
            let (_upstream, upstream_side) = duplex(64);
            let limit = Duration::from_secs(60);
            let error =
                relay((client_side, upstream_side), (limit, pending()), &mut Traffic::default())
                    .await
                    .unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn what_may_not_go_on_ends_although_bytes_move() {
        block_on(async {
            let (_client, client_side) = duplex(64);
            let (mut upstream, upstream_side) = duplex(64);
            upstream.write_all(b"hello").await.unwrap();
            let mut traffic = Traffic::default();
            let stop = (Duration::from_secs(60), ready("revoked"));
            let ended = relay((client_side, upstream_side), stop, &mut traffic).await;
            assert_eq!(ended.unwrap_err().to_string(), "revoked");
            assert_eq!(traffic.to_client, 5);
        });
    }
}
