//! Secrets that are known by how they look.

use super::lexer::{Text, is_name};
use super::limits::{PEM_LABEL_MAX_BYTES, USER_MAX_UNITS};
use super::value::{self, Start};
use std::ops::Range;

/// The products whose tickets and cookies share one form (`Proxmox` in upstream's sources:
/// `PVE::Ticket`, `proxmox-auth-api`).
const PRODUCTS: &[&[u8]] = &[b"PVE", b"PMG", b"PBS", b"PDM"];
/// `PVE::AccessControl::assemble_spice_ticket`
const SPICE_PREFIX: &[u8] = b"pvespiceproxy";
/// Characters of the time in tickets and CSRF tokens, in hexadecimal.
const TIME_CHARS: usize = 8;
/// Fewest characters of a CSRF token's digest: SHA-1 in base64 without padding.
const DIGEST_MIN_CHARS: usize = 27;
/// The identifiers of crypt(3) in front of a password's hash.
const CRYPT_IDS: &[&[u8]] =
    &[b"1", b"2a", b"2b", b"2y", b"5", b"6", b"7", b"y", b"gy", b"argon2id"];
/// Fewest characters of a hash behind its identifier; `$1$2` is a shell's text.
const HASH_MIN_CHARS: usize = 8;
/// Schemes whose whole userinfo is a credential when it has no password part.
const WEB_SCHEMES: &[&[u8]] = &[b"http", b"https", b"ws", b"wss"];

/// `PVE`, `PVEVNC`, `PMGQUAR`, …: what a ticket starts with, before its first colon.
pub(super) fn is_ticket_prefix(word: &[u8]) -> bool {
    let product = PRODUCTS.iter().find_map(|product| word.strip_prefix(*product));
    product.is_some_and(|rest| rest.iter().all(u8::is_ascii_uppercase)) || word == SPICE_PREFIX
}

/// The time in a ticket or CSRF token.
pub(super) fn is_time(word: &[u8]) -> bool {
    word.len() == TIME_CHARS && word.iter().all(u8::is_ascii_hexdigit)
}

