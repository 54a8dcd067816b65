//! The chunked coding of an answer (RFC 9112 §7.1), taken apart as it comes.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of a line that gives a chunk's size, extensions included.
const SIZE_LINE: usize = 256;

/// Bytes of all trailers; they are not passed on.
const TRAILERS: usize = 8 * 1024;

/// Most hex digits of a size: what a u64 holds with room.
const SIZE_DIGITS: usize = 15;

/// Where in the coding the next byte stands.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The line end behind a chunk's data.
    DataEnd,
    /// So many bytes of trailers were read.
    Trailers(usize),
    End,
}

/// What the bytes at hand came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    Data(Bytes),
    /// More bytes are needed.
    More,
    /// The last chunk and its trailers are read; what is left in the buffer is not the body's.
    End,
}

impl Chunked {
    /// Takes the next piece of data out of `input`.
    ///
    /// # Errors
    /// What is no chunk.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> io::Result<Decoded> {
        loop {
            match self.state {
                State::End => return Ok(Decoded::End),
                State::Size => {
                    let Some(line) = take_line(input, SIZE_LINE)? else { return Ok(Decoded::More) };
                    self.state = match size(&line)? {
                        0 => State::Trailers(0),
                        size => State::Data(size),
                    };
                }
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(Decoded::More);
                    }
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let left = left - here as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Decoded::Data(input.split_to(here).freeze()));
                }
                State::DataEnd => match take_line(input, 0)? {
                    Some(_) => self.state = State::Size,
                    None => return Ok(Decoded::More),
                },
                State::Trailers(read) => {
                    let Some(line) = take_line(input, TRAILERS - read)? else {
                        return Ok(Decoded::More);
                    };
                    self.state = match line.len() {
                        0 => State::End,
                        length if read + length > TRAILERS => return Err(broken("trailers")),
                        length => State::Trailers(read + length),
                    };
                }
            }
        }
    }
}

/// Removes a line of at most `limit` bytes, without its CR LF.
fn take_line(input: &mut BytesMut, limit: usize) -> io::Result<Option<BytesMut>> {
    let window = input.get(..input.len().min(limit + 2)).unwrap_or_default();
    let Some(feed) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() == limit + 2 { Err(broken("line")) } else { Ok(None) };
    };
    let mut line = input.split_to(feed);
    input.advance(1);
    if line.last() != Some(&b'\r') {
        return Err(broken("line end"));
    }
    line.truncate(line.len() - 1);
    Ok(Some(line))
}

fn size(line: &[u8]) -> io::Result<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at_checked(end).unwrap_or_default();
    let extension = rest.first().is_none_or(|byte| matches!(byte, b';' | b' ' | b'\t'));
    if !(1..=SIZE_DIGITS).contains(&digits.len()) || !extension {
        return Err(broken("size"));
    }
    let digit = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or_default());
    Ok(digits.iter().fold(0, |sum, byte| sum * 16 + digit(byte)))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("chunked body: bad {what}"))
}

#[cfg(test)]
mod tests {
    use super::{Chunked, Decoded};
    use bytes::BytesMut;
    use proptest::prelude::*;

    /// Feeds `coded` in pieces and returns the data and what was left.
    fn decode(coded: &[u8], piece: usize) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let (mut chunked, mut input, mut data) = (Chunked::default(), BytesMut::new(), Vec::new());
        let mut pieces = coded.chunks(piece.max(1));
        loop {
            match chunked.decode(&mut input)? {
                Decoded::Data(bytes) => data.extend_from_slice(&bytes),
                Decoded::End => {
                    let rest = pieces.flatten();
                    input.extend(rest.copied());
                    return Ok(Some((data, input.to_vec())));
                }
                Decoded::More => match pieces.next() {
                    Some(piece) => input.extend_from_slice(piece),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn data_extensions_and_trailers() {
        let coded = b"4;a=b\r\nWiki\r\n005\r\npedia\r\n0\r\nX: y\r\n\r\nrest";
        for piece in 1..coded.len() {
            let decoded = decode(coded, piece).unwrap().unwrap();
            assert_eq!(decoded, (b"Wikipedia".to_vec(), b"rest".to_vec()), "{piece}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        let long = format!("1;{}\r\n", "x".repeat(300));
        for coded in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x1\r\n",
            "1\nA",
            "1\r\nAB\r\n",
            "1\r\nA\n",
            "1000000000000000\r\n",
            "+1\r\nA\r\n",
            &long,
        ] {
            assert!(decode(coded.as_bytes(), 7).is_err(), "{coded:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_chunked_comes_back(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            piece in 1..50_usize,
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            let decoded = decode(&coded, piece).unwrap().unwrap();
            prop_assert_eq!(decoded, (chunks.concat(), Vec::new()));
        }

        #[test]
        fn never_panics(coded in proptest::collection::vec(any::<u8>(), 0..200), piece in 1..50_usize) {
            let _ = decode(&coded, piece);
        }
    }
}
