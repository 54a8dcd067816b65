//! Tickets whose signature has verified before.
//!
//! A client sends one ticket with every request for two hours, and its signature costs many times
//! the rest of a small request. Only signatures are remembered: age and key are judged anew.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use identity::UserId;

use super::sealed::judged_age;
use super::{TicketError, user_of, verify};
use crate::limits::TICKET_AGE;
use crate::{KeyId, TicketKeys};

/// A bounded number of them, by digest, so that no ticket stays in memory.
#[derive(Debug)]
pub struct Remembered {
    known: Mutex<HashMap<[u8; SHA256_OUTPUT_LEN], Known>>,
    most: usize,
}

/// Where the answer about a signature came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was remembered.
    Known,
    /// It was verified, and is remembered now.
    Verified,
    /// The same, and all others were forgotten for it.
    MadeRoom,
}

#[derive(Debug)]
struct Known {
    user: UserId,
    issued: u64,
    key: KeyId,
}

impl Remembered {
    /// Room for so many; one more forgets all.
    pub fn new(most: usize) -> Self {
        Self { known: Mutex::default(), most }
    }

    /// As [`verify_user`](super::verify_user), which it answers the same as.
    ///
    /// # Errors
    /// [`TicketError`]; nothing is remembered of such a ticket.
    pub fn verify_user(
        &self,
        keys: &impl TicketKeys,
        text: &str,
        now: u64,
    ) -> Result<(UserId, Found), TicketError> {
        let mut id = [0; SHA256_OUTPUT_LEN];
        id.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        if let Some(known) = self.lock().get(&id) {
            let mut candidates = keys.candidates(now);
            // A key that is gone verifies nothing any more.
            let key = candidates.find(|(key, _)| key.id() == known.key);
            let (_, signed_then) = key.ok_or(TicketError::Signature)?;
            judged_age(known.issued, now, &TICKET_AGE, &signed_then)?;
            return Ok((known.user.clone(), Found::Known));
        }
        // Not under the lock: others need not wait for a signature.
        let verified = verify(keys, text, None, now)?;
        let user = user_of(&verified.payload)?;
        let mut known = self.lock();
        let full = known.len() >= self.most;
        if full {
            known.clear();
        }
        known.insert(id, Known { user: user.clone(), issued: verified.issued, key: verified.key });
        Ok((user, if full { Found::MadeRoom } else { Found::Verified }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; SHA256_OUTPUT_LEN], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::{issue, verify_user};
    use crate::{ClusterKeys, DatedKey, Keyring, SigningKey};

    const NOW: u64 = 1_795_215_443;

    #[test]
    fn what_is_remembered_is_answered_as_what_is_verified() {
        let keys = Keyring::new(SigningKey::generate().unwrap(), Vec::new()).unwrap();
        let issued = issue(keys.signing(), "a@pve", None, NOW).unwrap();
        let text = issued.expose();
        let seen = Remembered::new(8);
        assert_eq!(seen.verify_user(&keys, text, NOW).unwrap().1, Found::Verified);
        assert_eq!(seen.verify_user(&keys, text, NOW).unwrap().1, Found::Known);
        for now in [NOW, NOW + 7199, NOW + 7200, NOW - 299, NOW - 300, NOW] {
            let verified = verify_user(&keys, text, now).map(|(user, _)| user);
            let remembered = seen.verify_user(&keys, text, now).map(|(user, _)| user);
            assert_eq!(remembered, verified, "{now}");
        }
        let other = text.replace("a@pve", "b@pve");
        assert_eq!(seen.verify_user(&keys, &other, NOW), Err(TicketError::Signature));
    }

    #[test]
    fn a_key_that_is_gone_takes_its_tickets_along() {
        let [one, two] = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
        let dated =
            |key: &SigningKey, changed| DatedKey { key: key.verify_key().unwrap(), changed };
        let before = ClusterKeys::new(dated(&one, NOW - 500), None);
        let during = ClusterKeys::new(dated(&two, NOW), Some(dated(&one, NOW)));
        let after = ClusterKeys::new(dated(&two, NOW), None);
        let seen = Remembered::new(8);
        let text = issue(&one, "a@pve", None, NOW - 10).unwrap();
        let found = |keys, now| seen.verify_user(keys, text.expose(), now).map(|(_, found)| found);
        assert_eq!(found(&before, NOW), Ok(Found::Verified));
        assert_eq!(found(&during, NOW + 7000), Ok(Found::Known));
        assert_eq!(found(&after, NOW), Err(TicketError::Signature));
        // Of the time after its key was replaced: somebody has kept the key.
        let late = issue(&one, "a@pve", None, NOW + 301).unwrap();
        let late = seen.verify_user(&during, late.expose(), NOW + 301);
        assert_eq!(late, Err(TicketError::KeyNotInUse(0)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let keys = Keyring::new(SigningKey::generate().unwrap(), Vec::new()).unwrap();
        let seen = Remembered::new(2);
        for (number, expected) in
            [Found::Verified, Found::Verified, Found::MadeRoom, Found::Verified].iter().enumerate()
        {
            let text = issue(keys.signing(), &format!("a{number}@pve"), None, NOW).unwrap();
            assert_eq!(seen.verify_user(&keys, text.expose(), NOW).unwrap().1, *expected);
        }
        assert_eq!(seen.lock().len(), 2);
    }
}
