//! The counts and what follows from them. Plain values: no clock, no lock, no disk.

use std::net::IpAddr;
use std::time::Duration;

use limits::{Ban, Keyed, Offences, Verdict};

use super::attempt::{Attempt, Channel, UserText};
use super::settings::LoginRules;
use crate::limits::{LOGIN_ACCOUNTS, LOGIN_PAIRS, LOGIN_SOURCES, UNDELAYED_FAILURES};

/// Realms are slow after this many times the failures of an account.
const REALM_TIMES: u32 = 10;

/// Everything that is counted.
pub(super) struct Ledger {
    delay: Duration,
    longest_delay: Duration,
    ban_after: u32,
    sources: Offences<IpAddr>,
    pairs: Offences<(IpAddr, UserText)>,
    accounts: Offences<UserText>,
    realms: Offences<UserText>,
    /// Expired tickets that were counted once already.
    expired: Keyed<(IpAddr, u64), Duration>,
    window: Duration,
}

/// How a source and account stand before they are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Free,
    Locked,
    Banned,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// How long its answer takes, from the request.
    pub(super) delay: Duration,
    /// The lock it made.
    pub(super) lock: Option<Ban>,
    /// The ban it made.
    pub(super) ban: Option<Ban>,
}

impl Ledger {
    pub(super) fn new(rules: &LoginRules) -> Self {
        Self {
            delay: rules.delay,
            longest_delay: rules.longest_delay.max(rules.delay),
            ban_after: rules.ban_after,
            sources: Offences::new(rules.bans(), LOGIN_SOURCES),
            pairs: Offences::new(rules.locks(), LOGIN_PAIRS),
            accounts: Offences::new(rules.slow(1), LOGIN_ACCOUNTS),
            realms: Offences::new(rules.slow(REALM_TIMES), LOGIN_ACCOUNTS),
            expired: Keyed::new(LOGIN_SOURCES),
            window: rules.window,
        }
    }

    pub(super) fn standing(&self, source: IpAddr, attempt: &Attempt, now: Duration) -> Standing {
        if self.sources.ban(&source, now).is_some() {
            return Standing::Banned;
        }
        let locked = lockable(attempt)
            .is_some_and(|user| self.pairs.ban(&(source, user.clone()), now).is_some());
        if locked { Standing::Locked } else { Standing::Free }
    }

    pub(super) fn is_banned(&self, source: IpAddr, now: Duration) -> bool {
        self.sources.ban(&source, now).is_some()
    }

    /// Notes a failure. `asked`: Proxmox VE judged it; else it was refused unseen, which says
    /// nothing about the account. `exempt`: the source is neither locked nor banned.
    pub(super) fn failure(
        &mut self,
        source: IpAddr,
        attempt: &Attempt,
        now: Duration,
        (asked, exempt): (bool, bool),
    ) -> Judged {
        let mut slow = false;
        if asked && let Some(user) = &attempt.user {
            slow |= is_ban(self.accounts.record(user, now, 1));
        }
        if asked && let Some(realm) = &attempt.realm {
            slow |= is_ban(self.realms.record(realm, now, 1));
        }
        let mut judged = Judged { delay: self.delay, lock: None, ban: None };
        if !exempt {
            let weight = u32::from(!self.is_repeated(source, attempt, now));
            let verdict = self.sources.record(&source, now, weight);
            if let Verdict::Banned(ban) = verdict {
                judged.ban = Some(ban);
            }
            judged.delay = self.delay_of(verdict);
            if asked
                && let Some(user) = lockable(attempt)
                && let Verdict::Banned(lock) =
                    self.pairs.record(&(source, user.clone()), now, weight)
            {
                judged.lock = Some(lock);
            }
        }
        if slow {
            judged.delay = self.slow_delay();
        }
        judged
    }

