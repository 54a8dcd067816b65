//! Counters, gauges and histograms: atomics with a text form (OpenMetrics 1.0).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that only grows. Clones are the same number.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

/// A number that goes up and down. Clones are the same number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

/// Observations sorted into buckets. Clones are the same histogram.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    sums: Arc<Mutex<Sums>>,
}

#[derive(Debug)]
struct Sums {
    sum: f64,
    count: u64,
    /// Observations of each bucket alone; one more than there are bounds.
    buckets: Box<[u64]>,
}

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Adds `more`.
    pub fn inc_by(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// Adds one.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sets the number.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    /// Without observations; `bounds` are upper bounds, ascending, without `+Inf`.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = vec![0; bounds.len() + 1].into_boxed_slice();
        Self { bounds, sums: Arc::new(Mutex::new(Sums { sum: 0.0, count: 0, buckets })) }
    }

    /// Notes one observation.
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.sum += value;
        sums.count += 1;
        if let Some(bucket) = sums.buckets.get_mut(at) {
            *bucket += 1;
        }
    }
}

/// What a family is made of: its type's name, and its series' lines.
pub trait Metric: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The word behind `# TYPE`.
    const KIND: &'static str;

    /// Appends the lines of one series; `labels` without braces.
    fn write(&self, name: &str, labels: &str, out: &mut String);
}

impl Metric for Counter {
    const KIND: &'static str = "counter";

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        let _ = writeln!(out, "{name}_total{{{labels}}} {}", self.get());
    }
}

impl Metric for Gauge {
    const KIND: &'static str = "gauge";

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        let _ = writeln!(out, "{name}{{{labels}}} {}", self.get());
    }
}

impl Metric for Histogram {
    const KIND: &'static str = "histogram";

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {:?}", sums.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", sums.count);
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (at, count) in sums.buckets.iter().enumerate() {
            below += count;
            let _ = match self.bounds.get(at) {
                Some(bound) => {
                    writeln!(out, "{name}_bucket{{le=\"{bound:?}\"{comma}{labels}}} {below}")
                }
                None => writeln!(out, "{name}_bucket{{le=\"+Inf\"{comma}{labels}}} {below}"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_buckets_add_up() {
        let times = Histogram::new(&[0.5, 1.0]);
        [0.5, 0.6, 1.0, 7.0].into_iter().for_each(|value| times.observe(value));
        let mut out = String::new();
        times.write("t", "", &mut out);
        let expected = "t_sum{} 9.1\nt_count{} 4\nt_bucket{le=\"0.5\"} 1\n\
                        t_bucket{le=\"1.0\"} 3\nt_bucket{le=\"+Inf\"} 4\n";
        assert_eq!(out, expected);
    }
}
