//! The head of an answer from upstream.

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::chunked::Chunked;
use super::wire;
use crate::head::{AnswerHead, Fields};
use crate::hygiene;
use crate::limits::{UPSTREAM_HEAD, UPSTREAM_HEADER_LINES};
use crate::reason::Phrase;
use crate::scratch;

/// A parsed head.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    /// Without the headers of the connection.
    pub(crate) head: AnswerHead,
    pub(crate) framing: BodyFraming,
    /// Upstream will take another request after this answer.
    pub(crate) stays_open: bool,
}

/// Where the body ends (RFC 9112 §6.3).
#[derive(Debug)]
pub(crate) enum BodyFraming {
    /// After so many bytes, 0 for none.
    Length(u64),
    Chunked(Chunked),
    /// With the connection.
    Close,
}

/// Takes a head out of `input`; `None` when it is not whole yet.
///
/// # Errors
/// What is wrong with it: upstream is not trusted with the framing of its answers either.
pub(crate) fn parse(input: &mut BytesMut) -> Result<Option<ResponseHead>, &'static str> {
    let Some(end) = wire::head_end(input, 0) else {
        return if input.len() > UPSTREAM_HEAD { Err("its head is too large") } else { Ok(None) };
    };
    let head = input.split_to(end).freeze();
    let mut lines = wire::lines(&head);
    let status = lines.next().ok_or("no status line")?;
    let line = head.get(status.clone()).unwrap_or_default();
    let (old, code, phrase) = status_parts(line).ok_or("no status line")?;

    let mut answer = AnswerHead { headers: scratch::headers(), ..AnswerHead::default() };
    answer.status = StatusCode::from_u16(code).map_err(|_| "no status")?;
    let own = answer.status.canonical_reason().unwrap_or_default();
    if phrase != own.as_bytes() {
        let phrase = Phrase::new(head.slice(status.end - phrase.len()..status.end));
        answer.phrase = Some(phrase.ok_or("control characters in its reason phrase")?);
    }
    let mut connection = Connection::default();
    let mut encodings = Vec::new();
    let mut count = 0;
    for line in lines {
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > UPSTREAM_HEADER_LINES {
            return Err("too many header lines");
        }
        let (name, value) = wire::field(&head, line).ok_or("a header line without a colon")?;
        let name = super::name(head.get(name).unwrap_or_default());
        let name = name.map_err(|_| "a header name that is none")?;
        match name {
            header::CONNECTION => connection.line(head.get(value).unwrap_or_default()),
            header::TRANSFER_ENCODING => encodings.push(head.slice(value)),
            _ if hygiene::is_withheld(&name) => {}
            _ => {
                let value = HeaderValue::from_maybe_shared(head.slice(value));
                let value = value.map_err(|_| "a header value with control characters")?;
                answer.headers.append(name, value);
            }
        }
    }
    let framing = framing(&answer, &encodings)?;
    connection.withhold_nominated(&mut answer.headers);
    let stays_open = connection.stays_open(&framing, old);
    Ok(Some(ResponseHead { head: answer, framing, stays_open }))
}

/// What the Connection lines say. They are upstream's and ours, so neither they nor the headers
/// they name go further (RFC 9110 §7.6.1).
#[derive(Default)]
struct Connection {
    lines: usize,
    closes: bool,
    keeps: bool,
    /// The second line, and so far the last, is just `keep-alive`.
    relayed: bool,
    nominated: Vec<HeaderName>,
}

impl Connection {
    fn line(&mut self, value: &[u8]) {
        self.lines += 1;
        self.relayed = self.lines == 2 && value.eq_ignore_ascii_case(b"keep-alive");
        for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keeps = true;
            } else if let Ok(name) = HeaderName::from_bytes(token) {
                self.nominated.push(name);
            }
        }
    }

    /// Takes the named headers out; the others keep their order.
    fn withhold_nominated(&self, headers: &mut Fields) {
        if !self.nominated.is_empty() {
            headers.retain(|name| !self.nominated.contains(name));
        }
    }

    /// Whether the connection outlives this answer.
    ///
    /// An answer that pveproxy relays from pvedaemon carries two lines, `close` and after it
    /// `Keep-Alive`, and pveproxy keeps the connection open (reference: real-pve.md). Taking the
    /// first for final would cost a TLS handshake after every such call; the length must be
    /// announced, or the end would be the close.
    fn stays_open(&self, framing: &BodyFraming, old: bool) -> bool {
        match (framing, self.closes, self.keeps) {
            (BodyFraming::Close, ..) | (_, true, false) => false,
            (BodyFraming::Length(_), true, true) => self.relayed,
            (_, true, true) => false,
            (_, false, keeps) => keeps || !old,
        }
    }
}

/// Whether the version is HTTP/1.0, the status and the reason of `HTTP/1.x SP status SP reason`.
fn status_parts(line: &[u8]) -> Option<(bool, u16, &[u8])> {
    let (version, rest) = line.split_at_checked(9)?;
    let old = match version {
        b"HTTP/1.1 " => false,
        b"HTTP/1.0 " => true,
        _ => return None,
    };
    let (digits, reason) = rest.split_at_checked(3)?;
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let reason = match reason.split_first() {
        None => reason,
        Some((b' ', reason)) => reason,
        Some(_) => return None,
    };
    digits.iter().all(u8::is_ascii_digit).then_some((old, status, reason))
}

