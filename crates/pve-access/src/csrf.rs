//! Tokens against forged requests: `TIME:MAC`, bound to the user.
//!
//! The secret is made from `/etc/pve/pve-www.key`; everyone who may read that file can make
//! tokens. A token is needed next to a ticket for every method but GET, and never next to an
//! API token (gateway reference 2.2).

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrets::SecretString;
use subtle::ConstantTimeEq as _;

use crate::limits::{MAX_CSRF_BYTES, TICKET_AGE};
use crate::ticket::hex_time;

/// Length of a MAC of the time before PVE 6.1, SHA-1 in unpadded base64.
const LEGACY_MAC_CHARS: usize = 27;

/// What tokens are made with.
#[derive(Debug)]
pub struct CsrfSecret {
    current: SecretString,
    /// For tokens of old proxies; only the content of the key file can make it.
    legacy: Option<SecretString>,
}

/// A token is not accepted. Clients are told "invalid csrf token" in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrfError {
    /// Not of the form `TIME:MAC`.
    #[error("invalid CSRF token: malformed")]
    Malformed,
    /// Made with another secret or for another user.
    #[error("invalid CSRF token: not made for this user here")]
    Mac,
    /// Too old.
    #[error("invalid CSRF token: expired, {0} s old")]
    Expired(i64),
    /// From further in the future than clocks may differ.
    #[error("invalid CSRF token: issued {} s in the future; compare the clocks of the nodes", -.0)]
    Future(i64),
}

impl CsrfSecret {
    /// From the content of `/etc/pve/pve-www.key`.
    pub fn from_key_file(content: &[u8]) -> Self {
        let legacy = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, content);
        Self {
            current: mac("", content),
            legacy: Some(SecretString::new(STANDARD_NO_PAD.encode(legacy))),
        }
    }

    /// From the finished secret in unpadded base64. Tokens of the legacy form are refused.
    pub fn from_text(secret: SecretString) -> Self {
        Self { current: secret, legacy: None }
    }

    /// Makes a token. Times beyond 32 bits are clamped; such a token does not verify for long.
    pub fn issue(&self, user: &str, now: u64) -> SecretString {
        let time = format!("{:08X}", u32::try_from(now).unwrap_or(u32::MAX));
        let mac = mac(self.current.expose(), format!("{time}:{user}").as_bytes());
        SecretString::new(format!("{time}:{}", mac.expose()))
    }

    /// Verifies a token for the user, comparing in constant time.
    pub fn verify(&self, token: &str, user: &str, now: u64) -> Result<(), CsrfError> {
        if token.len() > MAX_CSRF_BYTES {
            return Err(CsrfError::Malformed);
        }
        let (time, given) = token.split_once(':').ok_or(CsrfError::Malformed)?;
        let issued = hex_time(time).ok_or(CsrfError::Malformed)?;
        let message = format!("{time}:{user}");
        let expected = match &self.legacy {
            Some(secret) if given.len() == LEGACY_MAC_CHARS => legacy_mac(secret, &message),
            _ => mac(self.current.expose(), message.as_bytes()),
        };
        if !bool::from(expected.expose().as_bytes().ct_eq(given.as_bytes())) {
            return Err(CsrfError::Mac);
        }
        let age = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(i64::from(issued));
        if age <= TICKET_AGE.start {
            return Err(CsrfError::Future(age));
        }
        if age >= TICKET_AGE.end {
            return Err(CsrfError::Expired(age));
        }
        Ok(())
    }
}

/// `hmac_sha256_base64(message, key)` of Perl's Digest::SHA, which leaves the padding out.
fn mac(key: &str, message: &[u8]) -> SecretString {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    SecretString::new(STANDARD_NO_PAD.encode(hmac::sign(&key, message)))
}

/// `sha1_base64(message, secret)`: the hash of both, one after the other.
fn legacy_mac(secret: &SecretString, message: &str) -> SecretString {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(message.as_bytes());
    context.update(secret.expose().as_bytes());
    SecretString::new(STANDARD_NO_PAD.encode(context.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_795_215_443;

    fn secret() -> CsrfSecret {
        CsrfSecret::from_key_file(b"content of a key file\n")
    }

    #[test]
    fn ages_are_exclusive_at_both_ends() {
        let at = |issued| {
            let token = secret().issue("a@pve", issued);
            secret().verify(token.expose(), "a@pve", NOW)
        };
        assert_eq!(at(NOW + 299), Ok(()));
        assert_eq!(at(NOW + 300), Err(CsrfError::Future(-300)));
        assert_eq!(at(NOW - 7199), Ok(()));
        assert_eq!(at(NOW - 7200), Err(CsrfError::Expired(7200)));
    }

    #[test]
    fn a_token_is_for_one_user_and_one_secret() {
        let token = secret().issue("a@pve", NOW);
        let verify = |secret: CsrfSecret, user| secret.verify(token.expose(), user, NOW);
        assert_eq!(verify(secret(), "a@pve"), Ok(()));
        assert_eq!(verify(secret(), "b@pve"), Err(CsrfError::Mac));
        assert_eq!(verify(CsrfSecret::from_key_file(b"x"), "a@pve"), Err(CsrfError::Mac));
    }

    #[test]
    fn the_legacy_form_needs_the_key_file() {
        // perl -MDigest::SHA=sha1_base64 -e 'print sha1_base64("6B00D053:a\@pve",
        // sha1_base64("content of a key file\n"))'
        let token = "6B00D053:2+ZsJQQEIKlanHOs2qW6TlyUufQ";
        assert_eq!(secret().verify(token, "a@pve", NOW), Ok(()));
        assert_eq!(secret().verify(token, "b@pve", NOW), Err(CsrfError::Mac));
        let text_only = CsrfSecret { legacy: None, ..secret() };
        assert_eq!(text_only.verify(token, "a@pve", NOW), Err(CsrfError::Mac));
    }

    #[test]
    fn secrets_do_not_show() {
        assert!(!format!("{:?}", secret()).contains(secret().current.expose()));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "([A-F0-9]{8}:)?.{0,50}", user in any::<String>()) {
            prop_assert!(secret().verify(&text, &user, NOW).is_err());
        }

        #[test]
        fn issued_tokens_verify(user in any::<String>()) {
            let token = secret().issue(&user, NOW);
            prop_assert_eq!(secret().verify(token.expose(), &user, NOW), Ok(()));
        }
    }
}
