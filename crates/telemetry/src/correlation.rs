//! The name one request carries through every log line, audit record and answer.

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
pub struct CorrelationId(Arc<str>);

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
        Self(format!("{:016x}", random_bits()).into())
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        Ok(Self(text.into()))
    }
}

fn random_bits() -> u64 {
    let mut bytes = [0; 8];
    for _ in 0..RANDOM_RETRIES {
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(8) => return u64::from_ne_bytes(bytes),
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    // A request must not fail because a sandbox forbids getrandom: unique within the process
    // is what the log needs.
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    COUNTER.fetch_add(1, Ordering::Relaxed)
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
