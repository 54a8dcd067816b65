//! Where the value behind a name starts and ends.

use super::lexer::{Text, Unit, is_name};
use super::limits::{NEXT_NAME_MAX_BYTES, PUNCTUATION_MAX_BYTES};
use std::ops::Range;

/// The first character behind a separator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) at: usize,
    /// How often the separator was encoded; the value is encoded at least as often.
    pub(super) depth: u8,
}

/// Finds `=`, `:`, `=>` and the like behind a name, or, when `blank` allows it, a blank.
///
/// Between name and separator may stand the quote that closes the name (`"password": `),
/// the bracket of a form array (`user[password]=`) and blanks.
pub(super) fn start(text: Text<'_>, name: Range<usize>, blank: bool) -> Option<Start> {
    let name_end = name.end;
    let closed = close_name(text, name_end);
    let at = text.skip(closed, Unit::is_blank);
    let unit = text.unit(at)?;
    let after = at + unit.len;
    match unit.ch {
        // `token::verify` is a path of Rust or Perl
        b':' if text.unit(after).is_some_and(|u| u.ch == b':') => None,
        b'=' | b':' => {
            let after = text.skip(after, |u| matches!(u.ch, b'=' | b'>'));
            Some(Start { at: skip_space(text, after), depth: unit.depth })
        }
        b',' if closed > name_end && name.start > 0 => pair(text, name.start, after),
        _ if blank && at > name_end && closed == name_end => {
            // in `--password --verbose` the value is missing
            let depth = text.unit(name_end).map_or(0, |u| u.depth);
            (!text.starts_with(at, b"--")).then_some(Start { at, depth })
        }
        _ => None,
    }
}

/// The value that starts here, without its quotes.
pub(super) fn range(text: Text<'_>, start: Start) -> Range<usize> {
    if let Some(range) = quoted(text, start) {
        return range;
    }
    let at = if text.starts_with(start.at, b"-----BEGIN") {
        pem_end(text, start.at)
    } else if matches!(text.byte(start.at), Some(b'[' | b'{' | b'(')) {
        brackets_end(text, start.at)
    } else {
        start.at
    };
    // what sticks to a bracket belongs to the value
    start.at..plain_end(text, Start { at, ..start })
}

/// The content of the string that starts here, if one does.
pub(super) fn quoted(text: Text<'_>, start: Start) -> Option<Range<usize>> {
    let quote = opening_quote(text, string_prefix(text, start.at))?;
    Some(quote.content..quoted_end(text, quote))
}

/// The end of an unquoted value: a space, `&`, or punctuation that closes what is around it.
///
/// Passwords hold punctuation too, so a quote, bracket, comma or semicolon ends the value
/// only when what follows looks like the text around it, see [`closes`].
pub(super) fn plain_end(text: Text<'_>, start: Start) -> usize {
    let mut at = start.at;
    while let Some(unit) = text.unit(at) {
        if unit.depth > start.depth {
            at += unit.len;
            continue;
        }
        match unit.ch {
            b'&' => return at,
            _ if unit.is_space() => return at,
            // Some("two words")
            b'(' | b'[' | b'{' if opening_quote(text, at + unit.len).is_some() => {
                at = brackets_end(text, at);
                continue;
            }
            _ if is_closing(unit.ch) && closes(text, at, start.depth) => return at,
            // a run of backslashes is looked at once
            b'\\' => {
                at = text.skip(at, |u| u.ch == b'\\');
                continue;
            }
            _ => {}
        }
        at += unit.len;
    }
    at
}

/// The end of the line, or of the quoted string that the name at `name_start` opens.
pub(super) fn line_end(text: Text<'_>, name_start: usize, value_start: usize) -> usize {
    let quote = name_start.checked_sub(1).and_then(|at| {
        let unit = text.unit(at).filter(|u| u.is_quote())?;
        let backslashes = text.bytes(0, at).iter().rev().take_while(|&&b| b == b'\\').count();
        Some(Quote { unit, backslashes, content: value_start })
    });
    if let Some(quote) = quote {
        return quoted_end(text, quote);
    }
    let line = text.bytes(value_start, text.len());
    let length = line.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(line.len());
    value_start + length
}

/// A quote that opens a string, with the backslashes before it: `"`, `\"`, `\\\"`, `%22`.
#[derive(Debug, Clone, Copy)]
struct Quote {
    unit: Unit,
    backslashes: usize,
    content: usize,
}

fn opening_quote(text: Text<'_>, at: usize) -> Option<Quote> {
    let mut backslashes = 0;
    let mut at = at;
    loop {
        let unit = text.unit(at)?;
        at += unit.len;
        if unit.is_quote() {
            return Some(Quote { unit, backslashes, content: at });
        }
        if unit.ch != b'\\' || backslashes > PUNCTUATION_MAX_BYTES {
            return None;
        }
        backslashes += 1;
    }
}

/// Where the string ends that `open` opens: before the same quote with the same backslashes,
/// or before one less often escaped, which closes a string around it. Else at the end of the text.
///
/// With k backslashes before the opening quote, a quote of the content has 2k + 1, and a
/// backslash of the content takes 2k + 2. A backslash that is encoded more often than the
/// quote may be content (`%5c` in a JSON string) or an escape (of text that was encoded in
/// part): the string ends only where both readings end it.
fn quoted_end(text: Text<'_>, open: Quote) -> usize {
    let ends = |run: usize| run % (2 * open.backslashes + 2) <= open.backslashes;
    let mut at = open.content;
    let mut run = 0;
    let mut run_bytes = 0;
    let mut deeper = 0;
    while let Some(unit) = text.unit(at) {
        if unit.ch == b'\\' {
            run += 1;
            run_bytes += unit.len;
            // what stood before a deeper one is not next to the quote when that one is content
            deeper = if unit.depth > open.unit.depth { run } else { deeper };
        } else {
            if matches!(unit.ch, b'\n' | b'\r') && unit.depth == 0 {
                return text.len();
            }
            let same = unit.ch == open.unit.ch && unit.depth <= open.unit.depth;
            if same && ends(run) && ends(run - deeper) {
                let own = run_bytes / run.max(1) * run.min(open.backslashes);
                return at - own;
            }
            run = 0;
            run_bytes = 0;
            deeper = 0;
        }
        at += unit.len;
    }
    at
}

