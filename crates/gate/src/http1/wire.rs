//! The request head of HTTP/1 as bytes, judged before anything is made of it.
//!
//! pveproxy takes a bare LF for a line end, a space before the colon, two Content-Length
//! lines and a Transfer-Encoding it does not implement. Each is half of a request-smuggling
//! pair, so the whole head is checked here against the grammar of RFC 9112 without any of its
//! leniencies, and nothing of a refused one goes further.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

use crate::limits::{HEAD_BYTES, HEAD_LINES};
use crate::refusal::Refusal;

/// Most digits of a Content-Length: what an i64 holds with room to add.
const LENGTH_DIGITS: usize = 18;

/// A well-formed head: what it says about the bytes after it, and where its parts are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Bytes of body that follow.
    pub(crate) body: u64,
    /// The client waits for a 100 before it sends the body.
    pub(crate) expect: bool,
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    /// HTTP/1.0.
    pub(super) old: bool,
}

/// Name and value of a header line, blanks around the value left out.
pub(super) type Field = (Range<usize>, Range<usize>);

/// Where the head in `buf` ends, looking from `from` on: after the first blank line, be it
/// written with CR or without ([`check`] tells them apart).
pub(crate) fn head_end(buf: &[u8], from: usize) -> Option<usize> {
    // A blank line may begin up to three bytes before what is new.
    let from = from.saturating_sub(3);
    let rest = buf.get(from..)?;
    memchr_iter(b'\n', rest).find_map(|feed| match rest.get(feed + 1..)? {
        [b'\n', ..] => Some(from + feed + 2),
        [b'\r', b'\n', ..] => Some(from + feed + 3),
        _ => None,
    })
}

/// Judges one head, blank line included.
pub(crate) fn check(head: &[u8]) -> Result<Checked, Refusal> {
    read(head, |_| Ok(()))
}

/// The same; each header line that is in order is shown to `see`, which may refuse it too. What it
/// has seen is worth nothing when the head is refused for a later line.
pub(super) fn read(
    head: &[u8],
    mut see: impl FnMut(Field) -> Result<(), Refusal>,
) -> Result<Checked, Refusal> {
    if head.len() > HEAD_BYTES {
        return Err(Refusal::HeadTooLarge);
    }
    let mut lines = Lines { head, at: 0 };
    let request = lines.next().ok_or(Refusal::RequestLine)??;
    let mut seen = Seen::default();
    let line = head.get(request).unwrap_or_default();
    seen.request_line(line).map_err(|refusal| unless_torn(line, refusal))?;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if seen.lines == HEAD_LINES {
            return Err(Refusal::HeadTooLarge);
        }
        seen.lines += 1;
        see(seen.header(head, line)?)?;
    }
    match seen.encoding {
        Some(value) => Err(Refusal::Encoding(value)),
        None => Ok(seen.head),
    }
}

/// The lines of a head, line ends left out; the last is empty.
pub(crate) fn lines(head: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = head.get(at..)?;
        let feed = memchr(b'\n', rest)?;
        let line = at..at + feed;
        at += feed + 1;
        let carriage = feed > 0 && rest.get(feed - 1) == Some(&b'\r');
        Some(if carriage { line.start..line.end - 1 } else { line })
    })
}

/// Name and value of a header line, blanks around the value left out.
pub(super) fn field(head: &[u8], line: Range<usize>) -> Option<Field> {
    let bytes = head.get(line.clone())?;
    // Names are short: for them a search made for long texts is the slower one.
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let value = trimmed(head, line.start + colon + 1..line.end);
    Some((line.start..line.start + colon, value))
}

fn trimmed(head: &[u8], value: Range<usize>) -> Range<usize> {
    let bytes = head.get(value.clone()).unwrap_or_default();
    let left = bytes.iter().take_while(|byte| is_blank(**byte)).count();
    let right = bytes.iter().rev().take_while(|byte| is_blank(**byte)).count();
    let start = value.start + left;
    start..value.end.saturating_sub(right).max(start)
}

