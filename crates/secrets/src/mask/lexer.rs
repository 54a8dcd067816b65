//! One character at a time, seen through its encoding.

use super::limits::ENCODING_MAX_DEPTH;

/// A character as the reader of the decoded text would see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// ASCII, or any value from 0x80 for a byte of something else.
    pub(super) ch: u8,
    /// Bytes it takes.
    pub(super) len: usize,
    /// How often it was encoded: 0 = as is, 1 = `%22` or `\u0022`, 2 = `%2522`, …
    pub(super) depth: u8,
}

impl Unit {
    pub(super) fn is_blank(self) -> bool {
        matches!(self.ch, b' ' | b'\t')
    }

    pub(super) fn is_space(self) -> bool {
        matches!(self.ch, b' ' | b'\t' | b'\n' | b'\r')
    }

    pub(super) fn is_quote(self) -> bool {
        matches!(self.ch, b'"' | b'\'' | b'`')
    }
}

/// A text with lookups that can not miss.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    text: &'a str,
    bytes: &'a [u8],
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes() }
    }

    pub(super) fn text(self) -> &'a str {
        self.text
    }

    pub(super) fn len(self) -> usize {
        self.bytes.len()
    }

    pub(super) fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn bytes(self, from: usize, to: usize) -> &'a [u8] {
        self.bytes.get(from..to.min(self.len())).unwrap_or_default()
    }

    /// The position behind the first `needle` at or after `from`.
    pub(super) fn find_end(self, from: usize, needle: &[u8]) -> Option<usize> {
        let rest = self.bytes(from, self.len());
        rest.windows(needle.len()).position(|w| w == needle).map(|p| from + p + needle.len())
    }

    pub(super) fn starts_with(self, at: usize, prefix: &[u8]) -> bool {
        self.bytes(at, at.saturating_add(prefix.len())) == prefix
    }

    pub(super) fn unit(self, at: usize) -> Option<Unit> {
        let ch = self.byte(at)?;
        let decoded = match ch {
            b'%' => self.percent(at),
            b'\\' => self.json_escape(at),
            _ => None,
        };
        Some(decoded.unwrap_or(Unit { ch, len: 1, depth: 0 }))
    }

    /// The position behind all units from `at` on that satisfy `wanted`.
    pub(super) fn skip(self, mut at: usize, wanted: impl Fn(Unit) -> bool) -> usize {
        while let Some(unit) = self.unit(at).filter(|&u| wanted(u)) {
            at += unit.len;
        }
        at
    }

    /// The position behind the name characters from `at` on.
    pub(super) fn name_end(self, at: usize) -> usize {
        let rest = self.bytes(at, self.len());
        at + rest.iter().position(|&b| !is_name(b)).unwrap_or(rest.len())
    }

    fn percent(self, at: usize) -> Option<Unit> {
        let mut digits = at + 1;
        let mut depth = 1;
        while depth < ENCODING_MAX_DEPTH
            && self.starts_with(digits, b"25")
            && self.hex(digits + 2).is_some()
        {
            digits += 2;
            depth += 1;
        }
        Some(Unit { ch: self.hex(digits)?, len: digits + 2 - at, depth })
    }

    /// `\u0022`; anything beyond Latin-1 is no character the scanner knows.
    fn json_escape(self, at: usize) -> Option<Unit> {
        if self.byte(at + 1)? != b'u' {
            return None;
        }
        let (high, low) = (self.hex(at + 2)?, self.hex(at + 4)?);
        Some(Unit { ch: if high == 0 { low } else { u8::MAX }, len: 6, depth: 1 })
    }

    fn hex(self, at: usize) -> Option<u8> {
        let high = char::from(self.byte(at)?).to_digit(16)?;
        let low = char::from(self.byte(at + 1)?).to_digit(16)?;
        u8::try_from(high * 16 + low).ok()
    }
}

/// A character of a parameter's, header's or option's name.
pub(super) fn is_name(byte: u8) -> bool {
    NAME_BYTES.get(usize::from(byte)).copied().unwrap_or(false)
}

/// A table, because this is asked for every byte of every log line.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
static NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_seen_through() {
        for (text, ch, len, depth) in [
            ("\"x", b'"', 1, 0),
            ("%22x", b'"', 3, 1),
            ("%2522", b'"', 5, 2),
            ("%252522", b'"', 7, 3),
            ("%3a", b':', 3, 1),
            ("%25", b'%', 3, 1),
            ("%", b'%', 1, 0),
            ("%2", b'%', 1, 0),
            ("%zz", b'%', 1, 0),
            ("\\u0022", b'"', 6, 1),
            ("\\u00", b'\\', 1, 0),
            ("\\u2028", 0xff, 6, 1),
            ("\\\"", b'\\', 1, 0),
            ("é", 0xc3, 1, 0),
        ] {
            assert_eq!(Text::new(text).unit(0), Some(Unit { ch, len, depth }), "{text}");
        }
        assert_eq!(Text::new("").unit(0), None);
    }
}
