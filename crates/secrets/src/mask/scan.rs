//! One pass over a text that finds its secrets.

use super::keys::{self, Key, Kind};
use super::lexer::{Text, Unit, is_name};
use super::limits::MARK;
use super::ranges::Ranges;
use super::shapes;
use super::value::{self, Start};
use std::ops::Range;

/// Schemes of `Authorization` with one word behind them.
const WORD_SCHEMES: &[&str] = &["bearer", "basic", "negotiate", "ntlm", "token", "apikey"];

/// PVE answers the creation of an API token with its secret under this name …
const TOKEN_SECRET: &[u8] = b"value";
/// … and the token's id under this one, which makes the other recognisable.
const TOKEN_ID: &str = "full-tokenid";

/// Where the secrets of `text` are.
pub(super) fn secrets(text: &str) -> Ranges {
    let mut scan = Scan {
        text: Text::new(text),
        found: Ranges::default(),
        word: Word::default(),
        new_token: None,
    };
    let mut at = 0;
    while let Some(byte) = scan.text.byte(at) {
        at = if is_name(byte) { scan.name(at) } else { scan.punctuation(at) };
    }
    scan.found
}

/// The ranges to hide in the value of a name of this kind.
pub(super) fn hide(text: Text<'_>, kind: Kind, range: Range<usize>, found: &mut Ranges) {
    let whole = text.text();
    match kind {
        Kind::Whole => found.push(whole, range),
        Kind::Ticket => found.push(whole, shapes::ticket_who(text, &range)..range.end),
        Kind::Token => found.push(whole, shapes::token_who(text, &range)..range.end),
        Kind::Authorization => {
            let secret = match scheme(text, range.start) {
                Some(secret) if secret <= range.end => secret,
                _ => shapes::token_who(text, &range),
            };
            found.push(whole, secret..range.end);
        }
        Kind::Cookies => cookies(text, range, usize::MAX, found),
        Kind::SetCookie => cookies(text, range, 1, found),
        // its value was looked at before, see `named_value`
        Kind::Basic => found.push(whole, range),
    }
}

struct Scan<'a> {
    text: Text<'a>,
    found: Ranges,
    word: Word,
    /// Whether the text holds [`TOKEN_ID`], once that was asked.
    new_token: Option<bool>,
}

/// What was seen since the last space, quote or other end of a word.
#[derive(Debug, Default, Clone, Copy)]
struct Word {
    /// The last name and where it ended.
    name: (usize, usize),
    /// The word starts like a ticket.
    ticket: bool,
    /// Behind the last colon.
    colon: Option<usize>,
    /// There was an `@`.
    user: bool,
    /// Behind the last `!` after a user.
    bang: Option<usize>,
    /// Behind the last `user@realm!id`.
    token: Option<usize>,
}

