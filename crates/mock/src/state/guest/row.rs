//! A guest in a list.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::Guest;
use crate::seed::GuestKind;

/// What a guest shows of itself. [`Guest::row`] fills in what all views share; a view adds the
/// optional members that are its own. Members stand in the order of their names, as everywhere.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GuestRow<'g> {
    pub(crate) cpu: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<u64>,
    pub(crate) disk: u64,
    pub(crate) diskread: u64,
    pub(crate) diskwrite: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hastate: Option<&'g str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'g str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lock: Option<&'g str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maxcpu: Option<u64>,
    pub(crate) maxdisk: u64,
    pub(crate) maxmem: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) maxswap: Option<u64>,
    pub(crate) mem: u64,
    pub(crate) name: Cow<'g, str>,
    pub(crate) netin: u64,
    pub(crate) netout: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<&'g str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<&'g str>,
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) swap: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<&'g str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) template: Option<u8>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    pub(crate) uptime: u64,
    pub(crate) vmid: u32,
}

impl Guest {
    /// The members that `qemu`, `lxc`, `status/current`, `rrddata` and `cluster/resources` share.
    pub(crate) fn row(&self, now: Duration) -> GuestRow<'_> {
        let running = self.is_running();
        let uptime = self.running_since.map_or(0, |since| now.as_secs().saturating_sub(since));
        let traffic = |rate: u64| uptime * rate * (1 + u64::from(self.vmid) % 7);
        GuestRow {
            cpu: if running { 0.01 + 0.002 * f64::from(self.vmid % 20) } else { 0.0 },
            disk: if self.kind == GuestKind::Lxc && running { self.size.disk / 4 } else { 0 },
            diskread: traffic(2000),
            diskwrite: traffic(1000),
            lock: self.lock(),
            maxdisk: self.size.disk,
            maxmem: self.size.memory,
            mem: self.memory_used(),
            name: self.name(),
            netin: traffic(900),
            netout: traffic(400),
            status: if running { "running" } else { "stopped" },
            tags: self.option("tags"),
            uptime,
            vmid: self.vmid,
            cpus: None,
            hastate: None,
            id: None,
            kind: None,
            maxcpu: None,
            maxswap: None,
            node: None,
            pid: None,
            pool: None,
            swap: None,
            template: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn members_stand_in_the_order_of_their_names() {
        let seed = Seed::cluster().guests.remove(0);
        let guest = Guest::new(seed, Duration::from_secs(1_700_000_000));
        let row = GuestRow {
            cpus: Some(1),
            hastate: Some("started"),
            id: Some("qemu/100"),
            kind: Some("qemu"),
            lock: Some("backup"),
            maxcpu: Some(1),
            maxswap: Some(0),
            node: Some("pve1"),
            pid: Some(1),
            pool: Some("p"),
            swap: Some(0),
            tags: Some("a"),
            template: Some(1),
            ..guest.row(Duration::from_secs(1_700_000_010))
        };
        // A value sorts its members.
        let sorted = serde_json::to_value(&row).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), sorted.to_string());
        assert_eq!(sorted.as_object().map(serde_json::Map::len), Some(26));
    }
}