/// The Host line and the request line's method and target, of a head [`check`] accepted.
/// For the answer to clear text on the TLS port.
pub(crate) fn method_target_host(head: &[u8]) -> Option<(&str, &str, &str)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut request = lines.next()?.split(' ');
    let (method, target) = (request.next()?, request.next()?);
    let host = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))?
        .1;
    Some((method, target, host.trim_matches([' ', '\t'])))
}

/// Lines, each checked to end in CR LF. A CR anywhere else in one is refused as what no line holds.
struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = Result<Range<usize>, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.head.get(self.at..)?;
        let feed = memchr(b'\n', rest)?;
        let start = self.at;
        self.at += feed + 1;
        Some(match rest.get(..feed) {
            Some([line @ .., b'\r']) => Ok(start..start + line.len()),
            _ => Err(Refusal::LineEnding),
        })
    }
}

/// Why a line is refused: where a CR stands in it, for that before all else.
fn unless_torn(line: &[u8], refusal: Refusal) -> Refusal {
    if line.contains(&b'\r') { Refusal::LineEnding } else { refusal }
}

/// Why a line does not begin with a name and a colon.
fn nameless(line: &[u8]) -> Refusal {
    let name = memchr(b':', line).and_then(|colon| line.get(..colon));
    match (line, name) {
        ([first, ..], _) if is_blank(*first) => Refusal::Folding,
        (_, Some([.., last])) if is_blank(*last) => Refusal::HeaderName,
        _ => Refusal::HeaderLine,
    }
}

/// Origin form, or absolute form without user information. A fragment never belongs on the
/// wire and a parser of URLs would cut it off in silence.
fn check_target(target: &[u8]) -> Result<(), Refusal> {
    let hidden = |byte: u8| !byte.is_ascii_graphic() || byte == b'#';
    if target.iter().fold(false, |found, byte| found | hidden(*byte)) {
        return Err(Refusal::Url);
    }
    if target.starts_with(b"/") {
        return Ok(());
    }
    let authority = strip_prefix_ignore_case(target, b"https://")
        .or_else(|| strip_prefix_ignore_case(target, b"http://"))
        .and_then(|rest| rest.split(|byte| matches!(byte, b'/' | b'?')).next());
    match authority {
        Some(authority) if !authority.is_empty() && !authority.contains(&b'@') => Ok(()),
        _ => Err(Refusal::Url),
    }
}

fn strip_prefix_ignore_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// What was seen of a head so far, among it the headers that decide where the message ends or
/// whom it is for.
#[derive(Default)]
struct Seen {
    head: Checked,
    lines: usize,
    length: bool,
    host: bool,
    encoding: Option<String>,
}

impl Seen {
    /// `METHOD SP target SP HTTP/1.x`, single spaces, visible ASCII (RFC 9112 §3).
    fn request_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let mut spaces = memchr_iter(b' ', line);
        let (Some(first), Some(second), None) = (spaces.next(), spaces.next(), spaces.next())
        else {
            return Err(Refusal::RequestLine);
        };
        (self.head.method, self.head.target) = (0..first, first + 1..second);
        let part = |range: Range<usize>| line.get(range).unwrap_or_default();
        let method = part(self.head.method.clone());
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(Refusal::RequestLine);
        }
        match part(second + 1..line.len()) {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.head.old = true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                let version = format!("{}.{}", char::from(*major), char::from(*minor));
                return Err(Refusal::Version(version));
            }
            _ => return Err(Refusal::RequestLine),
        }
        check_target(part(self.head.target.clone()))
    }

    fn header(&mut self, head: &[u8], line: Range<usize>) -> Result<Field, Refusal> {
        let bytes = head.get(line.clone()).unwrap_or_default();
        // The name ends where something stands that no name holds: that has to be the colon.
        let colon = bytes.iter().position(|byte| !is_token(*byte)).unwrap_or_default();
        let Some((name, [b':', ..])) = bytes.split_at_checked(colon).filter(|_| colon > 0) else {
            return Err(unless_torn(bytes, nameless(bytes)));
        };
        let value = trimmed(head, line.start + colon + 1..line.end);
        let text = head.get(value.clone()).unwrap_or_default();
        // Every byte is looked at, whatever the first ones are: so it is done many at a time.
        if text.iter().fold(false, |found, byte| found | is_control(*byte)) {
            return Err(unless_torn(text, Refusal::HeaderValue));
        }
        self.framing_header(name, text)?;
        Ok((line.start..line.start + colon, value))
    }

    /// Only names of these lengths matter here; the others pass at once.
    fn framing_header(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host {
                    return Err(Refusal::Host);
                }
                self.host = true;
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.head.expect |= value.eq_ignore_ascii_case(b"100-continue");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length {
                    return Err(Refusal::Length);
                }
                self.length = true;
                self.head.body = content_length(value)?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let visible = value.iter().filter(|byte| byte.is_ascii_graphic());
                self.encoding = Some(visible.map(|byte| char::from(*byte)).collect());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Digits and nothing else (RFC 9110 §8.6): no sign, no list, no blank inside.
pub(super) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    if value.is_empty() || value.len() > LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::Length);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Control characters except the tab, which RFC 9110 §5.5 allows in a value.
fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or_default()
}

