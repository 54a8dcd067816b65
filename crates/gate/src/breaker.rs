//! Whether a destination is worth a try: after several failures in a row it is left alone for a
//! while, then one request tries it again.
//!
//! One for each destination, shared by all workers, read with every request: it holds no lock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use telemetry::metrics::Gauge;
use tracing::{info, warn};

use crate::limits::{BREAK_AFTER, BREAK_FIRST, BREAK_LONGEST, BREAK_PROBE};

/// See the module.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Of the destination, for the log.
    name: String,
    /// Failures in a row.
    failures: AtomicU32,
    /// How often it has been opened in a row.
    step: AtomicU32,
    /// Until when it is left alone, in milliseconds of the monotonic clock; 0: it is not.
    until: AtomicU64,
    /// When somebody began to try it again, 0 for nobody.
    tried: AtomicU64,
    /// 1 while it is not left alone.
    up: Gauge,
}

impl Breaker {
    pub(crate) fn new(name: String, up: Gauge) -> Self {
        up.set(1);
        Self {
            name,
            failures: AtomicU32::new(0),
            step: AtomicU32::new(0),
            until: AtomicU64::new(0),
            tried: AtomicU64::new(0),
            up,
        }
    }

    /// Whether to try it at `now` of the monotonic clock. After its time one caller may; the next
    /// one not before [`BREAK_PROBE`], whatever has become of the first.
    pub(crate) fn admits(&self, now: Duration) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let now = millis(now);
        let tried = self.tried.load(Ordering::Relaxed);
        let free = tried == 0 || now >= tried.saturating_add(millis(BREAK_PROBE));
        let order = Ordering::Relaxed;
        now >= until && free && self.tried.compare_exchange(tried, now, order, order).is_ok()
    }

    /// Whether nothing is known against it.
    pub(crate) fn is_closed(&self) -> bool {
        self.until.load(Ordering::Relaxed) == 0
    }

    /// It has answered.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.step.store(0, Ordering::Relaxed);
        self.tried.store(0, Ordering::Relaxed);
        if self.until.swap(0, Ordering::Relaxed) != 0 {
            self.up.set(1);
            info!(upstream = self.name, "Proxmox VE answers again");
        }
    }

    /// It could not be reached, broke off, or did not answer in time.
    pub(crate) fn failed(&self, now: Duration) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let open = self.until.load(Ordering::Relaxed) != 0;
        // Of an open one, only the try says something new: the others were on their way before.
        if failures < BREAK_AFTER || (open && self.tried.swap(0, Ordering::Relaxed) == 0) {
            return;
        }
        let step = self.step.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = BREAK_FIRST.saturating_mul(1 << step).min(BREAK_LONGEST);
        let was = self.until.swap(millis(now.saturating_add(pause)).max(1), Ordering::Relaxed);
        if was == 0 {
            self.up.set(0);
            let seconds = pause.as_secs_f64();
            warn!(upstream = self.name, failures, seconds, "Proxmox VE fails there: left alone");
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Breaker;
    use crate::limits::{BREAK_AFTER, BREAK_FIRST, BREAK_LONGEST, BREAK_PROBE};
    use std::time::Duration;
    use telemetry::metrics::Gauge;

    const START: Duration = Duration::from_secs(1000);

    fn opened() -> Breaker {
        let breaker = Breaker::new("x".into(), Gauge::default());
        for failure in 0..BREAK_AFTER {
            assert!(breaker.admits(START) && breaker.is_closed(), "{failure}");
            breaker.failed(START);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let breaker = Breaker::new("x".into(), Gauge::default());
        for _ in 0..BREAK_AFTER * 2 {
            breaker.failed(START);
            breaker.succeeded();
        }
        assert!(breaker.is_closed());
        assert!(!opened().is_closed());
        assert_eq!(opened().up.get(), 0);
    }

    #[test]
    fn after_its_time_one_tries_and_brings_it_back() {
        let breaker = opened();
        let until = START + BREAK_FIRST;
        assert!(!breaker.admits(until - Duration::from_millis(1)));
        assert!(breaker.admits(until), "one");
        assert!(!breaker.admits(until), "and no other");
        // Its client has left: nobody has to come back for the next one to try.
        assert!(breaker.admits(until + BREAK_PROBE));
        breaker.succeeded();
        assert!(breaker.is_closed() && breaker.admits(until) && breaker.admits(until));
        assert_eq!(breaker.up.get(), 1);
    }

    #[test]
    fn each_failed_try_doubles_the_time_up_to_the_longest() {
        let breaker = opened();
        let (mut now, mut pause) = (START, BREAK_FIRST);
        for _ in 0..10 {
            now += pause;
            assert!(breaker.admits(now));
            breaker.failed(now);
            pause = (pause * 2).min(BREAK_LONGEST);
            // What was on its way changes nothing.
            breaker.failed(now);
            assert!(!breaker.admits(now + pause - Duration::from_millis(1)));
        }
        assert_eq!(pause, BREAK_LONGEST);
    }
}
