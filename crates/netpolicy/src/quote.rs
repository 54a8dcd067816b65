//! Foreign text in errors.

use crate::bounds::MAX_QUOTED_CHARS;

/// `text` in quotes, shortened, with control characters escaped: an error line goes to a log, and
/// must stay one line whatever was sent.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String =
        text.chars().take(MAX_QUOTED_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_QUOTED_CHARS).is_some() {
        shown.push('…');
    }
    format!("'{shown}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_short() {
        assert_eq!(quoted("a\nb\x1b"), "'a\\nb\\u{1b}'");
        assert_eq!(quoted(&"x".repeat(65)), format!("'{}…'", "x".repeat(64)));
    }
}
