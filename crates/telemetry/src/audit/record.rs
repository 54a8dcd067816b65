//! One line of the audit log: written and read.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use super::event::Event;
use super::key::{Key, digest};
use super::verify::Reason;
use crate::limits::AUDIT_LINE;
use crate::{Rfc3339, escape};
use serde::de::IgnoredAny;
use serde_json::Value;

/// `,"hash":"` + 64 + `"}`
const HASH_MEMBER: usize = 75;
/// `,"prev":"` + 64 + `"`, which stands right before the hash member
const PREV_MEMBER: usize = 74;

/// A SHA-256 in a chain; shown and read as 64 lower-case hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

/// A text is no hash or no [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected SEQ:HASH with 64 lower-case hexadecimal characters, as `log verify` prints it")]
pub struct HashError;

/// The last record of a chain: remember it elsewhere to detect a cut or rewritten log later.
/// Shown and read as `SEQ:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// Its number; 0 before the first record.
    pub seq: u64,
    /// Its hash; zeros before the first record.
    pub hash: Hash,
}

/// What a line says about its place in the chain, its own hash already checked.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) prev: Hash,
    pub(super) head: Head,
}

impl Head {
    /// The head of an empty chain.
    pub const START: Self = Self { seq: 0, hash: Hash([0; 32]) };
}

/// Renders the record that follows `head`, line feed included, and the head it makes.
/// Fields that do not fit a line are replaced by their size, so that nothing a client sends can
/// keep an event out of the log.
pub(super) fn render(
    head: Head,
    unix: Duration,
    event: Event,
    key: Option<&Key>,
) -> (String, Head) {
    let kind = event.kind;
    let fields = event.into_masked();
    let mut members = String::new();
    for (name, value) in &fields {
        push_member(&mut members, name, value);
    }
    members = escape::json(members);
    let mut line = String::with_capacity(members.len() + 256);
    line.push_str("{\"seq\":");
    let seq = head.seq.saturating_add(1);
    let _ = write!(line, "{seq}");
    push_member(&mut line, "time", &Rfc3339(unix).to_string().into());
    push_member(&mut line, "kind", &kind.into());
    if line.len() + members.len() + PREV_MEMBER + HASH_MEMBER < AUDIT_LINE {
        line.push_str(&members);
    } else {
        push_member(&mut line, "oversized", &members.len().into());
    }
    let _ = write!(line, ",\"prev\":\"{}\"}}", head.hash);
    let hash = Hash(digest(key, &[line.as_bytes()]));
    line.pop();
    let _ = writeln!(line, ",\"hash\":\"{hash}\"}}");
    (line, Head { seq, hash })
}

/// Reads a line without its line feed and checks that its hash is the one of its bytes.
pub(super) fn parse(line: &[u8], key: Option<&Key>) -> Result<Record, Reason> {
    if line.len() >= AUDIT_LINE {
        return Err(Reason::TooLong);
    }
    let (body, hash) =
        split_member(line, "\"hash\"", HASH_MEMBER, "\"}").ok_or(Reason::Malformed)?;
    let (_, prev) = split_member(body, "\"prev\"", PREV_MEMBER, "\"").ok_or(Reason::Malformed)?;
    let seq = seq(line).ok_or(Reason::Malformed)?;
    if hash.0 != digest(key, &[body, b"}"]) {
        return Err(Reason::Edited);
    }
    serde_json::from_slice::<IgnoredAny>(line).map_err(|_| Reason::Malformed)?;
    Ok(Record { prev, head: Head { seq, hash } })
}

fn push_member(out: &mut String, name: &str, value: &Value) {
    // Through `to_string`, which writes bytes: `Display` of a value goes through the formatter
    // piece by piece and was a tenth of what a record costs.
    let json = |text: serde_json::Result<String>| text.unwrap_or_else(|_| "null".to_owned());
    out.push(',');
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        out.push('"');
        out.push_str(name);
        out.push('"');
    } else {
        out.push_str(&json(serde_json::to_string(name)));
    }
    out.push(':');
    out.push_str(&json(serde_json::to_string(value)));
}

/// Splits `…,NAME:"HEX"END` into what is before and the hash.
fn split_member<'a>(
    text: &'a [u8],
    name: &str,
    length: usize,
    end: &str,
) -> Option<(&'a [u8], Hash)> {
    let (before, member) = text.split_at_checked(text.len().checked_sub(length)?)?;
    let hex = member
        .strip_prefix(b",")?
        .strip_prefix(name.as_bytes())?
        .strip_prefix(b":\"")?
        .strip_suffix(end.as_bytes())?;
    Some((before, std::str::from_utf8(hex).ok()?.parse().ok()?))
}

fn seq(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let (digits, _) = rest.split_at_checked(rest.iter().position(|&b| b == b',')?)?;
    let plain = digits.iter().all(u8::is_ascii_digit) && !digits.starts_with(b"0");
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| plain)
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As one piece: two hashes stand in each record, and formatting digit by digit was a
        // quarter of what a record costs.
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        let mut text = [0; 64];
        for ([high, low], byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            (*high, *low) = (digit(byte >> 4), digit(byte & 15));
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let mut bytes = [0; 32];
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(HashError);
        };
        if pairs.len() != bytes.len() {
            return Err(HashError);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Self(bytes))
    }
}

fn nibble(digit: u8) -> Result<u8, HashError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(HashError),
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let (seq, hash) = text.split_once(':').ok_or(HashError)?;
        if !seq.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HashError);
        }
        Ok(Self { seq: seq.parse().map_err(|_| HashError)?, hash: hash.parse()? })
    }
}
