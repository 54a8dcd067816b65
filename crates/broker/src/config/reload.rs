//! What a reload changes in the running process, and what waits for a restart.

use serde_json::Value;

use super::Settings;

/// When a change of a key is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InForce {
    /// From the next request on.
    AtOnce,
    /// For connections that are opened from then on.
    NextConnection,
    /// When the broker is started anew; a reload that changes one is refused as a whole.
    AfterRestart,
}

use InForce::{AfterRestart, AtOnce, NextConnection};

/// Every key of `[broker]`, in groups of one reason.
const RELOAD: &[(InForce, &str, &[&str])] = &[
    (AtOnce, "looked up for each request", &["allow", "pulse_metrics"]),
    (
        AtOnce,
        "workers are started anew with them",
        &["roots", "commands", "cells", "cell_launcher", "systemctl", "nodes"],
    ),
    (AtOnce, "bound and closed by the supervisor", &["socket", "sockets"]),
    (
        AtOnce,
        "counts; what is under way goes on, debts end with another budget",
        &[
            "limits.per_second",
            "limits.burst",
            "limits.under_way_per_peer",
            "limits.under_way",
            "limits.queue_wait_ms",
            "limits.connections_per_peer",
            "limits.connections",
            "limits.handler_ms",
        ],
    ),
    (
        NextConnection,
        "an open connection keeps its times",
        &["limits.first_byte_ms", "limits.request_ms", "limits.idle_ms", "limits.write_ms"],
    ),
    (
        AfterRestart,
        "opened or given up before the first request",
        &[
            "user",
            "state",
            "metrics",
            "allow_degraded",
            "audit.file",
            "audit.key_file",
            "audit.head_file",
        ],
    ),
];

/// Keys that differ and wait for a restart, with the reason.
pub(crate) fn after_restart(before: &Settings, next: &Settings) -> Option<String> {
    let (before, next) = (value(before), value(next));
    let differs = |key: &&str| at(&before, key) != at(&next, key);
    let rows = RELOAD.iter().filter(|(when, ..)| *when == AfterRestart);
    rows.into_iter().find_map(|(_, why, keys)| {
        let keys: Vec<String> =
            keys.iter().filter(|key| differs(key)).map(|key| format!("broker.{key}")).collect();
        let text = format!("{} in force after a restart only: {why}", keys.join(", "));
        (!keys.is_empty()).then_some(text)
    })
}

fn value(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

fn at<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.pointer(&format!("/{}", key.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_stands_in_one_row() {
        let all = value(&Settings::default());
        let mut keys = BTreeSet::new();
        for (name, member) in all.as_object().unwrap() {
            match member.as_object().filter(|_| matches!(name.as_str(), "limits" | "audit")) {
                Some(members) => keys.extend(members.keys().map(|key| format!("{name}.{key}"))),
                None => drop(keys.insert(name.clone())),
            }
        }
        let rows: Vec<String> =
            RELOAD.iter().flat_map(|(_, _, keys)| *keys).map(|key| (*key).to_owned()).collect();
        assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), keys);
        assert_eq!(rows.len(), keys.len());
    }

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let before = Settings::default();
        let mut next = before.clone();
        next.limits.burst += 1;
        next.socket = "/run/other".into();
        assert_eq!(after_restart(&before, &next), None);
        next.state = "/srv/broker".into();
        next.audit.file = "/srv/log".into();
        let text = after_restart(&before, &next).unwrap();
        assert!(text.starts_with("broker.state, broker.audit.file in force after"), "{text}");
    }
}
