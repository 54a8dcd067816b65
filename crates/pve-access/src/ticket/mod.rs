//! Authentication tickets, challenges of the second factor, and console tickets.
//!
//! `PREFIX:PAYLOAD:TIME::SIGNATURE`, where TIME is eight upper-case hex digits, `:` in the
//! payload is written `%3A`, and the signature covers everything before `::`, followed by `:`
//! and additional data that is not part of the text (gateway reference 2.1; `PVE::Ticket`).
//!
//! A verified ticket says that the cluster issued it lately. Whether its user exists and is
//! enabled is a question for [`Access`](crate::Access), to be asked on every request.

mod remembered;
mod sealed;
mod vnc;

use identity::UserId;
use secrets::SecretString;

use crate::limits::TICKET_AGE;
use crate::{KeyError, KeyId, SigningKey, TicketKeys};
use sealed::{open, seal};

pub use remembered::{Found, Remembered};
pub(crate) use sealed::hex_time;
pub use vnc::{issue_vnc, verify_vnc};

const PREFIX: &str = "PVE";

/// Begins the payload of a ticket that still lacks the second factor.
const CHALLENGE: &str = "!tfa!";

/// What a genuine and fresh ticket says.
///
/// To remember a ticket in order to refuse it, remember these fields and not its text: the
/// signature has more than one spelling that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The payload, decoded.
    pub payload: String,
    /// When it was issued, in seconds since 1970.
    pub issued: u64,
    /// Seconds since then; negative when the issuer's clock is ahead.
    pub age: i64,
    /// The key that signed it.
    pub key: KeyId,
}

/// A ticket is not accepted, or can not be issued. Clients are told only that the ticket is
/// invalid; which of these it was is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Longer than [`MAX_TICKET_BYTES`](crate::limits::MAX_TICKET_BYTES).
    #[error("invalid ticket: too long")]
    TooLong,
    /// Not of the form `PREFIX:…TIME::SIGNATURE`.
    #[error("invalid ticket: malformed")]
    Malformed,
    /// No key of the ring made the signature, or it was made for other additional data.
    #[error("invalid ticket: signature does not verify")]
    Signature,
    /// Too old.
    #[error("invalid ticket: expired, {0} s old")]
    Expired(i64),
    /// From further in the future than clocks may differ.
    #[error("invalid ticket: issued {} s in the future; compare the clocks of the nodes", -.0)]
    Future(i64),
    /// Signed by a key that was not in use when the ticket says it was issued: whoever made it had
    /// a key that is no longer, or not yet, the cluster's.
    #[error("invalid ticket: {0} s old, when its key was not in use")]
    KeyNotInUse(i64),
    /// Genuine, but it lacks the second factor.
    #[error("invalid ticket: the second factor is missing")]
    SecondFactorMissing,
    /// Genuine, but neither for a user nor a challenge as asked for.
    #[error("invalid ticket: for another purpose")]
    Purpose,
    /// A ticket with this payload, path or time would not verify.
    #[error("ticket not issued: blanks, a bad path, or a time beyond 32 bits")]
    Unissuable,
    /// The key could not sign.
    #[error("ticket not issued: {0}")]
    Key(#[from] KeyError),
}

/// Issues a ticket for any payload: a user, or a challenge with the user as `aad`.
///
/// PVE escapes only `:` and unescapes everything, so that it reads its own ticket of
/// `ro%6ft@pam` as one of `root@pam`. Here `%` is escaped too, which PVE reads correctly.
pub fn issue(
    key: &SigningKey,
    payload: &str,
    aad: Option<&str>,
    now: u64,
) -> Result<SecretString, TicketError> {
    seal(key, PREFIX, Some(payload), aad, now)
}

/// Verifies a ticket with the additional data it must have been issued with.
pub fn verify(
    keys: &impl TicketKeys,
    text: &str,
    aad: Option<&str>,
    now: u64,
) -> Result<Verified, TicketError> {
    open(keys, PREFIX, text, aad, &TICKET_AGE, now)
}

/// Verifies a ticket that authenticates requests, with its age.
pub fn verify_user(
    keys: &impl TicketKeys,
    text: &str,
    now: u64,
) -> Result<(UserId, i64), TicketError> {
    let Verified { payload, age, .. } = verify(keys, text, None, now)?;
    Ok((user_of(&payload)?, age))
}

/// Whom a ticket with this payload is for.
fn user_of(payload: &str) -> Result<UserId, TicketError> {
    if payload.starts_with(CHALLENGE) {
        return Err(TicketError::SecondFactorMissing);
    }
    payload.parse().map_err(|_| TicketError::Purpose)
}

/// Issues the ticket with which `user` may answer a challenge (JSON text) of the second factor.
pub fn issue_challenge(
    key: &SigningKey,
    user: &UserId,
    challenge: &str,
    now: u64,
) -> Result<SecretString, TicketError> {
    issue(key, &format!("{CHALLENGE}{challenge}"), Some(&user.to_string()), now)
}

