//! Counting offences, deciding bans.

use std::{collections::VecDeque, hash::Hash, time::Duration};

use crate::{bounds::MAX_THRESHOLD, keyed::Keyed};

/// When offences become a ban and how long it lasts (fail2ban's `maxretry`, `findtime`, `bantime`
/// and `bantime.increment`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffenceRules {
    /// Offences within [`window`](Self::window) that make a ban; 0 counts as 1, more than
    /// [`MAX_THRESHOLD`] as that.
    pub threshold: u32,
    /// An offence counts until it is this old.
    pub window: Duration,
    /// Length of the first ban; each further one is twice as long as the one before.
    pub first_ban: Duration,
    /// No ban is longer.
    pub longest_ban: Duration,
    /// Each full span of this length without a ban takes back one doubling; zero: bans never grow.
    pub forgive_after: Duration,
}

/// A ban in force, on the clock `now` is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// First moment at which the key is free again.
    pub until: Duration,
    /// 1 for the first ban, one more for each doubling.
    pub step: u32,
}

/// What an offence led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Noted; so many more within the window make a ban.
    Counted {
        /// Offences left, at least 1.
        left: u32,
    },
    /// This offence made the ban: act on it.
    Banned(Ban),
    /// Banned already; the offence changes nothing, so hammering on does not prolong a ban.
    AlreadyBanned(Ban),
}

/// Offences and bans of at most `capacity` keys.
///
/// A banned key is protected until its ban ends: only other bans can push it out of the table
/// ([`Keyed`] says how many it takes). Counts below the threshold, and how often a key was banned
/// before, are forgotten in order of least recent use. A key costs up to 16 bytes per counted
/// offence.
#[derive(Debug)]
pub struct Offences<K> {
    rules: OffenceRules,
    records: Keyed<K, Record>,
    clock: Duration,
}

/// `recent` is in order of time, as the clock never goes back.
#[derive(Debug, Default)]
struct Record {
    recent: VecDeque<Duration>,
    ban: Option<Ban>,
}

impl<K: Clone + Eq + Hash> Offences<K> {
    /// Nobody has done anything.
    #[must_use]
    pub fn new(rules: OffenceRules, capacity: usize) -> Self {
        let threshold = rules.threshold.clamp(1, MAX_THRESHOLD);
        let rules = OffenceRules { threshold, ..rules };
        Self { rules, records: Keyed::new(capacity), clock: Duration::ZERO }
    }

    /// Notes an offence of `key` that counts as `weight` (0: looks, and notes nothing).
    pub fn record(&mut self, key: &K, now: Duration, weight: u32) -> Verdict {
        self.clock = self.clock.max(now);
        let place = self.records.place(self.clock, key, Record::default);
        let verdict = self.records.at(place).note(&self.rules, self.clock, weight);
        if let Verdict::Banned(ban) = verdict {
            self.records.protect_at(place, ban.until);
        }
        verdict
    }

    /// The ban of `key`, if it is in force.
    #[must_use]
    pub fn ban(&self, key: &K, now: Duration) -> Option<Ban> {
        let ban = self.records.peek(key)?.ban?;
        (ban.until > self.clock.max(now)).then_some(ban)
    }

    /// Every ban in force, in no order; O(capacity).
    pub fn bans(&self, now: Duration) -> impl Iterator<Item = (&K, Ban)> {
        let now = self.clock.max(now);
        self.records.iter().filter_map(move |(key, record)| {
            record.ban.filter(|ban| ban.until > now).map(|ban| (key, ban))
        })
    }

    /// Puts a ban in force as it is: one kept over a restart, or ordered by an administrator.
    pub fn impose(&mut self, key: &K, now: Duration, ban: Ban) {
        self.clock = self.clock.max(now);
        let place = self.records.place(self.clock, key, Record::default);
        *self.records.at(place) = Record { recent: VecDeque::new(), ban: Some(ban) };
        self.records.protect_at(place, ban.until);
    }

