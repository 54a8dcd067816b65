//! Texts with `*` for any run of characters.

/// Whether `text` is of the form of `pattern`. Takes at most length times length steps.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let pairs = pattern.bytes().zip(text.bytes());
    let same = pairs.take_while(|(want, have)| want == have && *want != b'*').count();
    // Most texts differ from most patterns in their first characters.
    match pattern.as_bytes().get(same) {
        None => text.len() == same,
        Some(b'*') => {
            let rests = pattern.get(same + 1..).zip(text.get(same..));
            rests.is_some_and(|(rest, text)| from_star(rest, text))
        }
        Some(_) => false,
    }
}

/// The same, of a pattern from behind its first star on.
fn from_star(rest: &str, mut text: &str) -> bool {
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

    /// What a star means, without any thought of time.
    fn plain(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| plain(rest, &text[at..])),
            ([want, rest @ ..], [have, text @ ..]) => want == have && plain(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_the_plain_definition_has_it(pattern in "[abé*]{0,7}", text in "[abé]{0,7}") {
            prop_assert_eq!(glob(&pattern, &text), plain(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_text_with_pieces_left_out_matches(head in "[ab]{0,4}", middle in "[ab]{0,4}", tail in "[ab]{0,4}") {
            let text = format!("{head}{middle}{tail}");
            let pattern = format!("{head}*{tail}");
            prop_assert!(glob(&pattern, &text));
        }
    }
}
