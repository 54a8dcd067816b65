//! The series of one metric, bounded in number.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::value::Metric;
use super::{Counter, OVERFLOW_LABEL};
use crate::escape::{is_hostile, prefix};
use crate::limits::{METRIC_LABEL, METRIC_SERIES};

/// The series of one metric, told apart by the values of `N` labels. Clones are the same family.
pub struct Family<M, const N: usize>(Arc<Shared<M, N>>);

struct Shared<M, const N: usize> {
    keys: [&'static str; N],
    /// Sorted by label values: found without allocating, written in the same order every time.
    series: RwLock<Vec<([Box<str>; N], M)>>,
    make: Box<dyn Fn() -> M + Send + Sync>,
    /// Counts the uses of the overflow series. None in the family that does the counting.
    overflow: Option<Counter>,
}

impl<M, const N: usize> Family<M, N> {
    pub(super) fn new(
        keys: [&'static str; N],
        make: impl Fn() -> M + Send + Sync + 'static,
        overflow: Option<Counter>,
    ) -> Self {
        let series = RwLock::new(Vec::new());
        Self(Arc::new(Shared { keys, series, make: Box::new(make), overflow }))
    }
}

impl<M: Clone, const N: usize> Family<M, N> {
    /// The series with these label values, made when it is new. Values longer than
    /// [`METRIC_LABEL`] are cut, control characters become `?`. Beyond [`METRIC_SERIES`] label
    /// sets every new one is the series whose labels are all [`OVERFLOW_LABEL`].
    ///
    /// A hit costs a binary search; hold the result where even that is too much.
    #[must_use]
    pub fn with(&self, values: [&str; N]) -> M {
        let values = values.map(cut);
        // What is found is clean.
        if let Some(found) = self.find(&values) {
            return found;
        }
        if values.iter().any(|value| value.contains(is_hostile)) {
            let clean = values.map(|value| value.replace(is_hostile, "?"));
            return self.find_or_insert(&clean.each_ref().map(String::as_str));
        }
        self.find_or_insert(&values)
    }

    fn find(&self, values: &[&str; N]) -> Option<M> {
        let series = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
        find(&series, values).ok().and_then(|at| series.get(at)).map(|found| found.1.clone())
    }

    fn find_or_insert(&self, values: &[&str; N]) -> M {
        let mut series = self.0.series.write().unwrap_or_else(PoisonError::into_inner);
        let overflowing = [OVERFLOW_LABEL; N];
        let values = match find(&series, values) {
            Err(_) if series.len() >= METRIC_SERIES => {
                self.0.overflow.iter().for_each(|uses| {
                    uses.inc();
                });
                &overflowing
            }
            _ => values,
        };
        let at = match find(&series, values) {
            Ok(at) => at,
            Err(at) => {
                series.insert(at, (values.map(Box::from), (self.0.make)()));
                at
            }
        };
        series.get(at).map_or_else(|| (self.0.make)(), |found| found.1.clone())
    }
}

impl<M, const N: usize> Clone for Family<M, N> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: fmt::Debug, const N: usize> fmt::Debug for Family<M, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series = &self.0.series;
        f.debug_struct("Family").field("keys", &self.0.keys).field("series", series).finish()
    }
}

/// Writes the series of a family of any type.
pub(super) trait Render: fmt::Debug + Send + Sync {
    fn render(&self, name: &str, out: &mut String);
}

impl<M: Metric, const N: usize> Render for Family<M, N> {
    fn render(&self, name: &str, out: &mut String) {
        let series = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
        for (values, metric) in series.iter() {
            let pairs = self.0.keys.iter().zip(values);
            let labels: Vec<String> = pairs.map(|(key, value)| label(key, value)).collect();
            metric.write(name, &labels.join(","), out);
        }
    }
}

/// `key="value"`. Control characters are gone already.
fn label(key: &str, value: &str) -> String {
    format!("{key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn find<M, const N: usize>(
    series: &[([Box<str>; N], M)],
    values: &[&str; N],
) -> Result<usize, usize> {
    series
        .binary_search_by(|(have, _)| have.iter().map(|value| &**value).cmp(values.iter().copied()))
}

fn cut(value: &str) -> &str {
    prefix(value, METRIC_LABEL)
}