    /// Forgets everything about `key`. True if it was known.
    pub fn pardon(&mut self, key: &K) -> bool {
        self.records.remove(key).is_some()
    }

    /// Keys remembered now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Keys forgotten for lack of room so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.records.evicted()
    }
}

impl Record {
    fn note(&mut self, rules: &OffenceRules, now: Duration, weight: u32) -> Verdict {
        if let Some(ban) = self.ban.filter(|ban| ban.until > now) {
            return Verdict::AlreadyBanned(ban);
        }
        while self.recent.front().is_some_and(|at| now.saturating_sub(*at) >= rules.window) {
            self.recent.pop_front();
        }
        let counted = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        let left = rules.threshold.saturating_sub(counted.saturating_add(weight));
        if left > 0 {
            self.recent.extend((0..weight).map(|_| now));
            return Verdict::Counted { left };
        }
        let step = self.doublings(rules, now).saturating_add(1);
        let ban = Ban { until: now.saturating_add(length(rules, step)), step };
        *self = Self { recent: VecDeque::new(), ban: Some(ban) };
        Verdict::Banned(ban)
    }

    /// Steps of the last ban that are not forgiven yet.
    fn doublings(&self, rules: &OffenceRules, now: Duration) -> u32 {
        let Some(last) = self.ban else { return 0 };
        let quiet = now.saturating_sub(last.until).as_nanos();
        let forgiven = quiet.checked_div(rules.forgive_after.as_nanos());
        let forgiven = forgiven.and_then(|spans| u32::try_from(spans).ok()).unwrap_or(u32::MAX);
        last.step.saturating_sub(forgiven)
    }
}

