//! Takes events from `tracing`, by level alone and without spans.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::Format;
use super::fields::Fields;
use super::line::{Head, render};
use crate::Clock;

/// Writes each event as one line through `write`, which is given the line feed too.
pub(super) struct Plain<W> {
    format: Format,
    level: LevelFilter,
    clock: Clock,
    write: W,
}

impl<W: Fn(&str)> Plain<W> {
    pub(super) fn new(format: Format, level: LevelFilter, clock: Clock, write: W) -> Self {
        Self { format, level, clock, write }
    }
}

impl<W: Fn(&str) + 'static> Subscriber for Plain<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    /// Spans are not told apart: one id for all of them.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let (level, target) = (*metadata.level(), metadata.target());
        let head = Head { unix: self.clock.unix(), level, target };
        (self.write)(&render(self.format, &head, &fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[test]
    fn lines_by_level_with_masked_fields() {
        let (clock, _) = Clock::manual(Duration::from_millis(1_782_907_200_123));
        let out = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&out);
        let write = move |line: &str| sink.lock().unwrap().push_str(line);
        let plain = Plain::new(Format::Text, LevelFilter::INFO, clock, write);
        tracing::subscriber::with_default(plain, || {
            let _span = tracing::info_span!("request", id = 1).entered();
            tracing::info!(target: "broker", password = "x", n = 3, "ready");
            tracing::debug!("not shown");
        });
        let line = "2026-07-01T12:00:00.123Z INFO  broker ready password=*** n=3\n";
        assert_eq!(*out.lock().unwrap(), line);
    }
}
