//! Request line and header lines, by the rules of `PVE::APIServer::AnyEvent`.

use crate::limits::{HEADER_BYTES, HEADER_LINES, REQUEST_LINE_BYTES};

/// What a buffer holds so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// One whole head; the body starts at `consumed`.
    Head { head: Head, consumed: usize },
    /// The genuine server refuses here with this status and text.
    Refused(Fault),
    /// The genuine server logs a warning, stops reading and closes when idle.
    Silence,
}

/// A refusal before a request exists; `proto` is what the status line begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) proto: &'static str,
    pub(crate) status: u16,
    pub(crate) message: String,
}

/// A request without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// The request target as sent.
    pub(crate) target: String,
    /// `HTTP/1.0` or `HTTP/1.1` (any 1.x is echoed as the two known ones).
    pub(crate) minor: u8,
    /// Names and values in order; continuation lines are joined by one blank.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// All values of `name`, joined by `, ` as `HTTP::Headers` does in scalar context.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut values = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str());
        let first = values.next()?;
        Some(values.fold(first.to_owned(), |joined, value| joined + ", " + value))
    }

    /// The start of the status line for answers to this request.
    pub(crate) fn proto(&self) -> &'static str {
        if self.minor == 0 { "HTTP/1.0" } else { "HTTP/1.1" }
    }

    /// Path and query of the target. Two slashes begin an authority, after a scheme and
    /// without one, and the authority is not part of the path.
    pub(crate) fn path_and_query(&self) -> (&str, Option<&str>) {
        let scheme_end = self.target.find("://").filter(|_| !self.target.starts_with('/'));
        let after_scheme = scheme_end.and_then(|end| self.target.get(end + 1..));
        let target = after_scheme.unwrap_or(&self.target);
        let target = match target.strip_prefix("//") {
            Some(rest) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
            None => target,
        };
        let target = target.split('#').next().unwrap_or_default();
        match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        }
    }
}

/// Reads one head from the start of `buffer`. Lines end with LF, a CR before it is dropped;
/// empty lines before the request line are skipped, as browsers once sent them.
pub(crate) fn read_head(buffer: &[u8]) -> Parsed {
    let mut lines = Lines { buffer, at: 0 };
    let request_line = loop {
        match lines.next() {
            Some([]) => {}
            Some(line) => break line,
            None if buffer.len() > REQUEST_LINE_BYTES => return Parsed::Silence,
            None => return Parsed::Incomplete,
        }
    };
    let (method, target, minor) = match request_line_parts(&text(request_line)) {
        Ok(parts) => parts,
        Err(fault) => return Parsed::Refused(fault),
    };
    let proto = if minor == 0 { "HTTP/1.0" } else { "HTTP/1.1" };

    let mut headers: Vec<(String, String)> = Vec::new();
    let mut size = 0;
    for count in 1.. {
        let Some(line) = lines.next() else {
            let pending = buffer.len() - lines.at;
            return if size + pending >= 2 * HEADER_BYTES {
                Parsed::Silence
            } else {
                Parsed::Incomplete
            };
        };
        size += line.len();
        if count >= HEADER_LINES || size >= HEADER_BYTES {
            return Parsed::Silence;
        }
        if line.is_empty() {
            break;
        }
        let line = text(line);
        if let Some((name, value)) = header_parts(&line) {
            headers.push((name.to_owned(), value.to_owned()));
        } else if let Some(rest) = continuation(&line) {
            if let Some((_, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(rest);
            }
        } else {
            let message = "unable to parse request header".to_owned();
            return Parsed::Refused(Fault { proto, status: 506, message });
        }
    }
    Parsed::Head { head: Head { method, target, minor, headers }, consumed: lines.at }
}

/// `METHOD SP TARGET SP HTTP/x.y` anywhere in the line, as the unanchored pattern there finds it.
fn request_line_parts(line: &str) -> Result<(String, String, u8), Fault> {
    let refused = |status, message: String| Fault { proto: "HTTP/1.0", status, message };
    let bad_request = || refused(400, "bad request".to_owned());
    let at = line.rfind(" HTTP/").ok_or_else(bad_request)?;
    let version = line.get(at + 6..).unwrap_or_default();
    let before = line.get(..at).unwrap_or_default();
    let mut words = before.rsplitn(3, ' ');
    let target = words.next().unwrap_or_default();
    let method = words.next().unwrap_or_default();
    let method = method.rsplit(char::is_whitespace).next().unwrap_or_default();
    if target.is_empty() || method.is_empty() || target.contains(char::is_whitespace) {
        return Err(bad_request());
    }
    let (major, rest) = version.split_once('.').ok_or_else(bad_request)?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    if minor.is_empty() || major.is_empty() || !major.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad_request());
    }
    if major != "1" {
        return Err(refused(506, format!("http protocol version {major}.{minor} not supported")));
    }
    let authority = target.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(refused(400, "invalid url".to_owned()));
    }
    Ok((method.to_owned(), target.to_owned(), u8::from(minor != "0")))
}

