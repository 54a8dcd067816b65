//! Numbers for Prometheus, with bounded label sets.
//!
//! Series per family are limited (a label that a client can choose must not grow memory without
//! end), have a stable order, and names that would make the exposition invalid are refused.

mod family;
mod value;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

pub use family::Family;
use family::Render;
pub use value::{Counter, Gauge, Histogram, Metric};

/// Every name begins with this and an underscore.
pub const PREFIX: &str = "proxward";

/// The value of every label of the series that takes what exceeds the limit of a family.
pub const OVERFLOW_LABEL: &str = "other";

/// The media type of [`Registry::encode`] (OpenMetrics 1.0).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of one process. Clones are the same registry.
#[derive(Clone, Debug)]
pub struct Registry {
    inner: Arc<Mutex<Inner>>,
    overflow: Family<Counter, 1>,
}

/// Why a metric could not be registered: a mistake of the program, found at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// The name is taken.
    #[error("metric {0}: registered twice; keep the first family and clone it")]
    Duplicate(&'static str),
    /// Not `[a-z][a-z0-9_]*`, or a suffix that the format gives a meaning of its own.
    #[error("metric or label {0}: expected [a-z][a-z0-9_]* without _total, _sum, _count, _bucket")]
    Name(&'static str),
}

#[derive(Debug)]
struct Registered {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    series: Box<dyn Render>,
}

#[derive(Debug)]
struct Inner {
    families: Vec<Registered>,
    names: BTreeSet<&'static str>,
}

impl Registry {
    /// An empty registry, but for the count of overflows, `proxward_metric_overflow_total`.
    #[must_use]
    pub fn new() -> Self {
        let overflow = Family::new(["family"], Counter::default, None);
        let counted = Registered {
            name: "metric_overflow",
            help: "Uses of a label set that were counted under other, because the family is full",
            kind: Counter::KIND,
            series: Box::new(overflow.clone()),
        };
        let inner = Inner { families: vec![counted], names: BTreeSet::from(["metric_overflow"]) };
        Self { inner: Arc::new(Mutex::new(inner)), overflow }
    }

    /// A number that only grows. `name` without prefix and without `_total`, which are added;
    /// `help` without a full stop.
    ///
    /// # Errors
    /// [`MetricError`], for a name that is invalid or taken.
    pub fn counter<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        keys: [&'static str; N],
    ) -> Result<Family<Counter, N>, MetricError> {
        self.register(name, help, keys, Counter::default)
    }

    /// A number that goes up and down.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn gauge<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        keys: [&'static str; N],
    ) -> Result<Family<Gauge, N>, MetricError> {
        self.register(name, help, keys, Gauge::default)
    }

    /// Observations sorted into buckets by their upper bounds, ascending, without `+Inf`.
    ///
    /// # Errors
    /// As [`Self::counter`].
    pub fn histogram<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        keys: [&'static str; N],
        buckets: &'static [f64],
    ) -> Result<Family<Histogram, N>, MetricError> {
        self.register(name, help, keys, move || Histogram::new(buckets))
    }

    /// All metrics in the OpenMetrics text format, see [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for family in &inner.families {
            let Registered { name, help, kind, series } = family;
            let _ = writeln!(out, "# HELP {PREFIX}_{name} {help}.");
            let _ = writeln!(out, "# TYPE {PREFIX}_{name} {kind}");
            series.render(&format!("{PREFIX}_{name}"), &mut out);
        }
        out.push_str("# EOF\n");
        out
    }

    fn register<M, const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        keys: [&'static str; N],
        make: impl Fn() -> M + Send + Sync + 'static,
    ) -> Result<Family<M, N>, MetricError>
    where
        M: Metric,
    {
        if let Some(wrong) = [name].into_iter().chain(keys).find(|name| !is_name(name)) {
            return Err(MetricError::Name(wrong));
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.names.insert(name) {
            return Err(MetricError::Duplicate(name));
        }
        let family = Family::new(keys, make, Some(self.overflow.with([name])));
        let series = Box::new(family.clone());
        inner.families.push(Registered { name, help, kind: M::KIND, series });
        Ok(family)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{METRIC_LABEL, METRIC_SERIES};

    #[test]
    fn the_exposition_is_sorted_and_ends_as_it_must() {
        let registry = Registry::new();
        let requests = registry.counter("requests", "Requests", ["method", "code"]).unwrap();
        requests.with(["POST", "200"]).inc_by(2);
        requests.with(["GET", "200"]).inc();
        requests.with(["GET", "200"]).inc();
        registry.gauge("sessions", "Sessions", []).unwrap().with([]).set(-3);
        let times = registry.histogram("seconds", "Time", ["path"], &[0.1, 1.0]).unwrap();
        times.with(["/"]).observe(0.5);
        let expected = r#"# HELP proxward_requests Requests.
# TYPE proxward_requests counter
proxward_requests_total{method="GET",code="200"} 2
proxward_requests_total{method="POST",code="200"} 2
# HELP proxward_sessions Sessions.
# TYPE proxward_sessions gauge
proxward_sessions{} -3
# HELP proxward_seconds Time.
# TYPE proxward_seconds histogram
proxward_seconds_sum{path="/"} 0.5
proxward_seconds_count{path="/"} 1
proxward_seconds_bucket{le="0.1",path="/"} 0
proxward_seconds_bucket{le="1.0",path="/"} 1
proxward_seconds_bucket{le="+Inf",path="/"} 1
# EOF
"#;
        let encoded = registry.encode();
        let from = encoded.find("# HELP proxward_requests").unwrap();
        assert_eq!(&encoded[from..], expected);
    }

    #[test]
    fn a_full_family_counts_the_rest_as_other() {
        let registry = Registry::new();
        let peers = registry.counter("peers", "Peers", ["peer", "verb"]).unwrap();
        for i in 0..METRIC_SERIES + 10 {
            peers.with([&format!("p{i}"), "get"]).inc();
        }
        peers.with(["p0", "get"]).inc();
        let encoded = registry.encode();
        let lines = |start: &str| encoded.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(lines("proxward_peers_total"), METRIC_SERIES + 1);
        assert!(encoded.contains("proxward_peers_total{peer=\"other\",verb=\"other\"} 10\n"));
        assert!(encoded.contains("proxward_peers_total{peer=\"p0\",verb=\"get\"} 2\n"));
        assert!(encoded.contains("proxward_metric_overflow_total{family=\"peers\"} 10\n"));
    }

    #[test]
    fn a_label_value_can_not_break_out_of_its_line() {
        let registry = Registry::new();
        let agents = registry.counter("agents", "Agents", ["name"]).unwrap();
        agents.with(["a\"} 1\nforged 7 \u{202e}\\"]).inc();
        agents.with(["a\"} 1\nforged 7 \u{202e}\\"]).inc();
        agents.with(["é".repeat(100).as_str()]).inc();
        let encoded = registry.encode();
        assert!(
            encoded.contains(r#"proxward_agents_total{name="a\"} 1?forged 7 ?\\"} 2"#),
            "{encoded}"
        );
        assert!(encoded.contains(&format!("{{name=\"{}\"}} 1", "é".repeat(METRIC_LABEL / 2))));
    }

    #[test]
    fn what_is_refused() {
        let registry = Registry::new();
        registry.counter("a", "A", []).unwrap();
        assert_eq!(registry.gauge("a", "A", []).unwrap_err(), MetricError::Duplicate("a"));
        for name in ["", "1a", "A", "a-b", "a\nb", "a_total", "_a"] {
            assert_eq!(registry.counter(name, "", []).unwrap_err(), MetricError::Name(name));
            assert_eq!(registry.counter("b", "", [name]).unwrap_err(), MetricError::Name(name));
        }
        assert!(registry.counter("b", "B", ["c"]).is_ok(), "a refused name is not taken");
    }
}
