//! The time of day and the time passed, from the system or set by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::virtual_clock::VirtualClock;

/// The one place time is read from. Cheap to clone; clones agree with each other.
///
/// ```
/// # use std::time::Duration;
/// let (clock, by_hand) = telemetry::Clock::manual(Duration::from_secs(1_700_000_000));
/// by_hand.advance(Duration::from_secs(5));
/// assert_eq!(clock.unix_secs(), 1_700_000_005);
/// assert_eq!(clock.monotonic(), Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

/// Sets the [`Clock`] it was made with; that clock and all its clones follow.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Hands>);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual(Arc<Hands>),
    Virtual(VirtualClock),
}

/// Nanoseconds; the last representable instant is in the year 2554.
#[derive(Debug)]
struct Hands {
    unix: AtomicU64,
    monotonic: AtomicU64,
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// A clock that stands still at `start` (since the Unix epoch) until its
    /// [`ManualClock`] moves it. Its monotonic time starts at zero.
    #[must_use]
    pub fn manual(start: Duration) -> (Self, ManualClock) {
        let hands =
            Arc::new(Hands { unix: AtomicU64::new(nanos(start)), monotonic: AtomicU64::new(0) });
        (Self(Source::Manual(Arc::clone(&hands))), ManualClock(hands))
    }

    /// A clock that stands at `start` (since the Unix epoch) or runs from there, and can be moved,
    /// frozen and let go. Its monotonic time starts at zero.
    #[must_use]
    pub fn steered(start: Duration, running: bool) -> (Self, VirtualClock) {
        let hands = VirtualClock::new(start, running);
        (Self(Source::Virtual(hands.clone())), hands)
    }

    /// Time since the Unix epoch. May jump either way when the machine's time is corrected;
    /// zero when that is set before 1970.
    #[must_use]
    pub fn unix(&self) -> Duration {
        match &self.0 {
            Source::System { .. } => system_unix(),
            Source::Manual(hands) => Duration::from_nanos(hands.unix.load(Ordering::Acquire)),
            Source::Virtual(hands) => hands.unix(),
        }
    }

    /// Whole seconds since the Unix epoch, as tickets and CSRF tokens carry them.
    #[must_use]
    pub fn unix_secs(&self) -> u64 {
        self.unix().as_secs()
    }

    /// Time since this clock was made. Never goes back, whatever happens to [`Self::unix`]:
    /// the time for limits, deadlines and ban lengths.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual(hands) => Duration::from_nanos(hands.monotonic.load(Ordering::Acquire)),
            Source::Virtual(hands) => hands.monotonic(),
        }
    }
}

impl ManualClock {
    /// Sets the time since the Unix epoch. A later time moves the monotonic time on by the
    /// difference; an earlier one leaves it where it is.
    pub fn set(&self, unix: Duration) {
        let unix = nanos(unix);
        let before = self.0.unix.swap(unix, Ordering::AcqRel);
        add(&self.0.monotonic, unix.saturating_sub(before));
    }

    /// Moves both times on.
    pub fn advance(&self, by: Duration) {
        add(&self.0.unix, nanos(by));
        add(&self.0.monotonic, nanos(by));
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock everything else is told to use")]
fn system_unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn add(hand: &AtomicU64, by: u64) {
    let mut seen = hand.load(Ordering::Acquire);
    while let Err(now) = hand.compare_exchange_weak(
        seen,
        seen.saturating_add(by),
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        seen = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_700_000_000);

    #[test]
    fn a_step_back_leaves_monotonic_time_where_it_was() {
        let (clock, by_hand) = Clock::manual(START);
        by_hand.advance(Duration::from_secs(10));
        by_hand.set(START - Duration::from_secs(3600));
        assert_eq!(clock.unix(), START - Duration::from_secs(3600));
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
        by_hand.set(START);
        assert_eq!(clock.monotonic(), Duration::from_secs(3610));
    }

    #[test]
    fn clones_share_the_hands() {
        let (clock, by_hand) = Clock::manual(START);
        let other = clock.clone();
        by_hand.clone().advance(Duration::from_millis(1500));
        assert_eq!(other.unix(), clock.unix());
        assert_eq!(other.monotonic(), Duration::from_millis(1500));
        assert_eq!(other.unix_secs(), START.as_secs() + 1);
    }

    #[test]
    fn the_end_of_time_does_not_wrap() {
        let (clock, by_hand) = Clock::manual(Duration::MAX);
        by_hand.advance(Duration::MAX);
        by_hand.set(Duration::ZERO);
        by_hand.set(Duration::MAX);
        assert_eq!(clock.unix(), Duration::from_nanos(u64::MAX));
        assert_eq!(clock.monotonic(), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn system_time_is_after_this_was_written_and_monotonic_counts_up() {
        let clock = Clock::system();
        assert!(clock.unix_secs() > 1_767_225_600);
        let earlier = clock.monotonic();
        assert!(clock.clone().monotonic() >= earlier);
    }
}
