//! A node and what it reports of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::seed::{Hardware, NodeSeed};

/// Seconds a node has been up when the mock starts.
const UPTIME_AT_START: u64 = 86_400;

/// Domain of the nodes; `.test` names belong to nobody (RFC 6761), nor do names below `.local`.
const DOMAIN: &str = "test.local";
/// A documentation address (RFC 5737).
const NAME_SERVER: &str = "192.0.2.53";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) ip: String,
    /// Position in the seed; node ids count from 1 in a cluster.
    pub(crate) index: usize,
    pub(crate) ssl_fingerprint: Option<String>,
    /// Whether that is the mock's own, which can be another one after the next start.
    own_certificate: bool,
    #[serde(with = "hardware")]
    pub(crate) hardware: Option<Hardware>,
    booted: u64,
    /// The text of `/etc/hosts`.
    pub(crate) hosts: String,
    /// `search`, `dns1` to `dns3` of `/etc/resolv.conf`.
    pub(crate) resolver: BTreeMap<String, String>,
    pub(crate) timezone: String,
}

impl Node {
    pub(crate) fn new(
        seed: NodeSeed,
        index: usize,
        started: Duration,
        fingerprint: Option<&str>,
    ) -> Self {
        let hosts =
            format!("127.0.0.1 localhost\n{} {}.{DOMAIN} {}\n", seed.ip, seed.name, seed.name);
        Self {
            hosts,
            resolver: BTreeMap::from([("dns1".to_owned(), NAME_SERVER.to_owned())]),
            timezone: "UTC".to_owned(),
            name: seed.name,
            ip: seed.ip,
            index,
            own_certificate: seed.ssl_fingerprint.is_none(),
            ssl_fingerprint: seed.ssl_fingerprint.or_else(|| fingerprint.map(str::to_owned)),
            hardware: seed.hardware,
            booted: started.as_secs().saturating_sub(UPTIME_AT_START),
        }
    }

    /// Shows the certificate of this run.
    pub(crate) fn present(&mut self, fingerprint: Option<&str>) {
        if self.own_certificate {
            self.ssl_fingerprint = fingerprint.map(str::to_owned);
        }
    }

    /// `online` once the status daemon has reported.
    pub(crate) fn status(&self) -> &'static str {
        if self.hardware.is_some() { "online" } else { "unknown" }
    }

    pub(crate) fn uptime(&self, now: Duration) -> u64 {
        now.as_secs().saturating_sub(self.booted)
    }

    /// The members that a node has in `nodes` and in `cluster/resources` once it has reported.
    pub(crate) fn usage(&self, now: Duration, guests_memory: u64) -> Value {
        let Some(hardware) = &self.hardware else { return json!({}) };
        json!({
            "cpu": 0.03 + 0.01 * f64::from(u32::try_from(self.index).unwrap_or(0)),
            "maxcpu": hardware.cpus,
            "mem": self.memory_used(guests_memory),
            "maxmem": hardware.memory,
            "disk": hardware.disk / 10,
            "maxdisk": hardware.disk,
            "uptime": self.uptime(now),
        })
    }

    /// Bytes of memory in use: a base for the host plus what running guests hold.
    pub(crate) fn memory_used(&self, guests_memory: u64) -> u64 {
        self.hardware
            .as_ref()
            .map_or(0, |hardware| (hardware.memory / 16 + guests_memory).min(hardware.memory))
    }
}

/// Processors, bytes of memory and bytes of disk in the state file.
mod hardware {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Hardware;

    pub(super) fn serialize<S: Serializer>(
        hardware: &Option<Hardware>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        hardware.as_ref().map(|one| (one.cpus, one.memory, one.disk)).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Hardware>, D::Error> {
        let facts = Option::<(u32, u64, u64)>::deserialize(from)?;
        Ok(facts.map(|(cpus, memory, disk)| Hardware { cpus, memory, disk }))
    }
}