/// Behind the bracket that closes the one at `at`, strings skipped; else the end of the text.
fn brackets_end(text: Text<'_>, at: usize) -> usize {
    let mut open: usize = 0;
    let mut at = at;
    while let Some(byte) = text.byte(at) {
        match byte {
            b'[' | b'{' | b'(' => open += 1,
            b']' | b'}' | b')' => open = open.saturating_sub(1),
            b'"' | b'\'' | b'`' | b'\\' => {
                if let Some(quote) = opening_quote(text, at) {
                    at = quoted_end(text, quote);
                    at = text.skip(at, |u| u.ch == b'\\');
                    at += text.unit(at).map_or(0, |u| u.len);
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
        if open == 0 {
            break;
        }
    }
    at.min(text.len())
}

/// Behind the line that ends the block; else, and when that line looks odd, the end of the text.
fn pem_end(text: Text<'_>, at: usize) -> usize {
    let close = text.find_end(at, b"-----END").and_then(|end| {
        let close = text.find_end(end, b"-----")?;
        let label = text.bytes(end, close - b"-----".len());
        label.iter().all(|b| b.is_ascii_uppercase() || matches!(b, b' ' | b'+')).then_some(close)
    });
    close.unwrap_or(text.len())
}

fn is_closing(ch: u8) -> bool {
    matches!(ch, b'"' | b'\'' | b'`' | b')' | b']' | b'}' | b'>' | b',' | b';' | b'\\')
}

/// Whether the punctuation at `at` ends a value: behind all of it is the end, a space, `&`,
/// or, behind a comma, semicolon or colon in it, the next name with its separator.
fn closes(text: Text<'_>, at: usize, depth: u8) -> bool {
    let mut next = at;
    let mut separated = false;
    let first = loop {
        let Some(unit) = text.unit(next) else {
            return true;
        };
        let punctuation = is_closing(unit.ch) || matches!(unit.ch, b':' | b'{' | b'[' | b'(');
        if unit.depth > depth || !punctuation {
            break unit;
        }
        separated |= matches!(unit.ch, b',' | b';' | b':');
        next += unit.len;
        if next - at > PUNCTUATION_MAX_BYTES {
            return false;
        }
    };
    if first.depth <= depth && (first.is_space() || first.ch == b'&') {
        return true;
    }
    separated && next_name(text, next)
}

/// Whether a name stands at `at`, with a separator or closing quote behind it.
fn next_name(text: Text<'_>, at: usize) -> bool {
    let window = text.bytes(at, at + NEXT_NAME_MAX_BYTES);
    // a name that was masked is still a name
    let length = window.iter().take_while(|&&b| is_name(b) || b == b'*').count();
    length > 0
        && text
            .unit(at + length)
            .is_some_and(|u| u.is_quote() || matches!(u.ch, b'=' | b':' | b'\\'))
}

/// The second string of `"password", "x"`, as Rust and Python print a pair.
///
/// Not in `"invalid ticket", "x"`, where the name only ends a message, nor in
/// `"ticket", "x":`, where the next member of a JSON object starts.
fn pair(text: Text<'_>, name: usize, after: usize) -> Option<Start> {
    text.unit(name - 1).filter(|u| u.is_quote())?;
    let at = skip_space(text, after);
    let start = Start { at, depth: 0 };
    let end = quoted(text, start)?.end;
    let behind = text.skip(end, |u| u.ch == b'\\' || u.is_quote() || u.is_blank());
    text.unit(behind).is_none_or(|u| u.ch != b':').then_some(start)
}

/// Behind the quote or bracket that closes a name.
fn close_name(text: Text<'_>, name_end: usize) -> usize {
    if let Some(quote) = opening_quote(text, name_end) {
        return quote.content;
    }
    let at = text.skip(name_end, |u| u.ch == b'[');
    match text.unit(at) {
        Some(unit) if unit.ch == b']' => at + unit.len,
        _ => name_end,
    }
}

/// Blanks; also line ends, when a quoted value follows them.
fn skip_space(text: Text<'_>, at: usize) -> usize {
    let next = text.skip(at, Unit::is_space);
    let blank = text.skip(at, Unit::is_blank);
    match opening_quote(text, next) {
        Some(_) if next == blank => next,
        Some(quote) => {
            let end = quoted_end(text, quote);
            let behind = text.skip(end, |u| u.ch == b'\\' || u.is_quote() || u.is_blank());
            let name = text.unit(behind).is_some_and(|u| matches!(u.ch, b':' | b'='));
            if name { blank } else { next }
        }
        None => blank,
    }
}

/// Behind the letter of a Python or Rust string literal: `b'x'`, `u"x"`.
fn string_prefix(text: Text<'_>, at: usize) -> usize {
    let letter = matches!(text.byte(at), Some(b'b' | b'B' | b'u' | b'U' | b'r' | b'R' | b'f'));
    if letter && text.unit(at + 1).is_some_and(Unit::is_quote) { at + 1 } else { at }
}
