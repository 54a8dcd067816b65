//! Counters, gauges and histograms: atomics with a text form (OpenMetrics 1.0).

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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
    sums: Arc<Sums>,
}

/// No lock: observations of many threads meet here with every request.
#[derive(Debug)]
struct Sums {
    /// The bits of an `f64`.
    sum: AtomicU64,
    /// Observations of each bucket alone; one more than there are bounds.
    buckets: Box<[AtomicU64]>,
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
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, sums: Arc::new(Sums { sum: AtomicU64::new(0.0_f64.to_bits()), buckets }) }
    }

    /// Notes one observation.
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.sums.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        // The closure always has an answer.
        let _ = self.sums.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
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
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        // Read once: the count has to be that of the last bucket.
        let buckets: Vec<u64> = self.sums.buckets.iter().map(load).collect();
        let sum = f64::from_bits(load(&self.sums.sum));
        let _ = writeln!(out, "{name}_sum{{{labels}}} {sum:?}");
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", buckets.iter().sum::<u64>());
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (at, count) in buckets.iter().enumerate() {
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