fn length(rules: &OffenceRules, step: u32) -> Duration {
    1u32.checked_shl(step.saturating_sub(1))
        .and_then(|times| rules.first_ban.checked_mul(times))
        .map_or(rules.longest_ban, |length| length.min(rules.longest_ban))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: OffenceRules = OffenceRules {
        threshold: 3,
        window: at(60),
        first_ban: at(100),
        longest_ban: at(1000),
        forgive_after: at(5000),
    };

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn third_offence_in_the_window_bans() {
        let mut log = Offences::new(RULES, 10);
        assert_eq!(log.record(&"a", at(0), 1), Verdict::Counted { left: 2 });
        assert_eq!(log.record(&"a", at(59), 1), Verdict::Counted { left: 1 });
        // the first one is 60 s old and counts no more
        assert_eq!(log.record(&"a", at(60), 1), Verdict::Counted { left: 1 });
        let ban = Ban { until: at(161), step: 1 };
        assert_eq!(log.record(&"a", at(61), 1), Verdict::Banned(ban));
        assert_eq!(log.record(&"a", at(100), 9), Verdict::AlreadyBanned(ban));
        assert_eq!((log.ban(&"a", at(160)), log.ban(&"a", at(161))), (Some(ban), None));
        assert_eq!(log.bans(at(160)).collect::<Vec<_>>(), [(&"a", ban)]);
        assert_eq!(log.bans(at(161)).count(), 0);
    }

    #[test]
    fn bans_double_up_to_the_longest_and_are_forgiven() {
        let mut log = Offences::new(RULES, 10);
        let mut now = at(0);
        for (secs, step) in [(100, 1), (200, 2), (400, 3), (800, 4), (1000, 5), (1000, 6)] {
            let ban = Ban { until: now + at(secs), step };
            assert_eq!(log.record(&1, now, 3), Verdict::Banned(ban));
            now = ban.until;
        }
        // four full spans of quiet take four steps of the six back
        now += at(5000 * 5 - 1);
        let ban = Ban { until: now + at(400), step: 3 };
        assert_eq!(log.record(&1, now, 3), Verdict::Banned(ban));
        log.record(&1, at(10_000_000), 3);
        assert_eq!(log.ban(&1, at(10_000_000)).map(|ban| ban.step), Some(1));
    }

    #[test]
    fn weight_and_odd_rules() {
        let mut log = Offences::new(RULES, 10);
        assert_eq!(log.record(&1, at(0), 0), Verdict::Counted { left: 3 });
        assert_eq!(log.record(&1, at(0), 2), Verdict::Counted { left: 1 });
        assert!(matches!(log.record(&1, at(0), u32::MAX), Verdict::Banned(_)));
        let odd = OffenceRules {
            threshold: 0,
            window: Duration::ZERO,
            first_ban: Duration::MAX,
            longest_ban: Duration::MAX,
            forgive_after: Duration::ZERO,
        };
        let mut log = Offences::new(odd, 0);
        let forever = Ban { until: Duration::MAX, step: 1 };
        assert_eq!(log.record(&1, at(5), 1), Verdict::Banned(forever));
        assert_eq!(log.ban(&1, at(u64::MAX - 1)), Some(forever));
    }

    #[test]
    fn clock_stepping_back_does_not_prolong() {
        let mut log = Offences::new(RULES, 10);
        log.record(&1, at(1000), 3);
        assert_eq!(log.ban(&1, at(0)).map(|ban| ban.until), Some(at(1100)));
        assert_eq!(log.ban(&1, at(1100)), None);
        assert_eq!(
            log.record(&1, at(0), 0),
            Verdict::AlreadyBanned(Ban { until: at(1100), step: 1 })
        );
    }

    #[test]
    fn flooding_does_not_lift_a_ban() {
        let mut log = Offences::new(RULES, 8);
        log.record(&0, at(0), 3);
        log.impose(&1, at(0), Ban { until: at(500), step: 4 });
        for key in 100..5000 {
            log.record(&key, at(1), 2);
        }
        assert!(log.ban(&0, at(1)).is_some() && log.ban(&1, at(1)).is_some());
        assert_eq!((log.len(), log.evicted()), (8, 2 + 4900 - 8));
        assert!(log.pardon(&1) && !log.pardon(&1));
        assert_eq!(log.ban(&1, at(1)), None);
    }

    /// Keeps every event for ever and derives the answer from the list.
    #[derive(Default)]
    struct Naive {
        offences: Vec<Duration>,
        bans: Vec<(Duration, Ban)>,
    }

    impl Naive {
        fn record(&mut self, now: Duration, weight: u32) -> Verdict {
            if let Some((_, ban)) = self.bans.last().filter(|(_, ban)| now < ban.until) {
                return Verdict::AlreadyBanned(*ban);
            }
            self.offences.extend((0..weight).map(|_| now));
            let since = self.bans.last().map_or(Duration::ZERO, |(_, ban)| ban.until);
            let counts = |at: &&Duration| **at >= since && **at + RULES.window > now;
            let counted = self.offences.iter().filter(counts).count() as u64;
            if counted < 3 {
                return Verdict::Counted { left: 3 - u32::try_from(counted).unwrap() };
            }
            let step = self.bans.last().map_or(1, |(_, last)| {
                let spans = (now - last.until).as_secs() / RULES.forgive_after.as_secs();
                last.step.saturating_sub(u32::try_from(spans).unwrap()) + 1
            });
            let secs = (100u64 << (step - 1).min(20)).min(1000);
            let ban = Ban { until: now + at(secs), step };
            self.bans.push((now, ban));
            Verdict::Banned(ban)
        }
    }

    proptest! {
        #[test]
        fn same_as_the_full_history(steps in proptest::collection::vec((0..3usize, prop_oneof![8 => 0..50u64, 1 => 0..12_000u64], 0..3u32), 1..150)) {
            let mut log = Offences::new(RULES, 3);
            let mut naive = [Naive::default(), Naive::default(), Naive::default()];
            let mut now = Duration::ZERO;
            for (key, secs, weight) in steps {
                now += at(secs);
                prop_assert_eq!(log.record(&key, now, weight), naive[key].record(now, weight));
                let banned = naive[key].bans.last().map(|(_, ban)| *ban).filter(|ban| ban.until > now);
                prop_assert_eq!(log.ban(&key, now), banned);
            }
        }
    }
}
