//! HTTP/1, the gate's own: what a client's connection says and hears, and what Proxmox VE's does.
//!
//! hyper's HTTP/1 was measured at half the speed of this and twice the memory of an idle
//! connection; it also had to be kept from bytes that it would have taken. Here a head is parsed
//! once, by the rules that refuse it ([`wire`]), and an answer is written with its first bytes of
//! body in one record. HTTP/2 stays hyper's.

mod answer;
mod chunked;
mod connection;
mod request;
mod response;
pub(crate) mod wire;

pub(crate) use chunked::Decoded;
pub(crate) use connection::{Connection, Next};
pub(crate) use response::{BodyFraming, ResponseHead, parse as parse_response};

use http::{HeaderName, header};

use crate::head::Fields;

/// Names as they are written, of the headers that most answers have. All others are capitalised
/// letter by letter.
fn written(name: &HeaderName) -> Option<&'static str> {
    Some(match *name {
        header::CACHE_CONTROL => "Cache-Control",
        header::CONTENT_LENGTH => "Content-Length",
        header::CONTENT_TYPE => "Content-Type",
        header::DATE => "Date",
        header::EXPIRES => "Expires",
        header::PRAGMA => "Pragma",
        header::SERVER => "Server",
        header::STRICT_TRANSPORT_SECURITY => "Strict-Transport-Security",
        header::X_CONTENT_TYPE_OPTIONS => "X-Content-Type-Options",
        header::X_FRAME_OPTIONS => "X-Frame-Options",
        header::REFERRER_POLICY => "Referrer-Policy",
        header::CONTENT_ENCODING => "Content-Encoding",
        header::LAST_MODIFIED => "Last-Modified",
        _ => return None,
    })
}

/// Appends the header lines, names capitalised as PVE writes them: some
/// clients compare them as text.
fn write_headers(out: &mut Vec<u8>, headers: &Fields) {
    for (name, value) in headers.iter() {
        match written(name) {
            Some(written) => out.extend_from_slice(written.as_bytes()),
            None => write_name(out, name.as_str()),
        }
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    let mut first = true;
    out.extend(name.bytes().map(|byte| {
        let written = if first { byte.to_ascii_uppercase() } else { byte };
        first = byte == b'-';
        written
    }));
}

#[cfg(test)]
mod tests {
    use super::{write_headers, write_name, written};
    use crate::head::Fields;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn the_table_writes_what_the_rule_would() {
        let names = ["cache-control", "content-length", "content-type", "date", "expires"];
        let more = ["pragma", "server", "strict-transport-security", "x-content-type-options"];
        let last = ["x-frame-options", "referrer-policy", "content-encoding", "last-modified"];
        for name in names.into_iter().chain(more).chain(last) {
            let mut out = Vec::new();
            write_name(&mut out, name);
            let written = written(&HeaderName::from_static(name)).unwrap();
            assert_eq!(out, written.as_bytes());
        }
    }

    #[test]
    fn names_are_capitalised_and_repeats_kept() {
        let mut headers = Fields::default();
        for value in ["a=1", "b=2"] {
            headers.append(HeaderName::from_static("set-cookie"), HeaderValue::from_static(value));
        }
        headers.append(HeaderName::from_static("etag"), HeaderValue::from_static(""));
        let mut out = Vec::new();
        write_headers(&mut out, &headers);
        assert_eq!(out, b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nEtag: \r\n");
    }
}
