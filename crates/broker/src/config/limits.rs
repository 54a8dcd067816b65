//! `[broker.limits]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::limits as bounds;

/// How much, how often, how long; the defaults stand in `crate::limits`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests of one peer that come back each second.
    pub per_second: f64,
    /// Requests of one peer at once after it was quiet.
    pub burst: u32,
    /// Requests of one peer under way.
    pub under_way_per_peer: u32,
    /// Requests of all under way.
    pub under_way: u32,
    /// How long a request waits for its turn, in milliseconds.
    pub queue_wait_ms: u64,
    /// Connections of one peer.
    pub connections_per_peer: usize,
    /// Connections of all.
    pub connections: usize,
    /// To the first byte.
    pub first_byte_ms: u64,
    /// From the first byte of a request to its last.
    pub request_ms: u64,
    /// Between requests.
    pub idle_ms: u64,
    /// For the work.
    pub handler_ms: u64,
    /// For the answer to be taken.
    pub write_ms: u64,
}

/// Longest of the times above: an hour.
const MOST_MS: u64 = 3_600_000;

/// Fastest budget: beyond that there is none.
const MOST_PER_SECOND: f64 = 10_000_000.0;

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_second: bounds::RATE.0,
            burst: bounds::RATE.1,
            under_way_per_peer: bounds::UNDER_WAY.0,
            under_way: bounds::UNDER_WAY.1,
            queue_wait_ms: millis(bounds::QUEUE_WAIT),
            connections_per_peer: bounds::CONNECTIONS_PER_PEER.0,
            connections: bounds::CONNECTIONS.0,
            first_byte_ms: millis(bounds::FIRST_BYTE),
            request_ms: millis(bounds::REQUEST),
            idle_ms: millis(bounds::IDLE),
            handler_ms: millis(bounds::HANDLER),
            write_ms: millis(bounds::WRITE),
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, what: String| {
            Err(ConfigError::Value { key: format!("broker.limits.{key}"), what })
        };
        if !(self.per_second > 0.0 && self.per_second <= MOST_PER_SECOND) {
            return wrong("per_second", format!("above 0 and at most {MOST_PER_SECOND}"));
        }
        let counts = [
            ("burst", u64::from(self.burst), 10_000_000),
            ("under_way_per_peer", u64::from(self.under_way_per_peer), 1024),
            ("under_way", u64::from(self.under_way), 1024),
            (
                "connections_per_peer",
                self.connections_per_peer as u64,
                bounds::CONNECTIONS_PER_PEER.1 as u64,
            ),
            ("connections", self.connections as u64, bounds::CONNECTIONS.1 as u64),
            ("queue_wait_ms", self.queue_wait_ms, MOST_MS),
            ("first_byte_ms", self.first_byte_ms, MOST_MS),
            ("request_ms", self.request_ms, MOST_MS),
            ("idle_ms", self.idle_ms, MOST_MS),
            ("handler_ms", self.handler_ms, MOST_MS),
            ("write_ms", self.write_ms, MOST_MS),
        ];
        match counts.into_iter().find(|(_, value, most)| !(1..=*most).contains(value)) {
            Some((key, _, most)) => wrong(key, format!("from 1 to {most}")),
            None => Ok(()),
        }
    }

    pub(crate) fn first_byte(&self) -> Duration {
        Duration::from_millis(self.first_byte_ms)
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    pub(crate) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }

    pub(crate) fn handler(&self) -> Duration {
        Duration::from_millis(self.handler_ms)
    }

    pub(crate) fn write(&self) -> Duration {
        Duration::from_millis(self.write_ms)
    }

    pub(crate) fn queue_wait(&self) -> Duration {
        Duration::from_millis(self.queue_wait_ms)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