/// A table: this is asked for every byte of every header name.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b'0';
    while byte <= b'z' {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::{Checked, check, head_end, method_target_host};
    use crate::limits::HEAD_LINES;
    use crate::refusal::Refusal;
    use proptest::prelude::*;

    fn ok(head: &str) -> Checked {
        check(head.as_bytes()).unwrap()
    }

    fn refused(head: &str) -> Refusal {
        check(head.as_bytes()).unwrap_err()
    }

    #[test]
    fn ordinary_heads_pass() {
        let get = ok("GET /api2/json/version HTTP/1.1\r\nHost:  a\t\r\n\r\n");
        assert_eq!(get, Checked { method: 0..3, target: 4..22, ..Checked::default() });
        let put = ok("PUT / HTTP/1.1\r\nX:\r\nexpect: 100-continue\r\nContent-Length: 9 \r\n\r\n");
        assert_eq!(put.body, 9);
        assert!(put.expect);
        ok("GET https://127.0.0.1:8006/api2 HTTP/1.0\r\n\r\n");
    }

    #[test]
    fn what_the_genuine_server_refuses_is_refused_with_its_words() {
        assert_eq!(refused("NONSENSE\r\n\r\n"), Refusal::RequestLine);
        assert_eq!(refused("GET / HTTP/2.0\r\n\r\n"), Refusal::Version("2.0".into()));
        assert_eq!(refused("GET / HTTP/1.1\r\nno colon here\r\n\r\n"), Refusal::HeaderLine);
        for target in ["user@evil/api2", "https://u@h/", "https:///x", "h:443", "/a#b", "*"] {
            assert_eq!(
                refused(&format!("GET {target} HTTP/1.1\r\n\r\n")),
                Refusal::Url,
                "{target}"
            );
        }
    }

    #[test]
    fn what_smuggling_is_made_of_is_refused() {
        let cases = [
            ("Content-Length: 3\r\nContent-Length: 5", Refusal::Length),
            ("Content-Length: 3\r\nContent-Length: 3", Refusal::Length),
            ("Content-Length: 3, 5", Refusal::Length),
            ("Content-Length: +3", Refusal::Length),
            ("Content-Length: -1", Refusal::Length),
            ("Content-Length: 0x3", Refusal::Length),
            ("Content-Length: 3 3", Refusal::Length),
            ("Content-Length: 99999999999999999999", Refusal::Length),
            ("Content-Length:", Refusal::Length),
            ("Content-Length : 3", Refusal::HeaderName),
            ("Content-Length\t: 3", Refusal::HeaderName),
            (" Content-Length: 3", Refusal::Folding),
            ("X: a\r\n Content-Length: 3", Refusal::Folding),
            ("X: a\r\n\tb", Refusal::Folding),
            ("X: a\nContent-Length: 3", Refusal::LineEnding),
            ("X: a\rContent-Length: 3", Refusal::LineEnding),
            ("X: a\0b", Refusal::HeaderValue),
            ("X: a\x0bb", Refusal::HeaderValue),
            ("Content Length: 3", Refusal::HeaderLine),
            (": 3", Refusal::HeaderLine),
            ("Host: a\r\nhost: b", Refusal::Host),
            ("Transfer-Encoding: chunked", Refusal::Encoding("chunked".into())),
            ("transfer-encoding: xchunked", Refusal::Encoding("xchunked".into())),
            ("Transfer-Encoding: \x0bchunked", Refusal::HeaderValue),
            (
                "Content-Length: 3\r\nTransfer-Encoding: chunked",
                Refusal::Encoding("chunked".into()),
            ),
        ];
        for (lines, refusal) in cases {
            let head = format!("POST / HTTP/1.1\r\n{lines}\r\n\r\n");
            assert_eq!(refused(&head), refusal, "{lines:?}");
        }
        assert_eq!(refused("GET / HTTP/1.1\n\n"), Refusal::LineEnding);
        assert_eq!(refused("GET  / HTTP/1.1\r\n\r\n"), Refusal::RequestLine);
        assert_eq!(refused("GET\t/ HTTP/1.1\r\n\r\n"), Refusal::RequestLine);
    }

    #[test]
    fn one_line_more_than_the_limit_is_refused() {
        let lines = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(count));
        ok(&lines(HEAD_LINES));
        assert_eq!(refused(&lines(HEAD_LINES + 1)), Refusal::HeadTooLarge);
    }

    #[test]
    fn the_end_is_found_wherever_reads_are_cut() {
        let head = b"GET / HTTP/1.1\r\nX: a\r\n\r\nrest";
        for cut in 0..head.len() {
            let end = match head_end(&head[..cut], 0) {
                Some(end) => end,
                None => head_end(head, cut).unwrap(),
            };
            assert_eq!(end, head.len() - 4, "cut at {cut}");
        }
        assert_eq!(head_end(b"a\n\nb", 0), Some(3));
        assert_eq!(head_end(b"a\r\n\nb", 0), Some(4));
        assert_eq!(head_end(b"a\n\r\nb", 0), Some(4));
    }

    #[test]
    fn the_redirect_reads_what_it_needs() {
        let head = b"POST /x?y=1 HTTP/1.1\r\nA: b\r\nhost:  h:8006\t\r\n\r\n";
        assert_eq!(method_target_host(head), Some(("POST", "/x?y=1", "h:8006")));
    }

    proptest! {
        #[test]
        fn never_panics(head in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = head_end(&head, 0);
            let _ = check(&head);
            let _ = method_target_host(&head);
        }

        /// A foreign parser accepts whatever is accepted here, ends it at the same byte and
        /// sees the same lines: the two can not disagree on where a message ends.
        #[test]
        fn a_foreign_parser_agrees(
            method in "[A-Za-z!#-]{1,8}",
            target in "/[!-~]{0,30}",
            lines in proptest::collection::vec("[ -~\t\r\n\u{e9}]{0,24}", 0..8),
            named in proptest::sample::select(vec!["", "Content-Length: 12\r\n", "Expect: 100-continue\r\n"]),
        ) {
            let head = format!("{method} {target} HTTP/1.1\r\n{named}{}\r\n\r\n", lines.join("\r\n"));
            let Some(end) = head_end(head.as_bytes(), 0) else { return Ok(()) };
            let head = &head.as_bytes()[..end];
            if let Ok(checked) = check(head) {
                let mut headers = [httparse::EMPTY_HEADER; 64];
                let mut request = httparse::Request::new(&mut headers);
                let parsed = request.parse(head);
                prop_assert_eq!(parsed, Ok(httparse::Status::Complete(end)));
                let length = request.headers.iter()
                    .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                    .map_or(0, |header| std::str::from_utf8(header.value).unwrap().parse().unwrap());
                prop_assert_eq!(checked.body, length);
            }
        }
    }
}
