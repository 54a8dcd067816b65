//! A body that is compressed as it passes.

use std::io;
use std::mem;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::assets::Keeping;
use super::encoder::{Encoder, Then};
use crate::limits::COMPRESSED_PIECE;
use crate::link::LinkBody;

/// An answer of upstream on its way to the client.
pub(crate) struct Shrunk {
    body: LinkBody,
    /// None after the end.
    encoder: Option<Encoder>,
    out: Vec<u8>,
    /// Something was written that was not flushed.
    held: bool,
    /// The length is not known, so that nobody can say when the rest comes: a log that is
    /// followed. What there is must go out.
    open: bool,
    keeping: Option<Keeping>,
}

impl Shrunk {
    pub(crate) fn new(body: LinkBody, encoder: Encoder, keeping: Option<Keeping>) -> Self {
        let open = body.length().is_none();
        Self { body, encoder: Some(encoder), out: Vec::new(), held: false, open, keeping }
    }

    /// The next piece; `None` at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            let written = match self.body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    self.held = true;
                    encoder.write(&data, &mut self.out, Then::Go)
                }
                Poll::Ready(Some(Err(error))) => Err(error),
                Poll::Ready(None) => {
                    let ended = encoder.write(b"", &mut self.out, Then::End);
                    self.encoder = None;
                    ended
                }
                Poll::Pending if self.held && self.open => {
                    self.held = false;
                    encoder.write(b"", &mut self.out, Then::Flush)
                }
                Poll::Pending if self.out.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Some(Ok(self.piece()))),
            };
            if let Err(error) = written {
                // The client must not take half a body for the whole.
                self.encoder = None;
                self.keeping = None;
                return Poll::Ready(Some(Err(error)));
            }
            let ended = self.encoder.is_none();
            if self.out.len() >= COMPRESSED_PIECE || (ended && !self.out.is_empty()) {
                return Poll::Ready(Some(Ok(self.piece())));
            }
        }
    }

    /// Known at the end alone.
    pub(crate) fn length(&self) -> Option<u64> {
        self.encoder.is_none().then_some(0)
    }

    fn piece(&mut self) -> Bytes {
        let piece = Bytes::from(mem::take(&mut self.out));
        if let Some(keeping) = &mut self.keeping {
            keeping.push(&piece);
        }
        if self.encoder.is_none()
            && let Some(keeping) = self.keeping.take()
        {
            keeping.end();
        }
        piece
    }
}
