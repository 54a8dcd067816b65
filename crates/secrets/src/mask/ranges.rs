//! Where the secrets are, and the text without them.

use super::limits::{MARK, PASSES_MAX};
use std::borrow::Cow;
use std::ops::Range;

/// Byte ranges of one text, ascending and apart, each not empty and not yet the mark.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<Range<usize>>);

impl Ranges {
    /// Adds a range behind all others; nothing when there is nothing to hide in it.
    pub(super) fn push(&mut self, text: &str, range: Range<usize>) {
        let done = self.0.last().is_some_and(|last| range.start < last.end);
        match text.get(range.clone()) {
            Some(secret) if !done && !secret.is_empty() && secret != MARK => self.0.push(range),
            _ => {}
        }
    }

    /// Adds the ranges of a part of the text that starts at `offset`.
    pub(super) fn push_part(&mut self, offset: usize, part: Self) {
        self.0.extend(part.0.into_iter().map(|r| r.start + offset..r.end + offset));
    }
}

/// The text with the mark in place of everything that `find` finds.
///
/// What is left is looked at again, since the punctuation of one secret may have decided where
/// another ended: masking is then idempotent. Text without secrets is read once, and a text
/// that shows more after every look was made to do so: nothing of it is left.
pub(super) fn mask<'a>(text: &'a str, find: impl Fn(&str) -> Ranges) -> Cow<'a, str> {
    let found = find(text);
    if found.0.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut masked = replace(text, &found);
    for _ in 1..PASSES_MAX {
        let found = find(&masked);
        if found.0.is_empty() {
            return Cow::Owned(masked);
        }
        masked = replace(&masked, &found);
    }
    Cow::Borrowed(MARK)
}

fn replace(text: &str, ranges: &Ranges) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut copied = 0;
    for range in &ranges.0 {
        masked.push_str(text.get(copied..range.start).unwrap_or_default());
        masked.push_str(MARK);
        copied = range.end;
    }
    masked.push_str(text.get(copied..).unwrap_or_default());
    masked
}
