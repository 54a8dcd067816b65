//! A clock of its own time: it stands, or runs from where it was put.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The hands of a clock made by [`Clock::steered`](crate::Clock::steered); that clock and all its
/// clones follow. Clones move the same hands.
///
/// ```
/// # use std::time::Duration;
/// let (clock, hands) = telemetry::Clock::steered(Duration::from_secs(1_700_000_000), false);
/// hands.advance(Duration::from_secs(60));
/// assert_eq!(clock.unix_secs(), 1_700_000_060);
/// ```
#[derive(Clone, Debug)]
pub struct VirtualClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    unix: Duration,
    monotonic: Duration,
    /// Since when both run on from these values; `None` while they stand.
    running: Option<Instant>,
}

impl VirtualClock {
    pub(crate) fn new(start: Duration, running: bool) -> Self {
        let running = running.then(Instant::now);
        Self(Arc::new(Mutex::new(Hands { unix: start, monotonic: Duration::ZERO, running })))
    }

    /// The time since the Unix epoch.
    #[must_use]
    pub fn unix(&self) -> Duration {
        self.settled().unix
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.settled().monotonic
    }

    /// Puts the clock to a time since the Unix epoch. A later time moves the monotonic time on by
    /// the difference; an earlier one leaves it where it is.
    pub fn set(&self, unix: Duration) {
        let mut hands = self.settled();
        hands.monotonic = hands.monotonic.saturating_add(unix.saturating_sub(hands.unix));
        hands.unix = unix;
    }

    /// Moves both times on.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.settled();
        hands.unix = hands.unix.saturating_add(by);
        hands.monotonic = hands.monotonic.saturating_add(by);
    }

    /// Lets the clock stand.
    pub fn freeze(&self) {
        self.settled().running = None;
    }

    /// Lets the clock run from where it is.
    pub fn run(&self) {
        self.settled().running.get_or_insert_with(Instant::now);
    }

    /// Whether the clock stands.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.settled().running.is_none()
    }

    /// The hands, put to this moment.
    fn settled(&self) -> MutexGuard<'_, Hands> {
        let mut hands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = hands.running {
            let now = Instant::now();
            let passed = now.saturating_duration_since(since);
            hands.unix = hands.unix.saturating_add(passed);
            hands.monotonic = hands.monotonic.saturating_add(passed);
            hands.running = Some(now);
        }
        hands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;

    const START: Duration = Duration::from_secs(1_700_000_000);

    #[test]
    fn a_frozen_clock_moves_by_hand_alone() {
        let (clock, hands) = Clock::steered(START, false);
        assert_eq!((clock.unix(), clock.monotonic()), (START, Duration::ZERO));
        hands.advance(Duration::from_secs(10));
        hands.set(START);
        assert_eq!((clock.unix(), clock.monotonic()), (START, Duration::from_secs(10)));
        hands.advance(Duration::MAX);
        assert_eq!(clock.unix(), Duration::MAX);
    }

    #[test]
    fn a_running_clock_goes_on_until_it_is_frozen() {
        let (clock, hands) = Clock::steered(START, true);
        assert!(!hands.is_frozen());
        let (first, monotonic) = (clock.unix(), clock.monotonic());
        while clock.unix() == first {
            std::hint::spin_loop();
        }
        assert!(clock.unix() > first && clock.monotonic() > monotonic);
        hands.clone().freeze();
        assert!(hands.is_frozen());
        let stands = clock.unix();
        std::thread::yield_now();
        assert_eq!(clock.unix(), stands);
        hands.run();
        assert!(!hands.is_frozen() && clock.unix() >= stands);
    }
}
