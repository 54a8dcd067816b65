//! What one request leaves to the next on the same thread, so that most of them ask the allocator
//! for little: the buffer that is read into, those that heads are written into, and the tables of
//! headers.
//!
//! A buffer is wanted only in the moment of reading. Each connection having its own would cost an
//! idle one its room, or every request two allocations of a size that the allocator keeps no list
//! of.

use std::cell::RefCell;
use std::io;
use std::mem::take as emptied;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use crate::head::Fields;
use crate::limits::{SPARE_BUFFERS, SPARE_BYTES, SPARE_HEADERS, SPARE_TABLES};

/// Bytes of the buffer: a TLS record and a whole ordinary answer fit.
const ROOM: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM].into_boxed_slice());
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static TABLES: RefCell<Vec<Fields>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer for what is written of a message. Its room goes to the next one when it is
/// dropped: a few dozen requests wait for Proxmox VE at a time, which is more rooms of a size than
/// the allocator has at hand.
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn new() -> Self {
        let spare = BUFFERS.with_borrow_mut(Vec::pop);
        Self(spare.unwrap_or_else(|| Vec::with_capacity(SPARE_BYTES)))
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = emptied(&mut self.0);
        if !(SPARE_BYTES..=4 * SPARE_BYTES).contains(&bytes.capacity()) {
            return;
        }
        // At the end of a thread there may be none to give it to.
        let _ = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < SPARE_BUFFERS {
                bytes.clear();
                buffers.push(bytes);
            }
        });
    }
}

/// Reads what is there behind `input`, which grows by no more than that; 0 at the end of the
/// stream.
pub(crate) fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    input: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        input.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}

/// At most so many of the bytes read. All of them are taken without sharing their room, which
/// leaves none behind in a connection that waits.
pub(crate) fn take(input: &mut BytesMut, most: usize) -> Bytes {
    let taken = match most >= input.len() {
        true => std::mem::take(input),
        false => input.split_to(most),
    };
    taken.freeze()
}

/// An empty table with room for the headers of an ordinary message.
pub(crate) fn headers() -> Fields {
    let spare = TABLES.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| Fields::with_capacity(SPARE_HEADERS))
}

/// Takes back the room of a table that is done with; an outsized one is given up.
pub(crate) fn give_back(mut headers: Fields) {
    if !(SPARE_HEADERS..=2 * SPARE_HEADERS).contains(&headers.capacity()) {
        return;
    }
    TABLES.with_borrow_mut(|tables| {
        if tables.len() < SPARE_TABLES {
            headers.clear();
            tables.push(headers);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::{Buffer, give_back, headers, poll_read};
    use crate::head::Fields;
    use crate::limits::{SPARE_BYTES, SPARE_HEADERS};
    use bytes::BytesMut;
    use http::HeaderValue;
    use http::header::{ACCEPT, HOST};
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_spare_buffer_is_empty_and_no_larger_than_it_may_be() {
        let mut used = Buffer::new();
        used.extend_from_slice(b"secret");
        drop(used);
        assert!(Buffer::new().is_empty());
        let mut outsized = Buffer::new();
        outsized.reserve(5 * SPARE_BYTES);
        drop(outsized);
        assert!(Buffer::new().capacity() <= 4 * SPARE_BYTES);
    }

    #[test]
    fn a_spare_table_is_empty() {
        let mut used = headers();
        used.append(HOST, HeaderValue::from_static("a"));
        used.append(HOST, HeaderValue::from_static("b"));
        give_back(used);
        let mut again = headers();
        assert_eq!(again.len(), 0);
        again.insert(ACCEPT, HeaderValue::from_static("c"));
        assert_eq!(again.len(), 1);
    }

    #[test]
    fn a_table_of_another_size_is_not_kept() {
        give_back(Fields::with_capacity(8 * SPARE_HEADERS));
        assert!(headers().capacity() <= 2 * SPARE_HEADERS);
    }

    #[test]
    fn what_is_read_comes_behind_what_was() {
        let mut input = BytesMut::from("ab");
        let mut stream: &[u8] = b"cd";
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(poll_read(&mut stream, &mut cx, &mut input), Poll::Ready(Ok(2))));
        assert!(matches!(poll_read(&mut stream, &mut cx, &mut input), Poll::Ready(Ok(0))));
        assert_eq!(input, "abcd");
    }
}