/// `name : value` with blanks allowed on both sides of the colon.
fn header_parts(line: &str) -> Option<(&str, &str)> {
    let end = line.find(|c: char| c == ':' || c.is_ascii_whitespace())?;
    let name = line.get(..end).filter(|name| !name.is_empty())?;
    let value = line.get(end..)?.trim_start().strip_prefix(':')?;
    Some((name, value.trim_start()))
}

fn continuation(line: &str) -> Option<&str> {
    line.starts_with([' ', '\t']).then(|| line.trim_start())
}

/// Header bytes are Latin-1 on this wire; every byte is one character.
fn text(line: &[u8]) -> String {
    match std::str::from_utf8(line) {
        Ok(text) => text.to_owned(),
        Err(_) => line.iter().copied().map(char::from).collect(),
    }
}

struct Lines<'b> {
    buffer: &'b [u8],
    at: usize,
}

impl<'b> Iterator for Lines<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let rest = self.buffer.get(self.at..)?;
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        self.at += end + 1;
        let line = rest.get(..end)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(bytes: &str) -> Head {
        match read_head(bytes.as_bytes()) {
            Parsed::Head { head, .. } => head,
            other => panic!("{other:?}"),
        }
    }

    fn refused(bytes: &str) -> (u16, String) {
        match read_head(bytes.as_bytes()) {
            Parsed::Refused(fault) => (fault.status, fault.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn odd_but_accepted() {
        let head = head("\r\n\nGET /x?a=b HTTP/1.0\nHost : a\n b\nB:c\n\nrest");
        assert_eq!(head.headers, [("Host".into(), "a b".into()), ("B".into(), "c".into())]);
        assert_eq!(head.proto(), "HTTP/1.0");
        assert_eq!(head.path_and_query(), ("/x", Some("a=b")));
    }

    #[test]
    fn refusals_have_the_genuine_texts() {
        assert_eq!(refused("NONSENSE\r\n"), (400, "bad request".into()));
        assert_eq!(refused("GET u@x/api2 HTTP/1.1\r\n"), (400, "invalid url".into()));
        let version = refused("GET / HTTP/2.0\r\n");
        assert_eq!(version, (506, "http protocol version 2.0 not supported".into()));
        let header = refused("GET / HTTP/1.1\r\nno colon here\r\n\r\n");
        assert_eq!(header, (506, "unable to parse request header".into()));
    }

    #[test]
    fn an_at_sign_after_the_first_slash_is_a_path() {
        assert_eq!(head("GET /users/a@pve HTTP/1.1\n\n").target, "/users/a@pve");
    }

    #[test]
    fn the_64th_line_and_the_8192nd_byte_meet_silence() {
        let fits = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(62));
        assert!(matches!(read_head(fits.as_bytes()), Parsed::Head { .. }));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(63));
        assert_eq!(read_head(many.as_bytes()), Parsed::Silence);
        let large = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(8189));
        assert_eq!(read_head(large.as_bytes()), Parsed::Silence);
    }

    #[test]
    fn repeated_headers_join() {
        let head = head("GET / HTTP/1.1\nCookie: a=b\nCookie: c=d\n\n");
        assert_eq!(head.header("cookie").as_deref(), Some("a=b, c=d"));
    }

    #[test]
    fn absolute_form_loses_its_authority() {
        let head = head("GET https://127.0.0.1:8006/api2/json?x HTTP/1.1\n\n");
        assert_eq!(head.path_and_query(), ("/api2/json", Some("x")));
        assert_eq!(self::head("GET //api2/json HTTP/1.1\n\n").path_and_query(), ("/json", None));
        assert_eq!(self::head("GET // HTTP/1.1\n\n").path_and_query(), ("", None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Parsed::Head { consumed, .. } = read_head(&bytes) {
                prop_assert!(consumed <= bytes.len());
            }
        }

        #[test]
        fn a_written_head_reads_back(
            names in prop::collection::vec("[A-Za-z-]{1,12}", 0..20),
            value in "[!-~]{0,30}",
        ) {
            let mut wire = String::from("PUT /p HTTP/1.1\r\n");
            for name in &names {
                wire += &format!("{name}: {value}\r\n");
            }
            wire += "\r\n";
            let head = head(&wire);
            prop_assert_eq!(head.headers.len(), names.len());
            prop_assert!(head.headers.iter().all(|(_, read)| *read == value));
        }
    }
}
