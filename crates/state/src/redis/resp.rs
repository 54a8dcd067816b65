//! The protocol, RESP2: requests are arrays of byte strings, answers are one value.
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>
//!
//! An answer is read as it comes in, in pieces of any size, and never holds more than
//! [`ANSWER_BYTES`] and [`ANSWER_VALUES`]: what a server says a length is costs nothing until the
//! bytes are there.

use std::fmt::Write as _;

use crate::limits::{ANSWER_BYTES, ANSWER_DEPTH, ANSWER_LINE, ANSWER_VALUES};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+OK`.
    Simple(String),
    /// `-ERR …`, cut and without control characters.
    Error(String),
    /// `:7`.
    Integer(i64),
    /// `$3`, any bytes.
    Bulk(Vec<u8>),
    /// `*2`.
    Array(Vec<Reply>),
    /// `$-1` or `*-1`.
    Nil,
}

/// What is no answer, or more than one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the answer is no RESP; is this a Redis server?")]
    Syntax,
    #[error("the answer is larger than {ANSWER_BYTES} bytes or {ANSWER_VALUES} values")]
    TooLarge,
}

/// A request.
#[derive(Default)]
pub(crate) struct Command {
    bytes: Vec<u8>,
    words: usize,
}

impl Command {
    pub(crate) fn new(words: &[&[u8]]) -> Self {
        words.iter().fold(Self::default(), |command, word| command.with(word))
    }

    pub(crate) fn with(mut self, word: &[u8]) -> Self {
        self.push(word);
        self
    }

    pub(crate) fn push(&mut self, word: &[u8]) {
        let mut head = String::new();
        // Writing to a String does not fail.
        let _ = write!(head, "${}\r\n", word.len());
        self.bytes.extend_from_slice(head.as_bytes());
        self.bytes.extend_from_slice(word);
        self.bytes.extend_from_slice(b"\r\n");
        self.words += 1;
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", self.words).into_bytes();
        bytes.extend_from_slice(&self.bytes);
        bytes
    }
}

/// Reads answers.
#[derive(Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are read.
    at: usize,
    /// Arrays that are not complete, each with the number of values that are missing.
    open: Vec<(usize, Vec<Reply>)>,
    values: usize,
    bytes: usize,
}

impl Decoder {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next answer, if it is there.
    ///
    /// # Errors
    /// [`Malformed`]; nothing that follows can be read.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, Malformed> {
        loop {
            let Some((token, used)) = token(self.buffer.get(self.at..).unwrap_or_default())? else {
                let waiting = self.buffer.len() - self.at;
                let fits = self.bytes + waiting <= ANSWER_BYTES;
                return if fits { Ok(None) } else { Err(Malformed::TooLarge) };
            };
            self.at += used;
            self.bytes += used;
            self.values += 1;
            if self.bytes > ANSWER_BYTES || self.values > ANSWER_VALUES {
                return Err(Malformed::TooLarge);
            }
            let reply = match token {
                Token::Value(reply) => reply,
                Token::Array(0) => Reply::Array(Vec::new()),
                Token::Array(length) if self.open.len() < ANSWER_DEPTH => {
                    self.open.push((length, Vec::new()));
                    continue;
                }
                Token::Array(_) => return Err(Malformed::TooLarge),
            };
            if let Some(answer) = self.close(reply) {
                (self.values, self.bytes) = (0, 0);
                return Ok(Some(answer));
            }
        }
    }

    /// Puts a value into the array it belongs to, and those that are complete by it into theirs.
    fn close(&mut self, mut reply: Reply) -> Option<Reply> {
        loop {
            let Some((missing, values)) = self.open.last_mut() else { return Some(reply) };
            values.push(reply);
            *missing -= 1;
            if *missing > 0 {
                return None;
            }
            reply = Reply::Array(self.open.pop()?.1);
        }
    }
}

enum Token {
    Value(Reply),
    Array(usize),
}

/// One value, or the head of an array, with the bytes it takes. None: more have to come.
fn token(bytes: &[u8]) -> Result<Option<(Token, usize)>, Malformed> {
    let head = bytes.get(..bytes.len().min(ANSWER_LINE)).unwrap_or_default();
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < ANSWER_LINE { Ok(None) } else { Err(Malformed::Syntax) };
    };
    let (kind, line) = head.get(..end).and_then(<[u8]>::split_first).ok_or(Malformed::Syntax)?;
    let used = end + 2;
    let value = match kind {
        b'+' => Reply::Simple(plain(line)),
        b'-' => Reply::Error(plain(line)),
        b':' => Reply::Integer(number(line)?),
        b'$' => match length(line)? {
            None => Reply::Nil,
            Some(length) => {
                let Some(rest) = bytes.get(used..used + length + 2) else { return Ok(None) };
                let value = rest.strip_suffix(b"\r\n").ok_or(Malformed::Syntax)?;
                let value = Token::Value(Reply::Bulk(value.to_vec()));
                return Ok(Some((value, used + length + 2)));
            }
        },
        b'*' => match length(line)? {
            None => Reply::Nil,
            Some(length) => return Ok(Some((Token::Array(length), used))),
        },
        _ => return Err(Malformed::Syntax),
    };
    Ok(Some((Token::Value(value), used)))
}

/// -1 is none. More than an answer may hold is refused before anything is kept for it.
fn length(line: &[u8]) -> Result<Option<usize>, Malformed> {
    match number(line)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| Malformed::Syntax)?;
            if length > ANSWER_BYTES { Err(Malformed::TooLarge) } else { Ok(Some(length)) }
        }
    }
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(line).ok().filter(|_| plain);
    text.and_then(|text| text.parse().ok()).ok_or(Malformed::Syntax)
}

/// For people: a server may write anything into its errors.
fn plain(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(reply: &Reply, out: &mut Vec<u8>) {
        match reply {
            Reply::Simple(text) => out.extend(format!("+{text}\r\n").bytes()),
            Reply::Error(text) => out.extend(format!("-{text}\r\n").bytes()),
            Reply::Integer(number) => out.extend(format!(":{number}\r\n").bytes()),
            Reply::Nil => out.extend(b"$-1\r\n"),
            Reply::Bulk(bytes) => {
                out.extend(format!("${}\r\n", bytes.len()).bytes());
                out.extend(bytes);
                out.extend(b"\r\n");
            }
            Reply::Array(values) => {
                out.extend(format!("*{}\r\n", values.len()).bytes());
                values.iter().for_each(|value| write(value, out));
            }
        }
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            "[ -~]{0,20}".prop_map(Reply::Simple),
            "[ -~]{0,20}".prop_map(Reply::Error),
            any::<i64>().prop_map(Reply::Integer),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(Reply::Bulk),
            Just(Reply::Nil),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(Reply::Array)
        })
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Reply>, Malformed> {
        let (mut decoder, mut replies) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            decoder.push(piece);
            while let Some(reply) = decoder.next()? {
                replies.push(reply);
            }
        }
        Ok(replies)
    }

    proptest! {
        #[test]
        fn answers_are_read_back_in_pieces_of_any_size(
            replies in prop::collection::vec(reply(), 0..4), piece in 1..40_usize,
        ) {
            let mut bytes = Vec::new();
            replies.iter().for_each(|reply| write(reply, &mut bytes));
            prop_assert_eq!(read(&bytes, piece), Ok(replies));
        }

        #[test]
        fn no_bytes_break_it(bytes in "[*$:+-]?[0-9*$:\r\n-]{0,40}", piece in 1..9_usize) {
            let _ = read(bytes.as_bytes(), piece);
        }

        #[test]
        fn a_request_is_an_array_of_strings(words in prop::collection::vec(any::<Vec<u8>>(), 1..4)) {
            let command = words.iter().fold(Command::default(), |command, word| command.with(word));
            let array = Reply::Array(words.into_iter().map(Reply::Bulk).collect());
            prop_assert_eq!(read(&command.to_bytes(), 7), Ok(vec![array]));
        }
    }

    #[test]
    fn what_promises_too_much_is_refused_before_it_comes() {
        for (bytes, error) in [
            ("$99999999999\r\n".to_owned(), Malformed::TooLarge),
            ("*99999999999\r\n".to_owned(), Malformed::TooLarge),
            ("*1\r\n".repeat(ANSWER_DEPTH + 1), Malformed::TooLarge),
            (format!("*{ANSWER_BYTES}\r\n") + &":1\r\n".repeat(ANSWER_VALUES), Malformed::TooLarge),
            ("+".to_owned() + &"a".repeat(ANSWER_LINE), Malformed::Syntax),
            ("HTTP/1.1 400 Bad Request\r\n".to_owned(), Malformed::Syntax),
            ("$-2\r\n".to_owned(), Malformed::Syntax),
            ("$+1\r\n".to_owned(), Malformed::Syntax),
            ("\r\n".to_owned(), Malformed::Syntax),
            ("$1\r\nabc".to_owned(), Malformed::Syntax),
        ] {
            assert_eq!(read(bytes.as_bytes(), 4096), Err(error), "{bytes:.40}");
        }
    }

    #[test]
    fn an_error_is_a_line_for_people() {
        let read = read(b"-ERR a\x1b[31mb\r\n", 99).unwrap();
        assert_eq!(read, [Reply::Error("ERR a[31mb".into())]);
    }
}
