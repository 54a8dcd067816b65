//! What Perl's operators mean for text of configuration files.
//!
//! The files are defined by the Perl code that reads them, so its notions of blank, true and
//! list are part of the grammar (`PVE::Tools`: `split_list`, `encode_text`, `decode_text`).

/// Whether the text counts as true: neither empty nor `0`.
pub(crate) fn truthy(text: &str) -> bool {
    !text.is_empty() && text != "0"
}

/// The text when it is true, as most optional fields are read.
pub(crate) fn optional(text: &str) -> Option<&str> {
    truthy(text).then_some(text)
}

/// `\s` on a byte string: ASCII only, with the vertical tab that Rust's notion leaves out.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Removes blanks on both sides.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// A list: split on NUL if there is one, else on commas, semicolons and blanks.
pub(crate) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    let by_nul = text.contains('\0');
    let separator = move |c: char| match by_nul {
        true => c == '\0',
        false => is_list_separator(c),
    };
    text.split(separator).filter(|item| !item.is_empty())
}

/// Whether the character ends an item of a list as it is written.
pub(crate) fn is_list_separator(c: char) -> bool {
    matches!(c, ',' | ';') || is_space(c)
}

/// Percent-decodes, replacing what is not UTF-8 afterwards.
pub(crate) fn decode_text(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let Some(byte) = percent_byte(rest) {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
            continue;
        }
        bytes.push(*first);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes control characters, everything beyond ASCII, and `:`.
///
/// `PVE::Tools::encode_text` leaves every `%` and every outer blank alone, so that a comment
/// `%41` comes back as `A` and ` x` as `x`. These are encoded too, but only where the text would
/// otherwise change on the next read; all other text gives the same bytes as PVE's.
pub(crate) fn encode_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        let ambiguous = match byte {
            b'%' => text.as_bytes().get(at..).and_then(percent_byte).is_some(),
            b' ' => at == 0 || at == last,
            _ => false,
        };
        match byte {
            b' '..=b'9' | b';'..=b'~' if !ambiguous => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The byte that a leading `%XX` stands for.
fn percent_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |c: &u8| char::from(*c).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_split_on_nul_before_anything_else() {
        let list = |text| split_list(text).collect::<Vec<_>>();
        assert_eq!(list(" a,b;c\td,, "), ["a", "b", "c", "d"]);
        assert_eq!(list("a b\0c,d"), ["a b", "c,d"]);
        assert_eq!(list(""), [""; 0]);
    }

    #[test]
    fn text_is_encoded_as_pve_does() {
        assert_eq!(encode_text("50% off: é\n"), "50% off%3A %C3%A9%0A");
        assert_eq!(encode_text("~\x7f"), "~%7F");
    }

    #[test]
    fn text_that_pve_would_change_is_kept() {
        assert_eq!(encode_text("a%41"), "a%2541");
        assert_eq!(encode_text(" a b "), "%20a b%20");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(decode_text("%ffx%4"), "\u{fffd}x%4");
    }

    proptest! {
        #[test]
        fn text_round_trips(text in ".*") {
            let encoded = encode_text(&text);
            prop_assert_eq!(trim(&encoded), encoded.as_str());
            prop_assert!(!encoded.contains([':', '\n']));
            prop_assert_eq!(decode_text(&encoded), text);
        }

        #[test]
        fn decode_takes_anything(text in any::<String>()) {
            decode_text(&text);
        }
    }
}
