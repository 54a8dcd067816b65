//! High availability, replication, SDN objects. Sources: pve-ha-manager, pve-guest-common, pve-network.

use super::{Row, require};
use crate::value::chomp;

pub(super) static FORMATS: [Row; 11] = [
    Row::pattern(
        "pve-ha-resource-id",
        r"[a-z]+:\S+",
        "value does not look like a valid ha resource id",
    ),
    Row::pattern(
        "pve-ha-resource-or-vm-id",
        r"(?:[a-z]+:\S+|\d+)",
        "value does not look like a valid ha resource id",
    ),
    Row::pattern(
        "pve-ha-group-node",
        NODE_PRIORITY,
        "value does not look like a valid ha group node",
    ),
    Row::pattern("pve-ha-node", NODE_PRIORITY, "value does not look like a valid ha node"),
    Row::code("pve-replication-job-id", replication_job),
    Row::code("pve-sdn-zone-id", |id| object_id(id, "zone", 8)),
    Row::code("pve-sdn-vnet-id", |id| object_id(id, "vnet", 8)),
    Row::code("pve-sdn-dns-id", |id| object_id(id, "dns", usize::MAX)),
    Row::code("pve-sdn-ipam-id", |id| object_id(id, "ipam", usize::MAX)),
    Row::code("pve-sdn-controller-id", |id| object_id(id, "controller", 64)),
    Row::pattern(
        "pve-sdn-fabric-id",
        "[a-zA-Z0-9][a-zA-Z0-9-]{0,6}[a-zA-Z0-9]",
        "value does not look like a valid fabric id",
    ),
];

const NODE_PRIORITY: &str = r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?(?::\d+)?";

/// `GUEST-NUMBER`
fn replication_job(id: &str) -> Result<(), String> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let guest = chomp(id).split_once('-').and_then(|(guest, job)| number(job).and(number(guest)));
    let Some(guest) = guest else {
        return Err(format!("invalid replication job id '{id}'\n"));
    };
    require(
        guest >= 100,
        &format!("invalid replication job id '{id}' (guest IDs < 100 are reseved)"),
    )
}

fn object_id(id: &str, what: &str, most: usize) -> Result<(), String> {
    static PLAIN: Row = Row::pattern("", "(?i:[a-z][a-z0-9]*[a-z0-9])", "");
    static DASHED: Row = Row::pattern("", "(?i:[a-z][a-z0-9_-]*[a-z0-9])", "");
    let shape = if what == "controller" { &DASHED } else { &PLAIN };
    require(shape.check(id).is_ok(), &format!("{what} ID '{id}' contains illegal characters"))?;
    require(
        id.chars().count() <= most,
        &format!("{what} ID '{id}' can't be more length than {most} characters"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::check_named as check;

    #[test]
    fn lawful_values_pass() {
        for (format, value) in [
            ("pve-ha-resource-id", "vm:100"),
            ("pve-ha-resource-or-vm-id", "100"),
            ("pve-ha-group-node", "pve1:2"),
            ("pve-replication-job-id", "100-0"),
            ("pve-sdn-zone-id", "zone1234"),
            ("pve-sdn-controller-id", "ctrl-1"),
        ] {
            assert_eq!(check(format, value), Ok(()), "{format} {value}");
        }
    }

    #[test]
    fn messages_are_pves() {
        for (format, value, message) in [
            ("pve-ha-resource-id", "100", "value does not look like a valid ha resource id\n"),
            ("pve-replication-job-id", "1x", "invalid replication job id '1x'\n"),
            (
                "pve-replication-job-id",
                "99-0",
                "invalid replication job id '99-0' (guest IDs < 100 are reseved)\n",
            ),
            ("pve-sdn-vnet-id", "1a", "vnet ID '1a' contains illegal characters\n"),
            (
                "pve-sdn-zone-id",
                "zone12345",
                "zone ID 'zone12345' can't be more length than 8 characters\n",
            ),
        ] {
            assert_eq!(check(format, value).unwrap_err(), message);
        }
    }
}
