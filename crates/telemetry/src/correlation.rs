//! The name one request carries through every log line, audit record and answer.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::limits::{CORRELATION_ID, RANDOM_RETRIES};

/// A name for one request: our own 16 lower-case hexadecimal characters, or one taken over from
/// the client (8 to 64 of `A-Za-z0-9_-`, which includes UUIDs). It can be written into a header,
/// a log line or JSON without escaping. It is not a secret and grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(Text);

/// Our own are made for every request, so they need no allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Text {
    /// And any other of this length.
    Own([u8; 16]),
    Foreign(Arc<str>),
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Why a foreign correlation id was refused. The text itself is not repeated: it is hostile
/// until proven otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorrelationIdError {
    /// Too short or too long.
    #[error("correlation id: {found} bytes, expected 8 to 64; leave it out to get a fresh one")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Another character than `A-Za-z0-9_-`.
    #[error("correlation id: expected only A-Z a-z 0-9 _ -; leave it out to get a fresh one")]
    Character,
}

impl CorrelationId {
    /// A fresh one: 64 random bits.
    #[must_use]
    pub fn random() -> Self {
        let bytes = random_bits().to_be_bytes();
        let digit = |at: usize| {
            let byte = bytes.get(at / 2)?;
            HEX.get(usize::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 0xf }))
        };
        Self(Text::Own(std::array::from_fn(|at| digit(at).copied().unwrap_or(b'0'))))
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Own(digits) => std::str::from_utf8(digits).unwrap_or_default(),
            Text::Foreign(text) => text,
        }
    }

    /// The same, to be written without a look at what is known to be ASCII.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Own(digits) => digits,
            Text::Foreign(text) => text.as_bytes(),
        }
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CorrelationId {
    type Err = CorrelationIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !CORRELATION_ID.contains(&text.len()) {
            return Err(CorrelationIdError::Length { found: text.len() });
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            return Err(CorrelationIdError::Character);
        }
        let own = <[u8; 16]>::try_from(text.as_bytes());
        Ok(Self(own.map_or_else(|_| Text::Foreign(text.into()), Text::Own)))
    }
}

thread_local! {
    /// Bits asked for ahead: a call to the kernel for each request costs more than its log line.
    static AHEAD: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn random_bits() -> u64 {
    let ahead = AHEAD.try_with(|ahead| {
        let mut ahead = ahead.try_borrow_mut().ok()?;
        if ahead.is_empty() {
            *ahead = from_kernel()?;
        }
        ahead.pop()
    });
    if let Ok(Some(bits)) = ahead {
        return bits;
    }
    // A request must not fail because a sandbox forbids getrandom: unique within the process
    // is what the log needs.
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    COUNTER.fetch_add(1, Ordering::Relaxed)
}

fn from_kernel() -> Option<Vec<u64>> {
    let mut bytes = [0; 256];
    for _ in 0..RANDOM_RETRIES {
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            // Up to 256 bytes come whole or not at all (getrandom(2)).
            Ok(256) => {
                let words = bytes.as_chunks::<8>().0.iter();
                return Some(words.map(|word| u64::from_ne_bytes(*word)).collect());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn fresh_ones_differ_and_pass_as_foreign_ones() {
        let ids: BTreeSet<_> = (0..1000).map(|_| CorrelationId::random()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(id.as_str().len(), 16);
            assert!(id.as_str().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
        }
    }

    #[test]
    fn what_is_refused() {
        use CorrelationIdError::{Character, Length};
        let parse = |text: &str| text.parse::<CorrelationId>().map(|id| id.to_string());
        assert_eq!(parse("1234567"), Err(Length { found: 7 }));
        assert_eq!(parse(&"a".repeat(65)), Err(Length { found: 65 }));
        assert_eq!(parse("abcdefg\n"), Err(Character));
        assert_eq!(parse("abcdefgé"), Err(Character));
        assert_eq!(parse("a b c d e"), Err(Character));
        assert!(parse("123e4567-e89b-12d3-a456-426614174000").is_ok());
        assert!(parse(&"_".repeat(64)).is_ok());
    }

    proptest! {
        #[test]
        fn accepted_means_safe_in_a_header_and_unchanged(text in ".{0,80}|[A-Za-z0-9_-]{0,80}") {
            if let Ok(id) = text.parse::<CorrelationId>() {
                prop_assert_eq!(id.as_str(), &text);
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
            }
        }
    }
}
