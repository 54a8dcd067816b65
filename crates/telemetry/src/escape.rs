//! Characters that could forge a line or hide text, written as JSON escapes.

/// Whether a terminal or a line reader would act on the character instead of showing it:
/// controls, line separators, direction overrides, invisible joiners.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// How a character is written inside a JSON string. The escape is at most six bytes long.
pub(crate) fn quoted(c: char) -> Escaped {
    match c {
        '"' => Escaped::short('"'),
        '\\' => Escaped::short('\\'),
        _ => bare(c),
    }
}

/// How a character is written outside quotes: only the hostile ones change.
pub(crate) fn bare(c: char) -> Escaped {
    match c {
        '\n' => Escaped::short('n'),
        '\r' => Escaped::short('r'),
        '\t' => Escaped::short('t'),
        _ if is_hostile(c) => Escaped::Hex(u32::from(c)),
        _ => Escaped::Plain(c),
    }
}

/// Escapes what `serde_json` leaves as it is. Valid for a whole JSON text, because none of
/// these characters may stand outside a string there.
pub(crate) fn json(text: String) -> String {
    // Most texts are plain ASCII, where a look at each byte is enough.
    let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if plain || !text.chars().any(is_hostile) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        bare(c).push_to(&mut out);
    }
    out
}

/// The longest beginning of at most `limit` bytes that ends between characters.
pub(crate) fn prefix(text: &str, limit: usize) -> &str {
    (0..=limit.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// One character as it will be written.
#[derive(Clone, Copy)]
pub(crate) enum Escaped {
    Plain(char),
    Short(char),
    Hex(u32),
}

impl Escaped {
    fn short(c: char) -> Self {
        Self::Short(c)
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Self::Plain(c) => c.len_utf8(),
            Self::Short(_) => 2,
            Self::Hex(_) => 6,
        }
    }

    pub(crate) fn push_to(self, out: &mut String) {
        match self {
            Self::Plain(c) => out.push(c),
            Self::Short(c) => out.extend(['\\', c]),
            Self::Hex(code) => {
                out.push_str("\\u");
                let digits = [12, 8, 4, 0].map(|shift| char::from_digit((code >> shift) & 0xf, 16));
                out.extend(digits.into_iter().flatten());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quoted_text_is_one_visible_line_and_reads_back(text: String) {
            let mut out = String::from("\"");
            for c in text.chars() {
                let before = out.len();
                quoted(c).push_to(&mut out);
                prop_assert_eq!(out.len() - before, quoted(c).len());
            }
            out.push('"');
            prop_assert!(!out.chars().any(is_hostile));
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }

        #[test]
        fn escaping_a_json_text_keeps_its_value(text: String) {
            let written = json(serde_json::to_string(&text).unwrap());
            prop_assert!(!written.chars().any(is_hostile));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
