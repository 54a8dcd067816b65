//! Percent-encoding (RFC 3986 §2.1) of paths, forms and cookies.

use std::fmt::Write as _;

/// An API path of these segments, each encoded whole, so that `/`, `:` and `@` in a volume, UPID
/// or user name do not change which method is meant: `path(["nodes", "pve1", "qemu", "100"])` is
/// `/nodes/pve1/qemu/100`. PVE decodes a segment before it matches.
pub fn path<I>(segments: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        match segment.as_ref() {
            // A dot segment is removed by clients and proxies on the way, encoded or not; with
            // one dot hidden it reaches the server as a name.
            "." => path.push_str("%2E"),
            ".." => path.push_str("%2E%2E"),
            segment => encode(segment, &mut path),
        }
    }
    path
}

/// Appends `text` with everything but RFC 3986's unreserved characters encoded. Right in a path
/// segment, a query, a form (a blank as `%20`, which every decoder takes) and a cookie.
pub(crate) fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            to.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}

/// Decodes `%XX`; malformed escapes stay as they are.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| after.split_at_checked(2))
            .flatten()
            .and_then(|(digits, after)| Some((hex(digits)?, after)));
        let (byte, after) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    // `from_str_radix` would take a sign.
    let both = digits.iter().all(u8::is_ascii_hexdigit);
    both.then(|| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segments_stay_segments() {
        assert_eq!(path(["access", "users", "joe@pve"]), "/access/users/joe%40pve");
        assert_eq!(path(["content", "local:iso/x y.iso"]), "/content/local%3Aiso%2Fx%20y.iso");
        assert_eq!(path(["a", "..", ".", "..."]), "/a/%2E%2E/%2E/...");
        assert_eq!(path(["a?b#c", "é"]), "/a%3Fb%23c/%C3%A9");
        assert_eq!(path::<[&str; 0]>([]), "");
    }

    #[test]
    fn malformed_escapes_stay() {
        for text in ["%", "%4", "%zz", "%+1", "100%"] {
            assert_eq!(decode(text), text);
        }
        assert_eq!(decode("%7B%22a%22%3a1}"), "{\"a\":1}");
    }

    proptest! {
        #[test]
        fn encoded_text_reads_back(text: String) {
            let mut encoded = String::new();
            encode(&text, &mut encoded);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            prop_assert_eq!(decode(&encoded), text);
        }
    }
}
