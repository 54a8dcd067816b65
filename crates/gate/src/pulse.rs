//! Whether every worker still turns: a watchdog is told so only while they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Beats of a worker between two looks.
const BEATS: u32 = 4;

/// Counts of all workers.
#[derive(Debug)]
pub(crate) struct Pulse {
    beats: Vec<AtomicU64>,
    every: Duration,
}

/// One worker's share.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    pulse: Arc<Pulse>,
    worker: usize,
}

/// Looks at all of them.
#[derive(Debug)]
pub struct Heartbeat {
    pulse: Arc<Pulse>,
    seen: Vec<u64>,
}

impl Pulse {
    /// For workers that are looked at so often.
    pub(crate) fn new(workers: usize, looks: Duration) -> Arc<Self> {
        let beats = (0..workers).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { beats, every: looks / BEATS })
    }

    pub(crate) fn beat(self: &Arc<Self>, worker: usize) -> Beat {
        Beat { pulse: Arc::clone(self), worker }
    }

    pub(crate) fn heartbeat(self: &Arc<Self>) -> Heartbeat {
        Heartbeat { seen: vec![0; self.beats.len()], pulse: Arc::clone(self) }
    }
}

impl Beat {
    /// How often [`Beat::beat`] is to be called.
    pub(crate) fn every(&self) -> Duration {
        self.pulse.every.max(Duration::from_millis(1))
    }

    pub(crate) fn beat(&self) {
        if let Some(count) = self.pulse.beats.get(self.worker) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Heartbeat {
    /// Whether every worker has turned since the last look.
    pub fn alive(&mut self) -> bool {
        let mut all = true;
        for (count, seen) in self.pulse.beats.iter().zip(&mut self.seen) {
            let now = count.load(Ordering::Relaxed);
            all &= now != *seen;
            *seen = now;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_stands_still_is_enough() {
        let pulse = Pulse::new(2, Duration::from_secs(1));
        let (one, other) = (pulse.beat(0), pulse.beat(1));
        let mut heartbeat = pulse.heartbeat();
        assert!(!heartbeat.alive(), "nobody has begun");
        one.beat();
        other.beat();
        assert!(heartbeat.alive());
        one.beat();
        assert!(!heartbeat.alive(), "the other stands still");
        one.beat();
        other.beat();
        assert!(heartbeat.alive(), "and goes on");
    }
}
