//! The public keys of a cluster as a node has them in its files: the one in use, and the one
//! before, which PVE replaces once a day.
//!
//! A key that is not in use any more must not go on to make tickets for whoever has kept it, so
//! each is good for tickets of its own time only (gateway reference 2.1;
//! `PVE::AccessControl`'s range of ages). What PVE additionally asks of a quorate cluster, that a
//! key older than a day verifies nothing new, is not asked here: a node without quorum extends
//! the key's life, and only PVE knows which it is.

use std::ops::Range;

use crate::limits::{KEY_AGE_SLACK, TICKET_AGE};
use crate::{TicketKeys, VerifyKey};

/// The key in use, and the one before it.
#[derive(Debug, Clone)]
pub struct ClusterKeys {
    current: DatedKey,
    former: Option<DatedKey>,
}

/// A key and the modification time of its file.
#[derive(Debug, Clone)]
pub struct DatedKey {
    /// The key.
    pub key: VerifyKey,
    /// In seconds since 1970. Of `authkey.pub`: when it came into use. Of `authkey.pub.old`: when
    /// it went out of it.
    pub changed: u64,
}

impl ClusterKeys {
    /// From `/etc/pve/authkey.pub` and, where it is there, `/etc/pve/authkey.pub.old`.
    pub fn new(current: DatedKey, former: Option<DatedKey>) -> Self {
        Self { current, former }
    }

    /// How many keys there are: one or two.
    pub fn count(&self) -> usize {
        1 + usize::from(self.former.is_some())
    }
}

impl TicketKeys for ClusterKeys {
    fn candidates(&self, now: u64) -> impl Iterator<Item = (&VerifyKey, Range<i64>)> {
        let current = (&self.current.key, i64::MIN..self.current.age(now) + KEY_AGE_SLACK);
        let former = self.former.iter();
        let former = former.map(move |key| (&key.key, key.age(now) - KEY_AGE_SLACK..i64::MAX));
        // One of whose tickets none is young enough is not even tried.
        let former = former.filter(|(_, signed_then)| signed_then.start < TICKET_AGE.end);
        std::iter::once(current).chain(former)
    }
}

impl DatedKey {
    /// A file from the future is new.
    fn age(&self, now: u64) -> i64 {
        // Far from overflow where the slack is added.
        i64::from(u32::try_from(now.saturating_sub(self.changed)).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;
    use crate::ticket::{TicketError, issue, verify};

    const NOW: u64 = 1_795_215_443;

    /// Tickets of both keys, `rotated` seconds after the former was replaced.
    fn judge(former: bool, rotated: u64, issued: u64) -> Result<i64, TicketError> {
        let keys = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
        let dated =
            |key: &SigningKey| DatedKey { key: key.verify_key().unwrap(), changed: NOW - rotated };
        let ring = ClusterKeys::new(dated(&keys[0]), Some(dated(&keys[1])));
        assert_eq!(ring.count(), 2);
        let text = issue(&keys[usize::from(former)], "a@pve", None, issued).unwrap();
        verify(&ring, text.expose(), None, NOW).map(|verified| verified.age)
    }

    #[test]
    fn the_key_in_use_signs_nothing_from_before_it_was_made() {
        assert_eq!(judge(false, 1000, NOW - 1299), Ok(1299));
        assert_eq!(judge(false, 1000, NOW - 1300), Err(TicketError::KeyNotInUse(1300)));
        assert_eq!(judge(false, 100_000, NOW - 7199), Ok(7199));
        assert_eq!(judge(false, 100_000, NOW - 7200), Err(TicketError::Expired(7200)));
        assert_eq!(judge(false, 0, NOW + 299), Ok(-299));
        assert_eq!(judge(false, 0, NOW + 300), Err(TicketError::Future(-300)));
    }

    #[test]
    fn the_key_before_signs_nothing_after_it_was_replaced() {
        assert_eq!(judge(true, 1000, NOW - 1000), Ok(1000));
        assert_eq!(judge(true, 1000, NOW - 701), Ok(701));
        assert_eq!(judge(true, 1000, NOW - 700), Err(TicketError::KeyNotInUse(700)));
        assert_eq!(judge(true, 0, NOW + 299), Ok(-299));
        assert_eq!(judge(true, 7499, NOW - 7199), Err(TicketError::KeyNotInUse(7199)));
        // Nothing of its own time is left.
        assert_eq!(judge(true, 7500, NOW - 7199), Err(TicketError::Signature));
    }

    #[test]
    fn a_key_of_the_future_is_new_and_one_of_1970_is_old() {
        let key = SigningKey::generate().unwrap();
        let text = issue(&key, "a@pve", None, NOW - 299).unwrap();
        for (changed, good) in [(NOW + 500, true), (u64::MAX, true), (0, true)] {
            let dated = DatedKey { key: key.verify_key().unwrap(), changed };
            let ring = ClusterKeys::new(dated, None);
            assert_eq!(verify(&ring, text.expose(), None, NOW).is_ok(), good, "{changed}");
        }
    }
}