fn framing(answer: &AnswerHead, encodings: &[Bytes]) -> Result<BodyFraming, &'static str> {
    let status = answer.status;
    let bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        return Ok(BodyFraming::Length(0));
    }
    let mut lengths = answer.headers.get_all(header::CONTENT_LENGTH);
    let length = lengths.next().map(|value| wire::content_length(value.as_bytes()));
    match (encodings, length) {
        ([_, ..], Some(_)) => Err("both a length and a transfer encoding"),
        _ if lengths.next().is_some() => Err("two lengths"),
        ([value], None) if value.eq_ignore_ascii_case(b"chunked") => {
            Ok(BodyFraming::Chunked(Chunked::default()))
        }
        ([_, ..], None) => Err("an unknown transfer encoding"),
        ([], Some(Ok(length))) => Ok(BodyFraming::Length(length)),
        ([], Some(Err(_))) => Err("a length that is no number"),
        ([], None) => Ok(BodyFraming::Close),
    }
}

/// The reason phrase to write: the answer's own, else the status'.
pub(super) fn reason(answer: &AnswerHead) -> &[u8] {
    answer.phrase.as_ref().map_or_else(
        || answer.status.canonical_reason().unwrap_or_default().as_bytes(),
        Phrase::as_bytes,
    )
}

#[cfg(test)]
mod tests {
    use super::{BodyFraming, ResponseHead, parse, reason};
    use bytes::BytesMut;
    use proptest::prelude::*;

    fn head(text: &str) -> Result<ResponseHead, &'static str> {
        let mut input = BytesMut::from(text.as_bytes());
        let head = parse(&mut input)?.ok_or("not whole")?;
        assert_eq!(input, "rest");
        Ok(head)
    }

    fn answer(lines: &str) -> Result<ResponseHead, &'static str> {
        head(&format!("HTTP/1.1 200 OK\r\n{lines}\r\nrest"))
    }

    #[test]
    fn the_phrase_is_kept_byte_by_byte() {
        for (line, phrase) in [
            ("HTTP/1.1 200 OK", "OK"),
            (
                "HTTP/1.1 401 permission denied - invalid PVE ticket",
                "permission denied - invalid PVE ticket",
            ),
            ("HTTP/1.0 595 Connection refused", "Connection refused"),
            ("HTTP/1.1 500 Änderung  fehlt ", "Änderung  fehlt "),
            ("HTTP/1.1 500 ", ""),
            ("HTTP/1.1 500", ""),
        ] {
            let head = head(&format!("{line}\r\n\r\nrest")).unwrap();
            assert_eq!(reason(&head.head), phrase.as_bytes(), "{line}");
        }
    }

    #[test]
    fn where_the_body_ends() {
        let framing = |lines| answer(lines).map(|head| format!("{:?}", head.framing));
        assert_eq!(framing("Content-Length: 12\r\n").unwrap(), "Length(12)");
        assert_eq!(framing("").unwrap(), "Close");
        assert!(framing("Transfer-Encoding: Chunked\r\n").unwrap().starts_with("Chunked"));
        for lines in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: -1\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert!(framing(lines).is_err(), "{lines:?}");
        }
        let none = head("HTTP/1.1 304 NOT MODIFIED\r\nContent-Length: 5\r\n\r\nrest").unwrap();
        assert!(matches!(none.framing, BodyFraming::Length(0)));
    }

    #[test]
    fn only_the_pair_of_a_relayed_answer_with_a_length_stays_open_against_close() {
        let stays = |lines: &str| answer(lines).unwrap().stays_open;
        let (close, keep) = ("Connection: close\r\n", "Connection: Keep-Alive\r\n");
        let length = "Content-Length: 1\r\n";
        assert!(stays(&format!("{close}{keep}{length}")));
        assert!(!stays(&format!("{close}{keep}Transfer-Encoding: chunked\r\n")));
        assert!(!stays(&format!("{keep}{close}{length}")));
        assert!(!stays(&format!("{close}{length}")));
        assert!(!stays(&format!("{close}{keep}{close}{length}")));
        assert!(stays(length));
        assert!(!stays(keep));
    }

    #[test]
    fn headers_of_the_connection_do_not_go_further() {
        let head = answer(
            "X-A: 1\r\nConnection: close\r\nX-Hop: 2\r\nConnection: X-Hop, keep-alive\r\nX-B: 3\r\nTransfer-Encoding: chunked\r\n",
        )
        .unwrap();
        let names: Vec<_> = head.head.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-a", "x-b"]);
        assert!(!head.stays_open);
    }

    #[test]
    fn http_1_0_closes_unless_it_says_otherwise() {
        let stays = |lines: &str| {
            head(&format!("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n{lines}\r\nrest"))
                .unwrap()
                .stays_open
        };
        assert!(!stays(""));
        assert!(stays("Connection: keep-alive\r\n"));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for text in [
            "HTTP/2 200 OK\r\n\r\nrest",
            "HTTP/1.1 20 OK\r\n\r\nrest",
            "HTTP/1.1 2000 OK\r\n\r\nrest",
            "HTTP/1.1 +20 OK\r\n\r\nrest",
            "nonsense\r\n\r\nrest",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\nrest",
            "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\nrest",
            "HTTP/1.1 200 a\0b\r\n\r\nrest",
        ] {
            assert!(head(text).is_err(), "{text:?}");
        }
        assert!(answer(&"a: b\r\n".repeat(200)).is_err());
        assert!(parse(&mut BytesMut::from("x".repeat(70_000).as_bytes())).is_err());
        assert!(parse(&mut BytesMut::from("HTTP/1.1 200 OK\r\n")).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&mut BytesMut::from(&bytes[..]));
        }
    }
}
