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

use http::HeaderMap;

/// Appends the header lines, names capitalised as PVE writes them: some
/// clients compare them as text.
pub(crate) fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        write_name(out, name.as_str());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    let start = out.len();
    out.extend_from_slice(name.as_bytes());
    let Some(written) = out.get_mut(start..) else { return };
    written.split_mut(|byte| *byte == b'-').filter_map(<[u8]>::first_mut).for_each(|first| {
        first.make_ascii_uppercase();
    });
}

#[cfg(test)]
mod tests {
    use super::write_headers;
    use http::{HeaderMap, HeaderName, HeaderValue};

    #[test]
    fn names_are_capitalised_and_repeats_kept() {
        let mut headers = HeaderMap::new();
        for value in ["a=1", "b=2"] {
            headers.append(HeaderName::from_static("set-cookie"), HeaderValue::from_static(value));
        }
        headers.append(HeaderName::from_static("etag"), HeaderValue::from_static(""));
        let mut out = Vec::new();
        write_headers(&mut out, &headers);
        assert_eq!(out, b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nEtag: \r\n");
    }
}