impl Scan<'_> {
    /// A name, and the value behind it if that is secret; returns where to go on.
    fn name(&mut self, start: usize) -> usize {
        let end = self.text.name_end(start);
        let name = self.text.bytes(start, end);
        if shapes::is_recovery_key(name) || shapes::is_web_token(name) {
            return self.hide(start..end);
        }
        if name.ends_with(b"-----BEGIN")
            && let Some(body) = shapes::private_key(self.text, end)
        {
            return self.hide(body);
        }
        if let Some(end) = self.named_value(start, end) {
            return end;
        }
        if self.word.bang == Some(start) {
            self.word.token = Some(end);
        }
        self.word.name = (start, end);
        end
    }

    fn new_token(&mut self) -> bool {
        let text = self.text.text();
        *self.new_token.get_or_insert_with(|| text.contains(TOKEN_ID))
    }

    fn named_value(&mut self, start: usize, end: usize) -> Option<usize> {
        let name = self.text.bytes(start, end);
        let key = match keys::find(name) {
            None if name == TOKEN_SECRET && self.new_token() => {
                Key { kind: Kind::Whole, blank: false }
            }
            found => found?,
        };
        let value = value::start(self.text, start..end, key.blank || name.starts_with(b"-"))?;
        let range = match key.kind {
            Kind::Authorization => authorization(self.text, start, value),
            Kind::Cookies | Kind::SetCookie => line(self.text, start, value),
            Kind::Basic => shapes::basic(self.text, value.at)?,
            _ => value::range(self.text, value),
        };
        let after = match key.kind {
            Kind::SetCookie => {
                let value = self.text.bytes(range.start, range.end);
                let first = value.iter().position(|&b| b == b';').unwrap_or(value.len());
                range.start + first
            }
            _ => range.end,
        };
        hide(self.text, key.kind, range, &mut self.found);
        self.word = Word::default();
        Some(after)
    }

    /// Anything that is not a name; returns where to go on.
    fn punctuation(&mut self, at: usize) -> usize {
        let Some(unit) = self.text.unit(at) else {
            return at + 1;
        };
        // what was masked ends a word, as it did while it was a secret
        if unit.ch == b'*' && self.text.starts_with(at, MARK.as_bytes()) {
            self.word = Word::default();
            return at + MARK.len();
        }
        let next = at + unit.len;
        let secret = match unit.ch {
            b':' => self.colon(at, unit),
            b'!' => self.bang(at, unit),
            b'=' if self.word.token == Some(at) => {
                Some(next..value::plain_end(self.text, Start { at: next, depth: unit.depth }))
            }
            b'$' => shapes::crypt_hash(self.text, at),
            _ => None,
        };
        if let Some(secret) = secret {
            return self.hide(secret);
        }
        match unit.ch {
            b'@' => self.word.user = true,
            // an escaped line end or tab in front of a name does not belong to it
            b'\\' if matches!(self.text.byte(next), Some(b'n' | b'r' | b't')) => {
                self.word = Word::default();
                return next + 1;
            }
            b',' | b';' | b'&' | b'<' | b'>' | b'(' | b')' => self.word = Word::default(),
            _ if unit.is_space() || unit.is_quote() => self.word = Word::default(),
            _ => {}
        }
        next
    }

    fn colon(&mut self, at: usize, unit: Unit) -> Option<Range<usize>> {
        let next = at + unit.len;
        let (start, end) = self.word.name;
        let name = if end == at { self.text.bytes(start, end) } else { b"" };
        if self.text.starts_with(at, b"://") {
            return shapes::userinfo(self.text, name, at + 3);
        }
        let second = self.text.unit(next).filter(|u| u.ch == b':');
        if let Some(second) = second {
            let stamped = shapes::is_time(name) && self.word.colon == Some(start);
            let depth = unit.depth.max(second.depth);
            let signature = Start { at: next + second.len, depth };
            return (self.word.ticket || stamped)
                .then(|| signature.at..value::plain_end(self.text, signature));
        }
        let value = Start { at: next, depth: unit.depth };
        let token = self.word.token == Some(at) && shapes::is_uuid(self.text, next);
        let csrf = shapes::is_time(name) && shapes::is_digest(self.text, next);
        if token || csrf {
            return Some(next..value::plain_end(self.text, value));
        }
        self.word.ticket |= shapes::is_ticket_prefix(name);
        self.word.colon = Some(next);
        None
    }

    fn bang(&mut self, at: usize, unit: Unit) -> Option<Range<usize>> {
        if let Some(challenge) = shapes::challenge(self.text, at) {
            return Some(challenge);
        }
        if self.word.user {
            self.word.bang = Some(at + unit.len);
        }
        None
    }

    fn hide(&mut self, range: Range<usize>) -> usize {
        let end = range.end;
        self.found.push(self.text.text(), range);
        self.word = Word::default();
        end
    }
}

/// The value of `Authorization`: quoted, one word behind a scheme that has one, else the line.
fn authorization(text: Text<'_>, name: usize, start: Start) -> Range<usize> {
    if let Some(range) = value::quoted(text, start) {
        return range;
    }
    let word = scheme(text, start.at).unwrap_or(start.at);
    if word > start.at || shapes::token_who(text, &(start.at..text.len())) > start.at {
        return start.at..value::plain_end(text, Start { at: word, depth: start.depth });
    }
    start.at..value::line_end(text, name, start.at)
}

/// A quoted value, or the rest of the line.
fn line(text: Text<'_>, name: usize, start: Start) -> Range<usize> {
    value::quoted(text, start).unwrap_or_else(|| start.at..value::line_end(text, name, start.at))
}

/// Behind a scheme with one word, and its blanks.
fn scheme(text: Text<'_>, at: usize) -> Option<usize> {
    let end = text.name_end(at);
    let name = text.bytes(at, end);
    let known = WORD_SCHEMES.iter().any(|s| name.eq_ignore_ascii_case(s.as_bytes()));
    let secret = text.skip(end, Unit::is_blank);
    (known && secret > end).then_some(secret)
}

/// The values of the first `count` cookies.
fn cookies(text: Text<'_>, range: Range<usize>, count: usize, found: &mut Ranges) {
    let mut at = range.start;
    let parts = text.bytes(range.start, range.end).split(|&b| b == b';');
    for part in parts.take(count) {
        let end = at + part.len();
        let blanks = part.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let equals = part.iter().position(|&b| b == b'=');
        let named = |equals: &usize| {
            part.get(blanks..*equals).is_some_and(|n| n.iter().all(|&b| is_name(b)))
        };
        let value = equals.filter(named).map_or(blanks, |equals| equals + 1);
        let value = at + value..end;
        found.push(text.text(), shapes::ticket_who(text, &value)..end);
        at = end + 1;
    }
}
