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

use http::header::InvalidHeaderName;
use http::{HeaderName, header};

use crate::head::Fields;

/// Headers that most messages have, by name and as everybody writes them: read and written without
/// a look at each letter.
macro_rules! usual {
    ($($name:ident $written:literal)*) => {
        /// How the name is written, where it is a usual one.
        fn written(name: &HeaderName) -> Option<&'static [u8]> {
            Some(match *name {
                $(header::$name => $written,)*
                _ => return None,
            })
        }

        /// The name that is written so.
        ///
        /// # Errors
        /// It is none.
        fn name(written: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
            Ok(match written {
                $($written => header::$name,)*
                _ => return HeaderName::from_bytes(written),
            })
        }

        #[cfg(test)]
        const USUAL: &[(HeaderName, &[u8])] = &[$((header::$name, $written)),*];
    };
}

usual! {
    ACCEPT b"Accept"
    ACCEPT_ENCODING b"Accept-Encoding"
    ACCEPT_LANGUAGE b"Accept-Language"
    AUTHORIZATION b"Authorization"
    CACHE_CONTROL b"Cache-Control"
    CONNECTION b"Connection"
    CONTENT_ENCODING b"Content-Encoding"
    CONTENT_LENGTH b"Content-Length"
    CONTENT_TYPE b"Content-Type"
    COOKIE b"Cookie"
    DATE b"Date"
    EXPIRES b"Expires"
    HOST b"Host"
    LAST_MODIFIED b"Last-Modified"
    ORIGIN b"Origin"
    PRAGMA b"Pragma"
    REFERER b"Referer"
    REFERRER_POLICY b"Referrer-Policy"
    SERVER b"Server"
    STRICT_TRANSPORT_SECURITY b"Strict-Transport-Security"
    USER_AGENT b"User-Agent"
    X_CONTENT_TYPE_OPTIONS b"X-Content-Type-Options"
    X_FRAME_OPTIONS b"X-Frame-Options"
}

/// Appends the header lines, names capitalised as PVE writes them: some
/// clients compare them as text.
fn write_headers(out: &mut Vec<u8>, headers: &Fields) {
    for (name, value) in headers.iter() {
        match written(name) {
            Some(written) => out.extend_from_slice(written),
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
    use super::{USUAL, name, write_headers, write_name, written};
    use crate::head::Fields;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn the_table_says_what_the_rules_would() {
        for (own, text) in USUAL {
            let mut out = Vec::new();
            write_name(&mut out, own.as_str());
            assert_eq!(out, *text);
            assert_eq!(written(own), Some(*text));
            assert_eq!(name(text).unwrap(), HeaderName::from_bytes(text).unwrap());
        }
        assert_eq!(name(b"hOST").unwrap(), "host");
        assert!(name(b"no name").is_err() && written(&name(b"X-Own").unwrap()).is_none());
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
