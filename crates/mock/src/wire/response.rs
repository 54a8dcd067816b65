//! Answers in the genuine server's bytes: its header order, its `Connection` lines, its lengths.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use telemetry::HttpDate;

use super::websocket::Upgrade;
use crate::faults::Delivery;
use crate::limits::COMPRESS_ABOVE;

/// An answer before it meets the connection.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The text of the status line; only its first line is sent.
    pub(crate) reason: Box<str>,
    pub(crate) content_type: Option<Box<str>>,
    pub(crate) location: Option<Box<str>>,
    /// `Content-Disposition`, of what is to be saved.
    pub(crate) disposition: Option<Box<Disposition>>,
    pub(crate) body: Vec<u8>,
    /// Answered by the privileged daemon: such answers carry a `Connection: close` of its own.
    pub(crate) relayed: bool,
    /// The answer waits until the deliberate delay of failed authentication has passed.
    pub(crate) delayed: bool,
    /// Instead of this answer the connection is switched to a websocket.
    pub(crate) upgrade: Option<Box<Upgrade>>,
    /// A fault in how it leaves.
    pub(crate) delivery: Option<Box<Delivery>>,
    /// Seconds since 1970; such an answer may be cached, all others say that they may not.
    pub(crate) last_modified: Option<u64>,
    /// Of a kind that is compressed already.
    pub(crate) incompressible: bool,
}

/// Value of a header that few answers have; boxed, or all of them were larger for it.
#[derive(Debug, Clone)]
pub(crate) struct Disposition(pub(crate) String);

/// What the body is called on the wire.
pub(crate) struct Payload {
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

/// What the connection contributes to an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    pub(crate) proto: &'static str,
    pub(crate) keep_alive: bool,
    pub(crate) gzip: bool,
    pub(crate) deflate: bool,
    /// Seconds since 1970 for `Date` and `Expires`.
    pub(crate) now: u64,
}

impl Response {
    /// A status line whose text is the body too, without a content type, as `error()` sends it.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self { body: message.as_bytes().to_vec(), ..Self::bare(status, message) }
    }

    /// A status line without a body and without `Content-Length`.
    pub(crate) fn bare(status: u16, message: &str) -> Self {
        Self {
            status,
            reason: message.into(),
            content_type: None,
            location: None,
            disposition: None,
            body: Vec::new(),
            relayed: false,
            delayed: false,
            upgrade: None,
            delivery: None,
            last_modified: None,
            incompressible: false,
        }
    }

    /// An answer with a body of a known type.
    pub(crate) fn with(status: u16, reason: &str, payload: Payload) -> Self {
        Self {
            content_type: Some(payload.content_type.into()),
            body: payload.body,
            ..Self::bare(status, reason)
        }
    }

    /// Every status from 400 on closes the connection, whatever the client asked for.
    pub(crate) fn closes(&self) -> bool {
        self.status >= 400
    }

    /// The bytes of the answer. Header order is that of `HTTP::Headers`: general headers in
    /// alphabetical order, then request, response and entity headers.
    pub(crate) fn encode(&self, wire: Wire) -> Vec<u8> {
        let keep_alive = wire.keep_alive && !self.closes();
        let (body, encoding) = self.compressed(wire);
        let date = HttpDate(wire.now).to_string();
        let reason = self.reason.lines().next().unwrap_or_default();
        let mut head = Head(Vec::with_capacity(512 + body.len()));
        let _ = write!(head.0, "{} {} {reason}\r\n", wire.proto, self.status);
        if self.last_modified.is_none() {
            head.line("Cache-Control", "max-age=0");
        }
        if self.relayed && keep_alive {
            head.line("Connection", "close");
        }
        head.line("Connection", if keep_alive { "Keep-Alive" } else { "close" });
        head.line("Date", &date);
        if self.last_modified.is_none() {
            head.line("Pragma", "no-cache");
        }
        if let Some(location) = &self.location {
            head.line("Location", location);
        }
        head.line("Server", "pve-api-daemon/3.0");
        if let Some(encoding) = encoding {
            head.line("Content-Encoding", encoding);
        }
        if !body.is_empty() {
            head.line("Content-Length", &body.len().to_string());
        }
        if let Some(content_type) = &self.content_type {
            head.line("Content-Type", content_type);
        }
        match self.last_modified {
            Some(changed) => head.line("Last-Modified", &HttpDate(changed).to_string()),
            None => head.line("Expires", &date),
        }
        if let Some(disposition) = &self.disposition {
            head.line("Content-Disposition", &disposition.0);
        }
        head.0.extend_from_slice(b"\r\n");
        head.0.extend_from_slice(&body);
        head.0
    }

    fn compressed(&self, wire: Wire) -> (std::borrow::Cow<'_, [u8]>, Option<&'static str>) {
        let plain = std::borrow::Cow::Borrowed(self.body.as_slice());
        let worth = self.body.len() > COMPRESS_ABOVE && !self.incompressible;
        if !worth || !(wire.gzip || wire.deflate) {
            return (plain, None);
        }
        let (done, encoding) = if wire.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            (encoder.write_all(&self.body).and_then(|()| encoder.finish()), "gzip")
        } else {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            (encoder.write_all(&self.body).and_then(|()| encoder.finish()), "deflate")
        };
        match done {
            Ok(bytes) => (bytes.into(), Some(encoding)),
            Err(_) => (plain, None),
        }
    }
}