/// Verifies the ticket with which `user` answers, and returns the challenge (JSON text).
///
/// It is good for the login call only: bound to the user by additional data, it verifies as
/// nothing else.
pub fn verify_challenge(
    keys: &impl TicketKeys,
    text: &str,
    user: &UserId,
    now: u64,
) -> Result<String, TicketError> {
    let verified = verify(keys, text, Some(&user.to_string()), now)?;
    let challenge = verified.payload.strip_prefix(CHALLENGE).ok_or(TicketError::Purpose)?;
    Ok(challenge.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::Keyring;
    use proptest::prelude::*;

    const NOW: u64 = 1_795_215_443;

    static RING: LazyLock<Keyring> =
        LazyLock::new(|| Keyring::new(SigningKey::generate().unwrap(), Vec::new()).unwrap());

    fn issued(payload: &str, aad: Option<&str>, now: u64) -> String {
        issue(RING.signing(), payload, aad, now).unwrap().expose().clone()
    }

    fn user(text: &str) -> UserId {
        text.parse().unwrap()
    }

    #[test]
    fn ages_are_exclusive_at_both_ends() {
        let at = |issued_at| verify(&RING, &issued("a@pve", None, issued_at), None, NOW);
        assert_eq!(at(NOW + 299).unwrap().age, -299);
        assert_eq!(at(NOW + 300), Err(TicketError::Future(-300)));
        assert_eq!(at(NOW - 7199).unwrap().age, 7199);
        assert_eq!(at(NOW - 7200), Err(TicketError::Expired(7200)));
    }

    #[test]
    fn additional_data_must_match() {
        let bound = issued("a@pve", Some("x"), NOW);
        assert!(verify(&RING, &bound, Some("x"), NOW).is_ok());
        assert_eq!(verify(&RING, &bound, None, NOW), Err(TicketError::Signature));
        assert_eq!(verify(&RING, &bound, Some("y"), NOW), Err(TicketError::Signature));
        let unbound = issued("a@pve", None, NOW);
        assert_eq!(verify(&RING, &unbound, Some(""), NOW), Err(TicketError::Signature));
    }

    #[test]
    fn a_challenge_is_good_for_its_user_and_the_login_only() {
        let json = r#"{"totp":true}"#;
        let ticket = issue_challenge(RING.signing(), &user("a@pve"), json, NOW).unwrap();
        let ticket = ticket.expose();
        assert!(ticket.starts_with(r#"PVE:!tfa!{"totp"%3Atrue}:6B00D053::"#));
        assert_eq!(verify_challenge(&RING, ticket, &user("a@pve"), NOW).unwrap(), json);
        let other = verify_challenge(&RING, ticket, &user("b@pve"), NOW);
        assert_eq!(other, Err(TicketError::Signature));
        assert_eq!(verify_user(&RING, ticket, NOW), Err(TicketError::Signature));
    }

    #[test]
    fn genuine_tickets_for_another_purpose_are_refused() {
        let open_challenge = issued("!tfa!x@pve", None, NOW);
        let no_factor = verify_user(&RING, &open_challenge, NOW);
        assert_eq!(no_factor, Err(TicketError::SecondFactorMissing));
        assert_eq!(verify_user(&RING, &issued("a", None, NOW), NOW), Err(TicketError::Purpose));
        let login = issued("a@pve", Some("a@pve"), NOW);
        let challenge = verify_challenge(&RING, &login, &user("a@pve"), NOW);
        assert_eq!(challenge, Err(TicketError::Purpose));
    }

    #[test]
    fn percent_signs_in_a_user_name_stay_what_they_are() {
        let ticket = issued("ro%6ft@pam", None, NOW);
        assert_eq!(verify_user(&RING, &ticket, NOW).unwrap().0, user("ro%6ft@pam"));
    }

    #[test]
    fn unissuable_payloads_and_times() {
        for (payload, now) in [("a b@pve", NOW), ("", NOW), ("a@pve", 1 << 32)] {
            let refused = issue(RING.signing(), payload, None, now).unwrap_err();
            assert_eq!(refused, TicketError::Unissuable, "{payload}");
        }
    }

    #[test]
    fn malformed_texts_are_told_apart_from_forged_ones() {
        let malformed = ["", "PVE", "PVE:a@pve:6B00D053:AA", "PVE:a b:6B00D053::AA", "PVE:x::A:A"];
        for text in malformed {
            assert_eq!(verify(&RING, text, None, NOW), Err(TicketError::Malformed), "{text}");
        }
        let forged = "PVE:a@pve:6B00D053::AAAA";
        assert_eq!(verify(&RING, forged, None, NOW), Err(TicketError::Signature));
        let long = "A".repeat(crate::limits::MAX_TICKET_BYTES + 1);
        assert_eq!(verify(&RING, &long, None, NOW), Err(TicketError::TooLong));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn payloads_round_trip(payload in r"[^\s]{1,24}", aad in prop::option::of(".{0,8}")) {
            let text = issued(&payload, aad.as_deref(), NOW);
            let verified = verify(&RING, &text, aad.as_deref(), NOW + 5).unwrap();
            let key = RING.verifying()[0].id();
            prop_assert_eq!(verified, Verified { payload, issued: NOW, age: 5, key });
        }

        #[test]
        fn no_changed_character_goes_unnoticed(
            at in any::<prop::sample::Index>(),
            to in prop_oneof![any::<char>(), prop::char::range(' ', '~')],
        ) {
            let text = issued("alice@pve", None, NOW);
            let mut chars: Vec<char> = text.chars().collect();
            // Past the last full symbol some bits are padding.
            let at = at.index(chars.len() - 4);
            prop_assume!(chars[at] != to);
            chars[at] = to;
            let changed: String = chars.into_iter().collect();
            prop_assert!(verify(&RING, &changed, None, NOW).is_err());
        }

        #[test]
        fn any_text_is_taken(text in r"(PVE:)?(\PC{0,12}:)?([A-F0-9]{8})?(::)?\PC{0,12}") {
            prop_assert!(verify(&RING, &text, None, NOW).is_err());
            prop_assert!(verify_vnc(&RING, &text, "a@pve", "/vms/1", None, NOW).is_err());
        }
    }
}
