//! Counts and bans of several gates together, so that nobody gains tries by going from one to the
//! next.
//!
//! Every failure is stored, for the window in which it counts, before it is answered; each gate
//! counts those of the others as its own. A gate that starts begins with what is stored.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use state::{Change, Entry, Table};

use super::attempt::{Attempt, Channel, UserText};
use super::engine::{Logins, lock};
use super::standing;
use crate::limits::{ATTEMPTS_TOLD, BANS_BETWEEN_PRUNES};
use crate::source::{parse_source, source_text};

/// What a gate tells the others of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Told {
    Failure(Failure),
    /// The account is who it says, from there.
    Success {
        source: String,
        user: String,
    },
    /// An operator has taken bans and locks away: of a source, or of an account.
    Pardon {
        of: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    source: String,
    user: Option<String>,
    realm: Option<String>,
    /// A ticket locks nobody.
    ticket: bool,
    expired: Option<u64>,
    asked: bool,
    exempt: bool,
}

/// One, as it is stored.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Unix milliseconds: the order in which a gate that starts counts them.
    at: u64,
    #[serde(flatten)]
    told: Told,
}

impl Told {
    pub(super) fn failure(
        source: IpAddr,
        attempt: &Attempt,
        (asked, exempt): (bool, bool),
    ) -> Self {
        let text = |text: &Option<UserText>| text.as_ref().map(ToString::to_string);
        Self::Failure(Failure {
            source: source_text(source),
            user: text(&attempt.user),
            realm: text(&attempt.realm),
            ticket: attempt.channel == Channel::Ticket,
            expired: attempt.expired,
            asked,
            exempt,
        })
    }

    pub(super) fn success(source: IpAddr, attempt: &Attempt) -> Self {
        let user = attempt.user.as_ref().map(ToString::to_string).unwrap_or_default();
        Self::Success { source: source_text(source), user }
    }
}

impl Failure {
    fn attempt(&self, source: IpAddr) -> Attempt {
        let channel = if self.ticket { Channel::Ticket } else { Channel::Json };
        let realm = self.realm.as_deref().map(UserText::new);
        let attempt = Attempt::new(channel, source, self.user.as_deref());
        Attempt { realm, expired: self.expired, ..attempt }
    }
}

impl Logins {
    /// Counts together with other gates, beginning with what they have stored.
    pub(crate) fn joined(mut self, window: Duration, stored: &[Entry]) -> Self {
        self.window = Some(window);
        let mut kept: Vec<Kept> = stored.iter().filter_map(read).collect();
        kept.sort_by_key(|kept| kept.at);
        let now = u64::try_from(self.clock.unix().as_millis()).unwrap_or(u64::MAX);
        for kept in kept {
            let age = Duration::from_millis(now.saturating_sub(kept.at));
            let then = self.clock.monotonic().saturating_sub(age);
            if age < window
                && let Some(source) = self.count(&kept.told, then)
            {
                // Bans in force are stored: this one is over, or was taken away.
                self.ledger().pardon_source(source, then);
            }
        }
        self
    }

    /// The changes that tell the others: none where there are none, or too much has been told.
    pub(super) fn telling(&self, told: &Told) -> Vec<Change> {
        let Some(window) = self.window else { return Vec::new() };
        let Ok(key) = secrets::random::hex() else { return Vec::new() };
        let now = self.clock.unix();
        let number = {
            let mut since = lock(&self.told);
            if now.saturating_sub(since.0) >= window {
                *since = (now, 0);
            }
            since.1 += 1;
            since.1
        };
        if number > ATTEMPTS_TOLD {
            return Vec::new();
        }
        let at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let value = serde_json::to_vec(&Kept { at, told: told.clone() }).unwrap_or_default();
        let (key, expires) = (key.expose().clone().into_bytes(), now.saturating_add(window));
        let entry = Entry { key, value, expires };
        let mut changes = vec![Change::Put { table: Table::Attempts, entry }];
        if number.is_multiple_of(BANS_BETWEEN_PRUNES) {
            changes.push(Change::Prune { table: Table::Attempts, now });
        }
        changes
    }

