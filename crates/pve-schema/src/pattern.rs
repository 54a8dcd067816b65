//! Patterns of the API document: Perl's regular expressions on the `regex` crate.
//!
//! PVE matches `m/^PATTERN$/` with the text put in as it is, so an alternation at the top
//! (`a|b`) is `^a` or `b$`, and a final newline is overlooked. Both are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use regex::{Regex, RegexBuilder};

use crate::limits::{MAX_PATTERN_BYTES, MAX_PATTERNS};
use crate::value::chomp;

/// A pattern, compiled on first use and shared between all properties that have the same text.
#[derive(Clone, Default)]
pub struct Pattern {
    text: String,
    compiled: OnceLock<Option<Arc<Compiled>>>,
}

impl Pattern {
    /// Perl's text, without the anchors PVE puts around it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), compiled: OnceLock::new() }
    }

    /// Perl's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the value matches; a pattern that does not compile matches nothing.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| shared(&self.text));
        let Some(Compiled { regex, max_chars }) = compiled.as_deref() else {
            return false;
        };
        let fits = |text: &str| {
            regex.is_match(text) && max_chars.is_none_or(|max| text.chars().count() <= max)
        };
        fits(value) || (value.ends_with('\n') && fits(chomp(value)))
    }

    /// Whether the text can be used here at all.
    #[must_use]
    pub fn compiles(&self) -> bool {
        self.compiled.get_or_init(|| shared(&self.text)).is_some()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

#[derive(Debug)]
struct Compiled {
    regex: Regex,
    max_chars: Option<usize>,
}

/// Perl's syntax to ours, in this order.
const CONVERSIONS: [(&str, &str); 7] = [
    // How Perl prints a compiled expression: `^` resets the flags around it.
    ("(?^:", "(?-i:"),
    ("(?^u:", "(?-i:"),
    ("(?^i:", "(?i:"),
    ("(?^ui:", "(?i:"),
    // No atomic groups here, and none needed: matching takes linear time anyway.
    ("(?>", "(?:"),
    // A quantifier without lower bound, since Perl 5.34.
    ("{,", "{0,"),
    (r"\0", r"\x00"),
];

/// A large repetition of Unicode classes would compile to tens of megabytes: counted instead.
const COUNTED: [(&str, &str, usize); 1] =
    [(r"(?^i:[\(\)-_.\w\d\s]{0,256})", r"(?^i:[\(\)-_.\w\d\s]*)", 256)];

fn shared(text: &str) -> Option<Arc<Compiled>> {
    static CACHE: LazyLock<Mutex<HashMap<String, Arc<Compiled>>>> = LazyLock::new(Mutex::default);
    // A thread that panicked here left the map whole: values are inserted when complete.
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compiled) = cache.get(text) {
        return Some(Arc::clone(compiled));
    }
    let compiled = Arc::new(compile(text)?);
    if cache.len() < MAX_PATTERNS {
        cache.insert(text.to_owned(), Arc::clone(&compiled));
    }
    Some(compiled)
}

fn compile(text: &str) -> Option<Compiled> {
    let counted = COUNTED.iter().find(|(known, _, _)| *known == text);
    let (text, max_chars) = counted.map_or((text, None), |(_, star, max)| (*star, Some(*max)));
    let mut converted = text.to_owned();
    for (perl, ours) in CONVERSIONS {
        converted = converted.replace(perl, ours);
    }
    let regex =
        RegexBuilder::new(&format!("^{converted}$")).size_limit(MAX_PATTERN_BYTES).build().ok()?;
    Some(Compiled { regex, max_chars })
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn matches(pattern: &str, value: &str) -> bool {
        Pattern::new(pattern).matches(value)
    }

    #[test]
    fn perls_printed_flags_are_understood() {
        assert!(matches(r"(?^:(?^i:[a-f]+);[a-f]+)", "ABC;abc"));
        assert!(!matches(r"(?^:(?^i:[a-f]+);[a-f]+)", "ABC;ABC"));
        assert!(matches(r"(?^u:^((?>[+-]?[\w\-\._=]+,?)+)$)", "kvm64,+aes"));
        assert!(matches(r"[A-Za-z0-9\-_\s]{,8}", "12345678"));
        assert!(!matches(r"[A-Za-z0-9\-_\s]{,8}", "123456789"));
        assert!(matches(r"a\0b", "a\0b"));
    }

    #[test]
    fn a_final_newline_is_overlooked_once() {
        assert!(matches(r"\d+", "12\n"));
        assert!(!matches(r"\d+", "12\n\n"));
        assert!(!matches(r"\d+", "\n12"));
    }

    #[test]
    fn alternation_is_not_grouped() {
        assert!(matches("yes|no", "yesterday"));
        assert!(matches("yes|no", "casino"));
        assert!(!matches("yes|no", "know it"));
    }

    #[test]
    fn counted_classes_keep_their_bound() {
        let alias = Pattern::new(r"(?^i:[\(\)-_.\w\d\s]{0,256})");
        assert!(alias.matches("") && alias.matches(&"ü".repeat(256)));
        assert!(!alias.matches(&"ü".repeat(257)) && !alias.matches("{"));
    }

    #[test]
    fn what_does_not_compile_matches_nothing() {
        assert!(!Pattern::new("(").compiles());
        assert!(!matches("(", "("));
    }
}
