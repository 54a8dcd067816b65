//! Base64 as Perl's `MIME::Base64::decode_base64` takes it.
//!
//! Foreign characters are skipped, padding may be missing, and everything after the padding is
//! ignored. A ticket that PVE accepts must not fail here, so the same leniency is needed; it
//! also means that one signature has many spellings, and nothing may be keyed by the text of a
//! ticket when a second spelling would evade it.

/// Decodes; never fails.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let mut symbols = text.bytes().filter_map(Symbol::of);
    loop {
        let mut quad = || symbols.next().unwrap_or(Symbol::Padding);
        let (Symbol::Bits(a), Symbol::Bits(b)) = (quad(), quad()) else {
            return out;
        };
        let (third, fourth) = (quad(), quad());
        out.push(a << 2 | b >> 4);
        let Symbol::Bits(c) = third else {
            return out;
        };
        out.push(b << 4 | c >> 2);
        let Symbol::Bits(d) = fourth else {
            return out;
        };
        out.push(c << 6 | d);
    }
}

#[derive(Clone, Copy)]
enum Symbol {
    Bits(u8),
    Padding,
}

impl Symbol {
    fn of(byte: u8) -> Option<Self> {
        let bits = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => return Some(Self::Padding),
            _ => return None,
        };
        Some(Self::Bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use proptest::prelude::*;

    #[test]
    fn decodes_what_perl_decodes() {
        let cases: [(&str, &[u8]); 9] = [
            ("", b""),
            ("QQ==", b"A"),
            ("QQ", b"A"),
            ("Q", b""),
            ("QUI", b"AB"),
            ("Q-U_I\n=", b"AB"),
            ("QQ==QQ==", b"A"),
            ("Q=QQ", b""),
            ("QUJD*QQ", b"ABCA"),
        ];
        for (text, bytes) in cases {
            assert_eq!(decode(text), bytes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_on_standard_text(bytes: Vec<u8>) {
            prop_assert_eq!(&decode(&STANDARD.encode(&bytes)), &bytes);
            prop_assert_eq!(&decode(&STANDARD_NO_PAD.encode(&bytes)), &bytes);
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            decode(&text);
        }
    }
}
