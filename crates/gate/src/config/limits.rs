//! The section `[gate.limits]`.

use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use crate::limits::Limits;

/// Longest time an operator may set for a limit.
const LONGEST: u64 = 24 * 3600;

/// `[gate.limits]` as it is written; what is absent keeps the default of [`Limits`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Client connections at once.
    pub connections: Option<usize>,
    /// Client connections at once of one address (IPv6: of one /64).
    pub connections_per_address: Option<usize>,
    /// Of these, connections without a whole request.
    pub silent_per_address: Option<usize>,
    /// See [`Limits::handshake`].
    pub handshake_seconds: Option<u64>,
    /// See [`Limits::head`].
    pub head_seconds: Option<u64>,
    /// See [`Limits::idle`].
    pub idle_seconds: Option<u64>,
    /// See [`Limits::body_idle`].
    pub body_idle_seconds: Option<u64>,
    /// See [`Limits::body`].
    pub body_seconds: Option<u64>,
    /// See [`Limits::write`].
    pub write_seconds: Option<u64>,
    /// See [`Limits::upstream_connect`].
    pub upstream_connect_seconds: Option<u64>,
    /// See [`Limits::upstream_response`].
    pub upstream_response_seconds: Option<u64>,
    /// See [`Limits::upstream_body_idle`].
    pub upstream_body_idle_seconds: Option<u64>,
    /// See [`Limits::tunnel_idle`].
    pub tunnel_idle_seconds: Option<u64>,
    /// See [`Limits::drain`].
    pub drain_seconds: Option<u64>,
}

impl LimitSettings {
    pub(super) fn apply(&self, limits: &mut Limits) -> Result<(), ConfigError> {
        let counts = [
            ("connections", self.connections, &mut limits.connections),
            (
                "connections_per_address",
                self.connections_per_address,
                &mut limits.connections_per_address,
            ),
            ("silent_per_address", self.silent_per_address, &mut limits.silent_per_address),
        ];
        for (key, given, limit) in counts {
            if let Some(count) = given {
                if count == 0 {
                    let what = "0 admits nobody; write a number from 1";
                    return Err(ConfigError::new(&format!("limits.{key}"), &what));
                }
                *limit = count;
            }
        }
        let times = [
            ("handshake", self.handshake_seconds, &mut limits.handshake),
            ("head", self.head_seconds, &mut limits.head),
            ("idle", self.idle_seconds, &mut limits.idle),
            ("body_idle", self.body_idle_seconds, &mut limits.body_idle),
            ("body", self.body_seconds, &mut limits.body),
            ("write", self.write_seconds, &mut limits.write),
            ("upstream_connect", self.upstream_connect_seconds, &mut limits.upstream_connect),
            ("upstream_response", self.upstream_response_seconds, &mut limits.upstream_response),
            ("upstream_body_idle", self.upstream_body_idle_seconds, &mut limits.upstream_body_idle),
            ("tunnel_idle", self.tunnel_idle_seconds, &mut limits.tunnel_idle),
            ("drain", self.drain_seconds, &mut limits.drain),
        ];
        for (key, given, limit) in times {
            if let Some(seconds) = given {
                if !(1..=LONGEST).contains(&seconds) {
                    let what = format!("{seconds}; write seconds from 1 to {LONGEST}");
                    return Err(ConfigError::new(&format!("limits.{key}_seconds"), &what));
                }
                *limit = Duration::from_secs(seconds);
            }
        }
        Ok(())
    }
}
