//! A checked request head as the parts everything after it reads.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, Version};

use super::wire::{self, Checked};
use crate::head::Parts;
use crate::refusal::Refusal;
use crate::scratch;

/// What a head says of the bytes behind it, and its parts, without copying target and values.
///
/// # Errors
/// Those of [`wire::check`]; and [`Refusal::RequestLine`] or [`Refusal::Url`] for what the grammar
/// allows and no URL holds.
pub(super) fn parse(head: &Bytes) -> Result<(Checked, Parts), Refusal> {
    let part = |range: &Range<usize>| head.get(range.clone()).unwrap_or_default();
    let mut headers = scratch::headers();
    let checked = wire::read(head, |(name, value)| {
        let name = super::name(part(&name)).map_err(|_| Refusal::HeaderLine)?;
        let value = HeaderValue::from_maybe_shared(head.slice(value));
        headers.append(name, value.map_err(|_| Refusal::HeaderValue)?);
        Ok(())
    })?;
    let method = Method::from_bytes(part(&checked.method));
    let method = method.map_err(|_| Refusal::RequestLine)?;
    let target = head.slice(checked.target.clone());
    let uri = Uri::from_maybe_shared(target).map_err(|_| Refusal::Url)?;
    let version = if checked.old { Version::HTTP_10 } else { Version::HTTP_11 };
    Ok((checked, Parts { method, uri, version, headers }))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use bytes::Bytes;
    use http::Version;
    use proptest::prelude::*;

    #[test]
    fn an_ordinary_head() {
        let head = Bytes::from_static(
            b"POST /api2/json/x?a=b HTTP/1.0\r\nHost: h:8006\r\ncookie:  a=1; b=2\t\r\nX-Empty:\r\nCookie: c\r\n\r\n",
        );
        let (_, parts) = parse(&head).unwrap();
        assert_eq!(parts.method, "POST");
        assert_eq!(parts.uri, "/api2/json/x?a=b");
        assert_eq!(parts.version, Version::HTTP_10);
        assert_eq!(parts.headers["host"], "h:8006");
        assert_eq!(parts.headers["x-empty"], "");
        let cookies: Vec<_> = parts.headers.get_all("cookie").collect();
        assert_eq!(cookies, ["a=1; b=2", "c"]);
    }

    proptest! {
        /// What was accepted parses, or is refused: it never panics, and loses no line.
        #[test]
        fn every_accepted_line_becomes_a_header(
            target in "/[!-~]{0,30}",
            lines in proptest::collection::vec("[A-Za-z-]{1,8}:[ -~\t\u{e9}]{0,24}", 0..8),
        ) {
            let head = format!("GET {target} HTTP/1.1\r\n{}\r\n", lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
            if let Ok((_, parts)) = parse(&Bytes::from(head)) {
                prop_assert_eq!(parts.headers.len(), lines.len());
                for line in &lines {
                    let (name, value) = line.split_once(':').unwrap();
                    let value = value.trim_matches([' ', '\t']).as_bytes();
                    let found = parts.headers.get_all(name).any(|v| v.as_bytes() == value);
                    prop_assert!(found, "{:?}", line);
                }
            }
        }
    }
}