    /// Tells what nobody waits for.
    pub(super) fn tell_later(&self, told: &Told) {
        self.telling(told).into_iter().for_each(|change| self.state.later(change));
    }

    /// An attempt at another gate.
    pub(crate) fn told(&self, entry: &Entry) {
        if let Some(kept) = read(entry) {
            let banned = self.count(&kept.told, self.clock.monotonic());
            // Who banned it has stored that, and both come to the same end.
            if banned.is_some() {
                self.any_ban.store(true, Ordering::Relaxed);
            }
        }
    }

    /// A ban, made at any gate.
    pub(crate) fn told_ban(&self, entry: &Entry) {
        let Some((source, ban)) = standing::restore(entry, &self.clock) else { return };
        self.any_ban.store(true, Ordering::Relaxed);
        self.enforcer.iter().for_each(|enforcer| enforcer.ban(source, ban.until));
        self.ledger().impose(source, self.clock.monotonic(), ban);
    }

    /// A ban was taken away.
    pub(crate) fn told_free(&self, key: &[u8]) {
        if let Some(source) = std::str::from_utf8(key).ok().and_then(parse_source) {
            self.free(source);
        }
    }

    /// All bans that there are. After a loss, those in force here are put there again.
    pub(crate) fn told_all_bans(&self, entries: &[Entry], lost: bool) {
        entries.iter().for_each(|entry| self.told_ban(entry));
        let here: Vec<_> = {
            let ledger = self.ledger();
            ledger.bans(self.clock.monotonic()).map(|(source, ban)| (*source, ban)).collect()
        };
        for (source, ban) in here {
            let key = source_text(source).into_bytes();
            if entries.iter().any(|entry| entry.key == key) {
                continue;
            }
            if lost {
                self.state.later(standing::keep(source, ban, &self.clock));
            } else {
                self.free(source);
            }
        }
    }

    fn free(&self, source: IpAddr) {
        self.enforcer.iter().for_each(|enforcer| enforcer.free(source));
        self.ledger().pardon_source(source, self.clock.monotonic());
    }

    /// Returns the source that this has banned.
    fn count(&self, told: &Told, now: Duration) -> Option<IpAddr> {
        match told {
            Told::Failure(failure) => {
                let source = parse_source(&failure.source)?;
                let flags = (failure.asked, failure.exempt);
                let judged = self.ledger().failure(source, &failure.attempt(source), now, flags);
                if judged.lock.is_some() {
                    self.any_lock.store(true, Ordering::Relaxed);
                }
                return judged.ban.map(|_| source);
            }
            Told::Success { source, user } => {
                if let Some(source) = parse_source(source) {
                    let attempt = Attempt::new(Channel::Json, source, Some(user));
                    self.ledger().success(source, &attempt, now);
                }
            }
            Told::Pardon { of } => match parse_source(of) {
                Some(source) => self.free(source),
                None => drop(self.ledger().pardon_account(&UserText::new(of), now)),
            },
        }
        None
    }
}

fn read(entry: &Entry) -> Option<Kept> {
    serde_json::from_slice(&entry.value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back() {
        let source: IpAddr = "2001:db8::".parse().unwrap();
        let mut attempt = Attempt::new(Channel::Ticket, source, Some("a@pve"));
        attempt.expired = Some(7);
        for told in [
            Told::failure(source, &attempt, (true, false)),
            Told::success(source, &attempt),
            Told::Pardon { of: "192.0.2.1".into() },
        ] {
            let value = serde_json::to_vec(&Kept { at: 5, told: told.clone() }).unwrap();
            let entry = Entry { key: Vec::new(), value, expires: Duration::MAX };
            let kept = read(&entry).unwrap();
            assert_eq!((kept.at, &kept.told), (5, &told));
            if let Told::Failure(failure) = kept.told {
                assert_eq!(parse_source(&failure.source), Some(source));
                assert_eq!(failure.attempt(source), attempt);
            }
        }
        assert!(
            read(&Entry { key: vec![], value: b"{}".to_vec(), expires: Duration::MAX }).is_none()
        );
    }
}
