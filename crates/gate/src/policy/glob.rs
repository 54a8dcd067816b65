//! Texts with `*` for any run of characters.

/// Whether `text` is of the form of `pattern`. Takes at most length times length steps.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return text.ends_with(piece);
        }
        // The first place is the best: it leaves the most for what follows.
        let Some((_, after)) = text.split_once(piece) else { return false };
        text = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::glob;
    use proptest::prelude::*;

    #[test]
    fn stars() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("*@pve", "x@pve"),
            ("a*b*c", "aXbYbc"),
            ("**", "x"),
            ("a*", "a"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "b"), ("a*a", "a"), ("*@pve", "x@pve2"), ("a*b*c", "acb")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_with_pieces_left_out_matches(head in "[ab]{0,4}", middle in "[ab]{0,4}", tail in "[ab]{0,4}") {
            let text = format!("{head}{middle}{tail}");
            let pattern = format!("{head}*{tail}");
            prop_assert!(glob(&pattern, &text));
        }
    }
}