/// A recovery key of the second factor: `0a1b-2c3d-4e5f-6071` (proxmox-tfa).
pub(super) fn is_recovery_key(word: &[u8]) -> bool {
    let word = word.strip_suffix(b".").unwrap_or(word);
    word.len() == 19
        && word.iter().enumerate().all(|(i, b)| match i % 5 {
            4 => *b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// A JSON web token: three parts in base64url, the first a JSON object.
pub(super) fn is_web_token(word: &[u8]) -> bool {
    word.starts_with(b"eyJ") && word.iter().filter(|&&b| b == b'.').count() >= 2
}

/// Whether the digest of a CSRF token starts here.
pub(super) fn is_digest(text: Text<'_>, at: usize) -> bool {
    let mut next = at;
    for _ in 0..DIGEST_MIN_CHARS {
        match text.unit(next) {
            Some(u)
                if u.ch.is_ascii_alphanumeric() || matches!(u.ch, b'+' | b'/' | b'-' | b'_') =>
            {
                next += u.len;
            }
            _ => return false,
        }
    }
    true
}

/// Whether a UUID starts here, by its first group: the secret of an API token.
pub(super) fn is_uuid(text: Text<'_>, at: usize) -> bool {
    let group = text.bytes(at, at + TIME_CHARS);
    is_time(group) && text.byte(at + TIME_CHARS) == Some(b'-')
}

/// The credentials of `Basic`: base64 that is not a word of prose.
pub(super) fn basic(text: Text<'_>, at: usize) -> Option<Range<usize>> {
    let base64 = |ch: u8| ch.is_ascii_alphanumeric() || b"+/=-_".contains(&ch);
    let end = text.skip(at, |u| base64(u.ch));
    let word = text.bytes(at, end);
    word.iter().skip(1).any(|b| !b.is_ascii_lowercase()).then_some(at..end)
}

/// What follows `!tfa!`: the challenge and the signature.
pub(super) fn challenge(text: Text<'_>, bang: usize) -> Option<Range<usize>> {
    let open = text.unit(bang).filter(|u| u.ch == b'!')?;
    let name = bang + open.len;
    let close = text.unit(name + 3).filter(|u| u.ch == b'!' && text.starts_with(name, b"tfa"))?;
    let from = name + 3 + close.len;
    if text.starts_with(from, super::MARK.as_bytes()) {
        return Some(from..from + super::MARK.len());
    }
    // The challenge is JSON without spaces; its quotes and commas end nothing.
    let mut at = from;
    while let Some(unit) = text.unit(at).filter(|u| u.depth > close.depth || !u.is_space()) {
        at += unit.len;
        let second = text.unit(at).filter(|u| u.ch == b':' && unit.ch == b':');
        if let Some(second) = second {
            let start = Start { at: at + second.len, depth: unit.depth.max(second.depth) };
            return Some(from..value::plain_end(text, start));
        }
    }
    Some(from..at)
}

/// The body of a private key whose `-----BEGIN` ends at `at`.
pub(super) fn private_key(text: Text<'_>, at: usize) -> Option<Range<usize>> {
    let label = text.bytes(at, at + PEM_LABEL_MAX_BYTES);
    // a label is upper case words; in form data the blanks are `+` or `%20`
    let end =
        label.iter().position(|b| !b.is_ascii_uppercase() && !b" +%0123456789".contains(b))?;
    let private = label.get(..end)?.windows(7).any(|w| w == b"PRIVATE");
    if !private || !text.starts_with(at + end, b"-----") {
        return None;
    }
    let body = at + end + b"-----".len();
    let last = text.find_end(body, b"-----END").map_or(text.len(), |p| p - b"-----END".len());
    Some(body..last)
}

/// The hash behind `$6$` and the like, whose first `$` is at `at`.
pub(super) fn crypt_hash(text: Text<'_>, at: usize) -> Option<Range<usize>> {
    let id = CRYPT_IDS
        .iter()
        .find(|id| text.starts_with(at + 1, id) && text.byte(at + 1 + id.len()) == Some(b'$'))?;
    let start = Start { at: at + id.len() + 2, depth: 0 };
    let window = text.bytes(start.at, start.at + HASH_MIN_CHARS);
    let lawful = |b: &u8| b.is_ascii_alphanumeric() || b"./$=,+".contains(b);
    let enough = window.len() == HASH_MIN_CHARS && window.iter().all(lawful);
    enough.then(|| start.at..value::plain_end(text, start))
}

/// The password in front of a URL's host; `at` is behind `://`, `scheme` before it.
pub(super) fn userinfo(text: Text<'_>, scheme: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = text.bytes(at, text.len());
    let ends = |b: &u8| b.is_ascii_whitespace() || b"/?#\"'`<>\\".contains(b);
    let authority = rest.get(..rest.iter().position(ends).unwrap_or(rest.len()))?;
    let end = authority.iter().rposition(|&b| b == b'@')?;
    match authority.iter().position(|&b| b == b':').filter(|&colon| colon < end) {
        Some(colon) => Some(at + colon + 1..at + end),
        None => {
            WEB_SCHEMES.iter().any(|web| scheme.eq_ignore_ascii_case(web)).then_some(at..at + end)
        }
    }
}

/// Behind the part of a ticket that says who it is for and since when: `PVE:user@realm:TIME::`,
/// `PVEVNC:TIME::`, `PVE:!tfa!`; `range.start` when it is something else.
pub(super) fn ticket_who(text: Text<'_>, range: &Range<usize>) -> usize {
    ticket_head(text, range.start).filter(|&at| at < range.end).unwrap_or(range.start)
}

/// Behind the part of an API token that says whose it is: `user@realm!id=`, with or without
/// `PVEAPIToken=` before it; `range.start` when it is something else.
pub(super) fn token_who(text: Text<'_>, range: &Range<usize>) -> usize {
    token_head(text, range.start).filter(|&at| at < range.end).unwrap_or(range.start)
}

fn ticket_head(text: Text<'_>, at: usize) -> Option<usize> {
    let prefix = text.name_end(at);
    if !is_ticket_prefix(text.bytes(at, prefix)) {
        return None;
    }
    let body = punctuation(text, prefix, b':')?;
    if let Some(range) = challenge(text, body) {
        return Some(range.start);
    }
    let time = if is_time(text.bytes(body, text.name_end(body))) {
        body
    } else {
        let user = user_end(text, body, b':')?;
        punctuation(text, user, b':')?
    };
    let end = text.name_end(time);
    if !is_time(text.bytes(time, end)) {
        return None;
    }
    punctuation(text, punctuation(text, end, b':')?, b':')
}

fn token_head(text: Text<'_>, at: usize) -> Option<usize> {
    let word = text.name_end(at);
    let at = match super::keys::find(text.bytes(at, word)) {
        Some(_) => text.skip(word, |u| matches!(u.ch, b'=' | b':' | b' ')),
        None => at,
    };
    let user = user_end(text, at, b'!')?;
    let id = punctuation(text, user, b'!')?;
    let end = text.name_end(id);
    (end > id).then_some(end)?;
    punctuation(text, end, b'=').or_else(|| punctuation(text, end, b':'))
}

/// Behind a `user@realm` that `last` follows.
fn user_end(text: Text<'_>, at: usize, last: u8) -> Option<usize> {
    let mut next = at;
    for _ in 0..USER_MAX_UNITS {
        let unit = text.unit(next)?;
        if unit.ch == b'@' && next > at {
            let realm = next + unit.len;
            let end = text.name_end(realm);
            if end > realm && text.unit(end).is_some_and(|u| u.ch == last) {
                return Some(end);
            }
        }
        let lawful = unit.ch >= 0x80 || is_name(unit.ch) || b"@!+~*#$^|".contains(&unit.ch);
        if !lawful {
            return None;
        }
        next += unit.len;
    }
    None
}

fn punctuation(text: Text<'_>, at: usize, wanted: u8) -> Option<usize> {
    text.unit(at).filter(|u| u.ch == wanted).map(|u| at + u.len)
}
