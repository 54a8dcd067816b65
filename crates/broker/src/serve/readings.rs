//! Readings handed out again for a while: many askers cause one reading, and each is told its age.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use broker_api::Refusal;
use limits::Keyed;
use serde_json::{Value, json};
use telemetry::Clock;

use crate::limits::CACHED;

/// What was read last, by name.
pub(crate) struct Readings(Mutex<Keyed<String, Arc<Slot>>>);

/// One reading. The lock is held while it is taken: who comes meanwhile gets the same one.
type Slot = tokio::sync::Mutex<Option<(Duration, Value)>>;

impl Default for Readings {
    fn default() -> Self {
        Self(Mutex::new(Keyed::new(CACHED)))
    }
}

impl Readings {
    /// The reading `name`, at most `age` old, else a new one. An object gets `age_ms`. A failure
    /// is not kept.
    pub(crate) async fn at_most<F>(
        &self,
        clock: &Clock,
        name: &str,
        age: Duration,
        read: impl FnOnce() -> F,
    ) -> Result<Value, Refusal>
    where
        F: Future<Output = Result<Value, Refusal>>,
    {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock.monotonic();
            Arc::clone(slots.entry(now, &name.to_owned(), Arc::default))
        };
        let mut kept = slot.lock().await;
        let old = |at: Duration| clock.monotonic().saturating_sub(at);
        if let Some((at, value)) = &*kept
            && old(*at) < age
        {
            return Ok(aged(value.clone(), old(*at)));
        }
        let value = read().await?;
        *kept = Some((clock.monotonic(), value.clone()));
        Ok(aged(value, Duration::ZERO))
    }
}

fn aged(mut value: Value, age: Duration) -> Value {
    if let Some(members) = value.as_object_mut() {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        members.insert("age_ms".to_owned(), json!(millis));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn many_askers_cause_one_reading() {
        let (clock, by_hand) = Clock::manual(Duration::ZERO);
        let (readings, count) = (Readings::default(), AtomicU32::new(0));
        let second = Duration::from_secs(1);
        let ask = || {
            readings.at_most(&clock, "a", second, || async {
                tokio::task::yield_now().await;
                count.fetch_add(1, Ordering::Relaxed);
                Ok(json!({"v": 1}))
            })
        };
        let (one, other) = (ask(), ask());
        assert_eq!(one.await.unwrap(), json!({"v": 1, "age_ms": 0}));
        by_hand.advance(second / 4);
        assert_eq!(other.await.unwrap(), json!({"v": 1, "age_ms": 250}));
        assert_eq!(count.load(Ordering::Relaxed), 1);
        by_hand.advance(second);
        ask().await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 2);
        let refused = readings
            .at_most(&clock, "b", second, || async {
                Err(Refusal::new(broker_api::Code::Unavailable, "x"))
            })
            .await;
        assert!(refused.is_err());
        assert!(readings.at_most(&clock, "b", second, || async { Ok(json!(2)) }).await.is_ok());
    }
}
