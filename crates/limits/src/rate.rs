//! Token buckets, computed as GCRA: one number of state, no timer.

use std::time::Duration;

use crate::bounds::{MAX_DEBT, NEVER_PS};

/// A budget: `burst` tokens at once, `per_second` of them coming back each second.
///
/// `burst` 0 admits nothing. A `per_second` that is zero, negative or not a number never refills.
/// Five a minute is `Rate { burst: 5, per_second: 5.0 / 60.0 }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Tokens a client that was quiet for long may spend at once.
    pub burst: u32,
    /// Tokens that come back per second; fractions are fine, resolution is one picosecond per token.
    pub per_second: f64,
}

/// The budget does not cover the request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("budget exhausted: {}", waiting(*retry_after))]
pub struct Exhausted {
    /// How long until the same cost is covered, rounded up to a nanosecond; if nothing else is
    /// spent until then the request will be admitted. [`Duration::MAX`]: never, the cost is above
    /// the burst or the budget does not refill.
    pub retry_after: Duration,
}

impl Exhausted {
    /// Whole seconds for HTTP `Retry-After` (RFC 9110 §10.2.3), rounded up, at least 1.
    #[must_use]
    pub fn retry_after_secs(&self) -> u64 {
        let partial = u64::from(self.retry_after.subsec_nanos() > 0);
        self.retry_after.as_secs().saturating_add(partial).max(1)
    }
}

/// One bucket, for one thing that is limited as a whole.
///
/// Exact: over any span of time at most `burst + span * per_second` tokens are admitted.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    pace: Pace,
    full_at: u128,
    clock: Duration,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { pace: Pace::new(rate), full_at: 0, clock: Duration::ZERO }
    }

    /// Spends `cost` tokens; costs nothing when refused.
    ///
    /// # Errors
    /// [`Exhausted`] when fewer are there. A cost of 0 is never refused.
    pub fn take(&mut self, now: Duration, cost: u32) -> Result<(), Exhausted> {
        self.clock = self.clock.max(now);
        self.pace.take(&mut self.full_at, picos(self.clock), cost)
    }

    /// How long until `cost` tokens are there; zero: now, [`Duration::MAX`]: never.
    #[must_use]
    pub fn retry_after(&self, now: Duration, cost: u32) -> Duration {
        self.pace.wait(self.full_at, picos(self.clock.max(now)), cost)
    }

    /// Whole tokens there now.
    #[must_use]
    pub fn available(&self, now: Duration) -> u32 {
        self.pace.available(self.full_at, picos(self.clock.max(now)))
    }

    /// Takes `tokens` away whether they are there or not: the debt delays whatever comes next, and
    /// ends at the latest [`MAX_DEBT`] after the bucket was empty.
    pub fn penalise(&mut self, now: Duration, tokens: u32) {
        self.clock = self.clock.max(now);
        self.pace.penalise(&mut self.full_at, picos(self.clock), tokens);
    }
}

/// A [`Rate`] in integers. The state it works on is the instant at which the bucket will be full
/// again, in picoseconds: 0 for a bucket never used, and the same as "unknown" once it has passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    interval: u128,
    capacity: u128,
}

impl Pace {
    pub(crate) fn new(rate: Rate) -> Self {
        let interval = interval(rate.per_second);
        Self { interval, capacity: interval * u128::from(rate.burst) }
    }

    pub(crate) fn take(&self, full_at: &mut u128, now: u128, cost: u32) -> Result<(), Exhausted> {
        let retry_after = self.wait(*full_at, now, cost);
        if !retry_after.is_zero() {
            return Err(Exhausted { retry_after });
        }
        *full_at = (*full_at).max(now) + self.price(cost);
        Ok(())
    }

    pub(crate) fn wait(&self, full_at: u128, now: u128, cost: u32) -> Duration {
        let price = self.price(cost);
        if cost == 0 {
            return Duration::ZERO;
        }
        if price > self.capacity {
            return Duration::MAX;
        }
        let debt = full_at.saturating_sub(now);
        duration((debt + price).saturating_sub(self.capacity))
    }

