//! What goes into the audit log, and what is summed up before it does.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use broker_api::{Code, Refusal};
use telemetry::audit::{AuditError, Event, Head, Log};
use tokio::sync::Notify;

use crate::limits::{AUDIT_GATHERED, STRANGER_KINDS, SUMMARY};
use crate::peer::Peer;

/// The log and the sums.
pub(crate) struct Audit {
    log: Log,
    /// Records of what changed nothing wait here for others, so that one call of the system
    /// writes many.
    pending: Mutex<Vec<Event>>,
    waits: Notify,
    repeated: Mutex<Repeated>,
}

/// Refusals that cost their sender nothing must not cost a line each.
#[derive(Default)]
struct Repeated {
    counts: BTreeMap<(String, &'static str), u64>,
    written: Duration,
}

/// One request, done or refused.
pub(crate) struct Call<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) key: &'a str,
    pub(crate) correlation: &'a str,
    pub(crate) verb: &'a str,
    pub(crate) target: &'a str,
    pub(crate) rule: Option<usize>,
    pub(crate) refusal: Option<&'a Refusal>,
    pub(crate) took: Duration,
}

impl Audit {
    pub(crate) fn new(log: Log) -> Self {
        let (pending, waits) = (Mutex::default(), Notify::new());
        Self { log, pending, waits, repeated: Mutex::default() }
    }

    /// Keeps a record for the next write. Says whether so many wait that it is due now.
    pub(crate) fn gather(&self, event: Event) -> bool {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.push(event);
        if pending.len() == 1 {
            self.waits.notify_one();
        }
        pending.len() >= AUDIT_GATHERED
    }

    /// Returns when something waits.
    pub(crate) async fn gathered(&self) {
        self.waits.notified().await;
    }

    /// Writes what waits, then these, all or none.
    pub(crate) fn write(&self, events: Vec<Event>) -> Result<(), AuditError> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.extend(events);
        if pending.is_empty() {
            return Ok(());
        }
        self.log.append_all(std::mem::take(&mut *pending)).map(|_| ())
    }

    /// Writes what waits and this, and has it on the disk before it returns.
    pub(crate) fn write_through(&self, event: Event) -> Result<(), AuditError> {
        self.write(vec![event])?;
        self.log.sync()
    }

    pub(crate) fn head(&self) -> Head {
        self.log.head()
    }

    pub(crate) fn reopen(&self) -> Result<(), AuditError> {
        self.log.reopen()
    }

    /// Counts a refusal. The first of its kind becomes a record at once; what repeats becomes one
    /// record when the time of a summary is over.
    pub(crate) fn repeated(&self, who: &str, why: &'static str) -> Option<Event> {
        let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        let full = repeated.counts.len() >= STRANGER_KINDS;
        let known = repeated.counts.contains_key(&(who.to_owned(), why));
        let who = if full && !known { "others" } else { who };
        let count = repeated.counts.entry((who.to_owned(), why)).or_insert(0);
        *count += 1;
        (*count == 1).then(|| Event::new("broker.refused").field("peer", who).field("reason", why))
    }

    /// The sums since the last time, when it is due or `now` is the end.
    pub(crate) fn summary(&self, now: Duration, end: bool) -> Vec<Event> {
        let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        if !end && now.saturating_sub(repeated.written) < SUMMARY {
            return Vec::new();
        }
        repeated.written = now;
        let counts = std::mem::take(&mut repeated.counts);
        let more = counts.into_iter().filter(|(_, count)| *count > 1);
        more.map(|((who, why), count)| {
            Event::new("broker.refused_again")
                .field("peer", who)
                .field("reason", why)
                .field("count", count - 1)
        })
        .collect()
    }
}

impl Call<'_> {
    /// The record.
    pub(crate) fn event(&self, kind: &'static str) -> Event {
        let micros = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        let decision = match self.refusal.map(|refusal| refusal.code) {
            None => "done",
            Some(Code::Unauthorized | Code::Forbidden | Code::TargetRefused) => "denied",
            Some(_) => "failed",
        };
        let mut event = Event::new(kind)
            .field("peer", self.key)
            .field("uid", self.peer.uid)
            .field("pid", self.peer.pid)
            .field("verb", self.verb)
            .field("target", self.target)
            .field("decision", decision)
            .field("correlation_id", self.correlation)
            .field("micros", micros);
        if let Some(rule) = self.rule {
            event = event.field("rule", rule + 1);
        }
        if let Some(refusal) = self.refusal {
            event = event.field("code", refusal.code.name());
            if let Some(reason) = refusal.reason {
                event = event.field("reason", reason);
            }
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use telemetry::Clock;
    use telemetry::audit::SyncPolicy;

    #[test]
    fn what_repeats_is_summed_up() {
        let directory = tempfile::tempdir().unwrap();
        let (clock, _) = Clock::manual(Duration::ZERO);
        let path = directory.path().join("audit.jsonl");
        let log = Log::open(&path, clock, SyncPolicy::Interval(SUMMARY)).unwrap();
        let audit = Audit::new(log);
        let written = (0..10_000).filter_map(|_| audit.repeated("uid:5", "unknown")).count();
        assert_eq!(written, 1);
        let many = (0..10_000).filter_map(|n| audit.repeated(&format!("uid:{n}"), "unknown"));
        assert_eq!(many.count(), STRANGER_KINDS);
        assert!(audit.summary(SUMMARY - Duration::from_nanos(1), false).is_empty());
        let sums = audit.summary(SUMMARY, false);
        assert_eq!(sums.len(), 2, "uid:5 and others");
        assert!(audit.repeated("uid:5", "unknown").is_some(), "told anew in the next span");
    }
}