struct Head(Vec<u8>);

impl Head {
    /// Values come from our own tables and from error texts; a line break in one would be a
    /// header of the caller's choice, so it ends the value.
    fn line(&mut self, name: &str, value: &str) {
        let value = value.split(['\r', '\n']).next().unwrap_or_default();
        for part in [name, ": ", value, "\r\n"] {
            self.0.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: Wire =
        Wire { proto: "HTTP/1.1", keep_alive: true, gzip: false, deflate: false, now: 0 };

    fn text(response: &Response, wire: Wire) -> String {
        String::from_utf8(response.encode(wire)).unwrap()
    }

    #[test]
    fn header_order_is_the_genuine_one() {
        let payload =
            Payload { content_type: "application/json;charset=UTF-8", body: b"{}".to_vec() };
        let response = Response { relayed: true, ..Response::with(200, "OK", payload) };
        assert_eq!(
            text(&response, WIRE),
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nConnection: close\r\n\
             Connection: Keep-Alive\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nPragma: no-cache\r\n\
             Server: pve-api-daemon/3.0\r\nContent-Length: 2\r\n\
             Content-Type: application/json;charset=UTF-8\r\n\
             Expires: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{}"
        );
    }

    #[test]
    fn errors_close_and_keep_one_line_of_their_message() {
        let sent = text(&Response::error(500, "no such file '/x'\nsecond"), WIRE);
        assert!(sent.starts_with("HTTP/1.1 500 no such file '/x'\r\n"), "{sent}");
        assert!(sent.contains("Connection: close\r\n"));
        assert!(sent.ends_with("\r\n\r\nno such file '/x'\nsecond"));
    }

    #[test]
    fn an_empty_body_has_no_length() {
        assert!(!text(&Response::bare(401, "No ticket"), WIRE).contains("Content-Length"));
    }

    #[test]
    fn a_location_can_not_add_a_header() {
        let response = Response {
            location: Some("/a\r\nSet-Cookie: b".into()),
            ..Response::bare(301, "Moved")
        };
        assert!(!text(&response, WIRE).contains("Set-Cookie"));
    }

    #[test]
    fn only_long_bodies_are_compressed() {
        let wire = Wire { gzip: true, ..WIRE };
        let sized = |size| {
            let payload = Payload { content_type: "text/plain", body: vec![b'a'; size] };
            String::from_utf8_lossy(&Response::with(200, "OK", payload).encode(wire)).into_owned()
        };
        assert!(!sized(1024).contains("Content-Encoding"));
        assert!(sized(1025).contains("Content-Encoding: gzip"));
    }
}