    /// The account is who it says from this source. The source's own count stays: with one
    /// account of their own, guessers could clear it between their tries.
    /// True if there was something to forget.
    pub(super) fn success(&mut self, source: IpAddr, attempt: &Attempt, now: Duration) -> bool {
        let Some(user) = attempt.user.as_ref().filter(|_| !self.pairs.is_empty()) else {
            return false;
        };
        let pair = (source, user.clone());
        self.pairs.ban(&pair, now).is_none() && self.pairs.pardon(&pair)
    }

    /// How long a request of a banned source takes to be refused.
    pub(super) fn banned_delay(&self) -> Duration {
        self.delay
    }

    /// A ban kept over a restart.
    pub(super) fn impose(&mut self, source: IpAddr, now: Duration, ban: Ban) {
        self.sources.impose(&source, now, ban);
    }

    /// Takes the ban of a source away, and its locks. False if there was neither.
    pub(super) fn pardon_source(&mut self, source: IpAddr, now: Duration) -> bool {
        let banned = self.sources.ban(&source, now).is_some();
        self.sources.pardon(&source);
        let locked = self.pardon_pairs(now, |(of, _)| *of == source);
        banned || locked
    }

    /// Takes the locks of an account away. False if there was none.
    pub(super) fn pardon_account(&mut self, user: &UserText, now: Duration) -> bool {
        self.accounts.pardon(user);
        self.pardon_pairs(now, |(_, of)| of == user)
    }

    pub(super) fn bans(&self, now: Duration) -> impl Iterator<Item = (&IpAddr, Ban)> {
        self.sources.bans(now)
    }

    pub(super) fn locks(&self, now: Duration) -> impl Iterator<Item = (&(IpAddr, UserText), Ban)> {
        self.pairs.bans(now)
    }

    /// Sources known, and sources, pairs, accounts and realms forgotten for want of room.
    pub(super) fn sizes(&self) -> (usize, u64) {
        let forgotten = [
            self.sources.evicted(),
            self.pairs.evicted(),
            self.accounts.evicted(),
            self.realms.evicted(),
        ];
        (self.sources.len(), forgotten.iter().sum())
    }

    fn pardon_pairs(&mut self, now: Duration, of: impl Fn(&(IpAddr, UserText)) -> bool) -> bool {
        let locked: Vec<_> =
            self.pairs.bans(now).map(|(pair, _)| pair).filter(|pair| of(pair)).cloned().collect();
        locked.iter().for_each(|pair| {
            self.pairs.pardon(pair);
        });
        !locked.is_empty()
    }

    /// Whether this expired ticket was counted within the window.
    fn is_repeated(&mut self, source: IpAddr, attempt: &Attempt, now: Duration) -> bool {
        let Some(mark) = attempt.expired else {
            return false;
        };
        let mut known = true;
        let seen = self.expired.entry(now, &(source, mark), || {
            known = false;
            now
        });
        let repeated = known && now.saturating_sub(*seen) < self.window;
        if !repeated {
            *seen = now;
        }
        repeated
    }

    /// The longest, unless nothing is delayed at all.
    fn slow_delay(&self) -> Duration {
        if self.delay.is_zero() { Duration::ZERO } else { self.longest_delay }
    }

    /// The first failures take the ordinary delay, each further one twice as long.
    fn delay_of(&self, verdict: Verdict) -> Duration {
        let Verdict::Counted { left } = verdict else {
            return self.slow_delay();
        };
        let counted = self.ban_after.saturating_sub(left);
        let doublings = counted.saturating_sub(UNDELAYED_FAILURES).min(16);
        self.delay.saturating_mul(1 << doublings).min(self.longest_delay)
    }
}

/// The account that failures of this attempt lock. The name in a forged ticket is anybody's: it
/// must not shut out its owner behind the same address, and a signature is not guessed.
fn lockable(attempt: &Attempt) -> Option<&UserText> {
    attempt.user.as_ref().filter(|_| attempt.channel != Channel::Ticket)
}

fn is_ban(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Banned(_) | Verdict::AlreadyBanned(_))
}

#[cfg(test)]
mod tests;