    pub(crate) fn available(&self, full_at: u128, now: u128) -> u32 {
        let left = self.capacity.saturating_sub(full_at.saturating_sub(now));
        u32::try_from(left / self.interval).unwrap_or(u32::MAX)
    }

    pub(crate) fn penalise(&self, full_at: &mut u128, now: u128, tokens: u32) {
        let debt = full_at.saturating_sub(now);
        let most = (self.capacity + picos(MAX_DEBT)).max(debt);
        *full_at = now + (debt + self.price(tokens)).min(most);
    }

    fn price(&self, tokens: u32) -> u128 {
        self.interval * u128::from(tokens)
    }
}

pub(crate) fn picos(time: Duration) -> u128 {
    time.as_nanos() * 1000
}

/// Rounded up, so that who waits exactly this long is served.
pub(crate) fn duration(picos: u128) -> Duration {
    let nanos = picos.div_ceil(1000);
    let part = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    u64::try_from(nanos / 1_000_000_000).map_or(Duration::MAX, |secs| Duration::new(secs, part))
}

fn interval(per_second: f64) -> u128 {
    if per_second.is_nan() || per_second <= 0.0 {
        return NEVER_PS;
    }
    let picos = (1e12 / per_second).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and the cast saturates"
    )]
    let picos = picos as u128;
    picos.clamp(1, NEVER_PS)
}

