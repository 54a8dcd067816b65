//! Firewall files: `cluster.fw`, `host.fw`, `<vmid>.fw` and those of virtual networks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::sha1_hex;

/// One file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Firewall {
    pub(crate) options: Map<String, Value>,
    /// In the order they apply.
    pub(crate) rules: Vec<Map<String, Value>>,
    /// By lower-case name.
    pub(crate) aliases: BTreeMap<String, Map<String, Value>>,
    pub(crate) ipsets: BTreeMap<String, Group>,
    /// Security groups, in the cluster's file alone.
    pub(crate) groups: BTreeMap<String, Group>,
}

/// A list with a comment: rules of a security group or addresses of an IP set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) comment: Option<String>,
    pub(crate) entries: Vec<Map<String, Value>>,
}

/// The key of the cluster's file.
pub(crate) const CLUSTER: &str = "cluster";

pub(crate) fn guest_scope(vmid: u32) -> String {
    format!("guest/{vmid}")
}

/// A copy of the list, each entry with the digest of all, and that digest
/// (`PVE::Firewall::copy_list_with_digest`).
pub(crate) fn with_digest<'e>(
    entries: impl IntoIterator<Item = &'e Map<String, Value>>,
) -> (Vec<Map<String, Value>>, String) {
    let mut entries: Vec<Map<String, Value>> = entries.into_iter().cloned().collect();
    let text: String = entries.iter().flat_map(digest_lines).collect();
    let digest = sha1_hex(text.as_bytes());
    for entry in &mut entries {
        entry.insert("digest".to_owned(), Value::String(digest.clone()));
    }
    (entries, digest)
}

fn digest_lines(entry: &Map<String, Value>) -> impl Iterator<Item = String> {
    let sorted: BTreeMap<&String, &Value> = entry.iter().collect();
    sorted.into_iter().map(|(key, value)| {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{key}:{shown}\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_the_digest_of_an_empty_file() {
        // As a genuine server shows it for a firewall without options.
        let (entries, digest) = with_digest([&Map::new()]);
        assert_eq!(digest, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(entries[0]["digest"], Value::String(digest));
    }

    #[test]
    fn the_digest_depends_on_the_order_of_entries() {
        let entry = |text: &str| Map::from_iter([("action".to_owned(), Value::from(text))]);
        let (a, b) = (entry("ACCEPT"), entry("DROP"));
        assert_ne!(with_digest([&a, &b]).1, with_digest([&b, &a]).1);
    }
}
