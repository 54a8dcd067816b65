//! Tickets that were verified before.
//!
//! A client sends one ticket with every request for two hours, and the signature costs four times
//! the rest of a small request. Only signatures are remembered: age and account are judged anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use identity::UserId;
use pve_access::limits::TICKET_AGE;
use pve_access::{Keyring, ticket};

use crate::limits::VERIFIED_TICKETS;

/// By digest, so that no ticket stays in memory: its user, and when it was issued.
type Known = HashMap<[u8; SHA256_OUTPUT_LEN], (UserId, i64)>;

/// Verified tickets of one key ring, which never changes while a mock runs.
#[derive(Debug, Default)]
pub(crate) struct VerifiedTickets(Mutex<Known>);

impl VerifiedTickets {
    /// The user of a valid ticket; `now` is in seconds since 1970.
    pub(crate) fn user(&self, keys: &Keyring, text: &str, now: u64) -> Option<UserId> {
        let seconds = i64::try_from(now).unwrap_or(i64::MAX);
        let key = digest(&SHA256, text.as_bytes()).as_ref().try_into().ok()?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((user, issued)) = known.get(&key) {
            let age = seconds.saturating_sub(*issued);
            // Exclusive at both ends, as where the signature is verified.
            return (TICKET_AGE.start < age && age < TICKET_AGE.end).then(|| user.clone());
        }
        let (user, age) = ticket::verify_user(keys, text, now).ok()?;
        if known.len() >= VERIFIED_TICKETS {
            known.clear();
        }
        known.insert(key, (user.clone(), seconds.saturating_sub(age)));
        Some(user)
    }
}

#[cfg(test)]
mod tests {
    use pve_access::SigningKey;

    use super::*;

    const NOW: u64 = 1_795_215_443;

    #[test]
    fn what_is_remembered_is_answered_as_what_is_verified() {
        let keys = Keyring::new(SigningKey::generate().unwrap(), Vec::new()).unwrap();
        let issued = ticket::issue(keys.signing(), "a@pve", None, NOW).unwrap();
        let text = issued.expose();
        let seen = VerifiedTickets::default();
        for now in [NOW, NOW + 7199, NOW + 7200, NOW - 299, NOW - 300, NOW] {
            let verified = ticket::verify_user(&keys, text, now).ok().map(|(user, _)| user);
            assert_eq!(seen.user(&keys, text, now), verified, "{now}");
            assert_eq!(VerifiedTickets::default().user(&keys, text, now), verified, "{now}");
        }
        assert_eq!(seen.user(&keys, &text.replace("a@pve", "b@pve"), NOW), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let keys = Keyring::new(SigningKey::generate().unwrap(), Vec::new()).unwrap();
        let issued = ticket::issue(keys.signing(), "a@pve", None, NOW).unwrap();
        let seen = VerifiedTickets::default();
        let user: UserId = "b@pve".parse().unwrap();
        for at in 0..VERIFIED_TICKETS {
            let mut key = [0; SHA256_OUTPUT_LEN];
            key[..8].copy_from_slice(&at.to_le_bytes());
            seen.0.lock().unwrap().insert(key, (user.clone(), 0));
        }
        assert!(seen.user(&keys, issued.expose(), NOW).is_some());
        assert_eq!(seen.0.lock().unwrap().len(), 1);
    }
}
