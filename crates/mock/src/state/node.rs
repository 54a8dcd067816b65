//! A node and what it reports of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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

/// A node in `nodes` and in `cluster/resources`. Members stand in the order of their names.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct NodeRow<'n> {
    #[serde(rename = "cgroup-mode", skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk: Option<u64>,
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maxcpu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maxdisk: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maxmem: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mem: Option<u64>,
    pub(crate) node: &'n str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ssl_fingerprint: Option<&'n str>,
    /// `online` once the status daemon has reported.
    pub(crate) status: &'static str,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uptime: Option<u64>,
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

    pub(crate) fn uptime(&self, now: Duration) -> u64 {
        now.as_secs().saturating_sub(self.booted)
    }

    /// The node in a list, without figures.
    pub(crate) fn row(&self) -> NodeRow<'_> {
        NodeRow {
            id: format!("node/{}", self.name),
            node: &self.name,
            status: if self.hardware.is_some() { "online" } else { "unknown" },
            kind: "node",
            ..NodeRow::default()
        }
    }

    /// The node in a list, with its figures once the status daemon has reported.
    pub(crate) fn row_with_figures(&self, now: Duration, guests_memory: u64) -> NodeRow<'_> {
        let Some(hardware) = &self.hardware else { return self.row() };
        NodeRow {
            cpu: Some(0.03 + 0.01 * f64::from(u32::try_from(self.index).unwrap_or(0))),
            disk: Some(hardware.disk / 10),
            level: Some(""),
            maxcpu: Some(hardware.cpus),
            maxdisk: Some(hardware.disk),
            maxmem: Some(hardware.memory),
            mem: Some(self.memory_used(guests_memory)),
            uptime: Some(self.uptime(now)),
            ..self.row()
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn members_stand_in_the_order_of_their_names() {
        let seed = Seed::cluster().nodes.remove(0);
        let node = Node::new(seed, 0, Duration::from_secs(1_700_000_000), Some("AB:CD"));
        let row = NodeRow {
            cgroup_mode: Some(2),
            ssl_fingerprint: node.ssl_fingerprint.as_deref(),
            ..node.row_with_figures(Duration::from_secs(1_700_000_010), 0)
        };
        // A value sorts its members.
        let sorted = serde_json::to_value(&row).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), sorted.to_string());
        assert_eq!(sorted.as_object().map(serde_json::Map::len), Some(14));
    }
}
