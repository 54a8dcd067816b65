//! The wording of errors: types as a reader of TOML calls them, keys that were probably meant.

use serde::de::{Expected, Unexpected};

/// Most edits between a key and the one that was probably meant.
const CLOSE: usize = 2;
/// How many known keys a remedy lists.
const LISTED_KEYS: usize = 12;
/// How serde names types, and what a reader of TOML calls them.
const WORDS: [(&str, &str); 17] = [
    ("a sequence", "an array"),
    ("a map", "a table"),
    ("a boolean", "true or false"),
    ("a borrowed string", "a string"),
    ("a character", "a string of one character"),
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number from 0"),
    ("usize", "a whole number from 0"),
    ("i8", "a whole number from -128 to 127"),
    ("i16", "a whole number from -32768 to 32767"),
    ("i32", "a whole number from -2147483648 to 2147483647"),
    ("i64", "a whole number"),
    ("isize", "a whole number"),
    ("f32", "a number"),
    ("f64", "a number"),
];

/// What was expected.
pub(crate) fn words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    if text.starts_with("struct ") {
        return "a table".to_owned();
    }
    if let Some(size) = text.strip_prefix("a tuple of size ") {
        return format!("an array of {size} elements");
    }
    WORDS.iter().find(|(theirs, _)| *theirs == text).map_or(text, |(_, ours)| (*ours).to_owned())
}

/// What was found, without its value.
pub(crate) fn sort<'a>(found: &Unexpected<'a>) -> &'a str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Signed(_) | Unexpected::Unsigned(_) => "a whole number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a string",
        Unexpected::Seq => "an array",
        Unexpected::Map => "a table",
        Unexpected::UnitVariant => "the word alone",
        Unexpected::Other(words) => words,
        _ => "something else",
    }
}

/// The keys there are, as many as fit a line.
pub(crate) fn listed(known: &[&str]) -> String {
    let more = known.len().saturating_sub(LISTED_KEYS);
    let mut list = known.iter().take(LISTED_KEYS).copied().collect::<Vec<_>>().join(", ");
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    list
}

/// The known key that differs least, when it differs by so little that it was probably meant.
#[must_use]
pub fn closest<'a>(known: &[&'a str], key: &str) -> Option<&'a str> {
    let ranked = known.iter().map(|known| (edits(known, key), *known));
    ranked.filter(|(edits, known)| *edits <= CLOSE && *edits < known.len()).min().map(|(_, k)| k)
}

/// Levenshtein distance, one row at a time.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (diagonal + usize::from(ca != cb)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_distances() {
        for (a, b, distance) in
            [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("listen", "lisetn", 2)]
        {
            assert_eq!(edits(a, b), distance, "{a} {b}");
        }
    }

    #[test]
    fn a_short_key_is_not_explained_by_another_one() {
        assert_eq!(closest(&["cert", "key"], "kez"), Some("key"));
        assert_eq!(closest(&["a", "ab"], "xy"), None);
        assert_eq!(closest(&["listen", "limit"], "lisen"), Some("listen"));
    }

    proptest! {
        #[test]
        fn edits_are_a_distance(a in "[ab]{0,6}", b in "[ab]{0,6}", c in "[ab]{0,6}") {
            prop_assert_eq!(edits(&a, &b), edits(&b, &a));
            prop_assert_eq!(edits(&a, &b) == 0, a == b);
            prop_assert!(edits(&a, &c) <= edits(&a, &b) + edits(&b, &c));
        }
    }
}