fn waiting(retry_after: Duration) -> String {
    if retry_after == Duration::MAX {
        return "the request costs more than the whole budget, make it smaller".to_owned();
    }
    format!("retry after {:.3} s", retry_after.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn burst_then_pace() {
        let mut bucket = TokenBucket::new(Rate { burst: 3, per_second: 2.0 });
        for _ in 0..3 {
            bucket.take(SECOND, 1).unwrap();
        }
        let refused = bucket.take(SECOND, 1).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_millis(500));
        assert_eq!(refused.retry_after_secs(), 1);
        assert_eq!(refused.to_string(), "budget exhausted: retry after 0.500 s");
        assert_eq!(bucket.available(SECOND * 2), 2);
        assert_eq!(bucket.available(SECOND * 100), 3);
    }

    #[test]
    fn not_a_nanosecond_early() {
        let mut bucket = TokenBucket::new(Rate { burst: 1, per_second: 3.0 });
        bucket.take(SECOND, 1).unwrap();
        let wait = Duration::from_nanos(333_333_334);
        let early = SECOND + wait - Duration::from_nanos(1);
        assert_eq!(bucket.take(early, 1).unwrap_err().retry_after, Duration::from_nanos(1));
        bucket.take(SECOND + wait, 1).unwrap();
    }

    #[test]
    fn what_never_comes_is_said_to_be_never() {
        let mut bucket = TokenBucket::new(Rate { burst: 2, per_second: 1.0 });
        assert_eq!(bucket.take(SECOND, 3).unwrap_err().retry_after, Duration::MAX);
        assert_eq!(bucket.available(SECOND), 2, "a refusal costs nothing");
        for per_second in [0.0, -1.0, f64::NAN] {
            let mut bucket = TokenBucket::new(Rate { burst: 1, per_second });
            bucket.take(SECOND, 1).unwrap();
            assert!(bucket.retry_after(SECOND * 1_000_000, 1) > SECOND * u32::MAX);
        }
        let mut closed = TokenBucket::new(Rate { burst: 0, per_second: 9.0 });
        assert!(closed.take(SECOND, 1).is_err());
        closed.take(SECOND, 0).unwrap();
    }

    #[test]
    fn extreme_rates_and_times_do_not_overflow() {
        for per_second in [f64::MIN_POSITIVE, 1e-300, 1e300, f64::INFINITY, 0.0] {
            let mut bucket = TokenBucket::new(Rate { burst: u32::MAX, per_second });
            bucket.take(Duration::MAX, u32::MAX).unwrap();
            bucket.penalise(Duration::MAX, u32::MAX);
            bucket.penalise(Duration::ZERO, u32::MAX);
            let _ = bucket.take(Duration::MAX, u32::MAX);
            let _ = bucket.available(Duration::ZERO);
        }
    }

    #[test]
    fn debt_delays_and_is_capped() {
        let mut bucket = TokenBucket::new(Rate { burst: 1, per_second: 1.0 });
        bucket.penalise(SECOND, 11);
        assert_eq!(bucket.retry_after(SECOND, 1), SECOND * 11);
        for _ in 0..100 {
            bucket.penalise(SECOND, 1_000_000);
        }
        assert_eq!(bucket.retry_after(SECOND, 1), MAX_DEBT + SECOND);
    }

    #[test]
    fn clock_stepping_back_is_standing_still() {
        let mut bucket = TokenBucket::new(Rate { burst: 1, per_second: 1.0 });
        bucket.take(SECOND * 1000, 1).unwrap();
        assert_eq!(bucket.take(SECOND, 1).unwrap_err().retry_after, SECOND);
    }

    /// The textbook bucket: a level that fills up, in picoseconds' worth of tokens.
    struct Naive {
        level: i128,
        interval: i128,
        capacity: i128,
        at: Duration,
    }

    impl Naive {
        fn advance(&mut self, now: Duration) {
            let passed = now.saturating_sub(self.at);
            self.at = self.at.max(now);
            self.level = (self.level + picos(passed).cast_signed()).min(self.capacity);
        }

        fn take(&mut self, cost: u32) -> bool {
            let price = i128::from(cost) * self.interval;
            let enough = cost == 0 || self.level >= price;
            if enough {
                self.level -= price;
            }
            enough
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u32),
        Penalise(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
        let step = prop_oneof![4 => (0..6u32).prop_map(Step::Take), 1 => (0..8u32).prop_map(Step::Penalise)];
        proptest::collection::vec((-200_000_000..900_000_000i64, step), 1..80)
    }

    proptest! {
        #[test]
        fn same_as_the_textbook(burst in 0..6u32, per_second in 0.2..40.0f64, steps in steps()) {
            let rate = Rate { burst, per_second };
            let pace = Pace::new(rate);
            let mut bucket = TokenBucket::new(rate);
            let mut naive = Naive {
                level: pace.capacity.cast_signed(),
                interval: pace.interval.cast_signed(),
                capacity: pace.capacity.cast_signed(),
                at: Duration::ZERO,
            };
            let mut now = SECOND;
            for (by, step) in steps {
                let distance = Duration::from_nanos(by.unsigned_abs());
                now = if by < 0 { now.saturating_sub(distance) } else { now + distance };
                naive.advance(now);
                match step {
                    Step::Take(cost) => {
                        let wait = bucket.retry_after(now, cost);
                        let taken = bucket.take(now, cost);
                        prop_assert_eq!(taken.is_ok(), naive.take(cost));
                        prop_assert_eq!(taken.is_ok(), wait.is_zero());
                    }
                    Step::Penalise(tokens) => {
                        bucket.penalise(now, tokens);
                        naive.level -= i128::from(tokens) * naive.interval;
                    }
                }
                let left = naive.level.max(0) / naive.interval;
                prop_assert_eq!(i128::from(bucket.available(now)), left);
            }
        }

        #[test]
        fn retry_after_is_the_first_moment(burst in 1..6u32, per_second in 0.1..1e6f64, cost in 1..6u32, spent in 0..60u32) {
            let cost = cost.min(burst);
            let mut bucket = TokenBucket::new(Rate { burst, per_second });
            bucket.penalise(SECOND, spent);
            let wait = bucket.retry_after(SECOND, cost);
            prop_assert!(bucket.clone().take(SECOND + wait, cost).is_ok());
            if !wait.is_zero() {
                let early = SECOND + wait - Duration::from_nanos(1);
                prop_assert!(bucket.take(early, cost).is_err());
            }
        }
    }
}
