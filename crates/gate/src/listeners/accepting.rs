//! One worker's copies of the set.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::error;

use super::Open;
use crate::lifecycle::Phase;

/// Accepts on all of them while the gate serves. A connection goes to whichever worker is free to take it, so a few
/// busy clients spread better than the kernel's hash of `SO_REUSEPORT` would spread them.
pub(crate) struct Accepting {
    open: watch::Receiver<Open>,
    phase: watch::Receiver<Phase>,
    mine: Vec<TcpListener>,
    first: usize,
}

impl Accepting {
    /// To be called inside of the worker's runtime, which the copies belong to.
    pub(crate) fn new(
        mut open: watch::Receiver<Open>,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let mine = copies(&open.borrow_and_update().clone())?;
        Ok(Self { open, phase, mine, first: 0 })
    }

    /// The next connection. Nothing is lost when this is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let serving = *self.phase.borrow_and_update() == Phase::Serving;
            tokio::select! {
                biased;
                Ok(()) = self.phase.changed() => {}
                Ok(()) = self.open.changed() => {
                    let open = self.open.borrow_and_update().clone();
                    match copies(&open) {
                        Ok(mine) => self.mine = mine,
                        // Those of before stay; an address that is gone receives nothing.
                        Err(error) => error!(%error, "new listeners can not be used"),
                    }
                }
                accepted = accept_any(&self.mine, &mut self.first), if serving => return accepted,
                // Nothing can come any more: whoever asks has another way to the end.
                else => std::future::pending().await,
            }
        }
    }
}

fn copies(open: &Open) -> io::Result<Vec<TcpListener>> {
    open.iter().map(|socket| TcpListener::from_std(socket.try_clone()?)).collect()
}

/// The next connection of any listener, each in turn so that a busy one starves none.
async fn accept_any(
    listeners: &[TcpListener],
    first: &mut usize,
) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        let (before, from) = listeners.split_at(*first % listeners.len().max(1));
        for (at, listener) in from.iter().chain(before).enumerate() {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                *first = first.wrapping_add(at + 1);
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}
