//! A password as the mock knows it: the text it was seeded with, or, once a state file keeps it,
//! a salted hash alone.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use secrets::{SecretBytes, SecretString};
use serde::{Deserialize, Serialize};

use super::kept_secret::KeptBytes;

const ALGORITHM: pbkdf2::Algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
/// Rounds of one hash: a few milliseconds. The passwords of a mock are not meant to be good ones,
/// but people reuse theirs.
const ROUNDS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999);
const HASH_BYTES: usize = 32;

#[derive(Debug, Clone)]
pub(crate) enum Password {
    /// Compared as it is, so that without a state file a login costs nothing.
    Clear(SecretString),
    Hashed(Hashed),
}

/// PBKDF2-HMAC-SHA-256 (RFC 8018).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hashed {
    salt: String,
    rounds: NonZeroU32,
    hash: KeptBytes,
}

impl Password {
    pub(crate) fn matches(&self, given: &str) -> bool {
        match self {
            Self::Clear(known) => known.same_as(given),
            Self::Hashed(Hashed { salt, rounds, hash }) => pbkdf2::verify(
                ALGORITHM,
                *rounds,
                salt.as_bytes(),
                given.as_bytes(),
                hash.0.expose(),
            )
            .is_ok(),
        }
    }

    /// Forgets the text. The error is the system's when it gives no random salt.
    pub(crate) fn hashed(&mut self) -> std::io::Result<&Hashed> {
        if let Self::Clear(text) = self {
            let salt = secrets::random::hex()?.expose().clone();
            let mut hash = vec![0; HASH_BYTES];
            let text = text.expose().as_bytes();
            pbkdf2::derive(ALGORITHM, ROUNDS, salt.as_bytes(), text, &mut hash);
            let hash = KeptBytes(SecretBytes::new(hash));
            *self = Self::Hashed(Hashed { salt, rounds: ROUNDS, hash });
        }
        match self {
            Self::Hashed(hashed) => Ok(hashed),
            Self::Clear(_) => Err(std::io::ErrorKind::Other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_the_password_and_does_not_hold_it() {
        let mut password = Password::Clear(SecretString::from("correct horse"));
        assert!(password.matches("correct horse") && !password.matches("correct"));
        let written = serde_json::to_string(password.hashed().unwrap()).unwrap();
        assert!(!written.contains("horse"));
        let read = Password::Hashed(serde_json::from_str(&written).unwrap());
        assert!(read.matches("correct horse") && !read.matches("wrong horse"));
        assert!(password.matches("correct horse"));
        let mut other = Password::Clear(SecretString::from("correct horse"));
        assert_ne!(serde_json::to_string(other.hashed().unwrap()).unwrap(), written);
    }
}
