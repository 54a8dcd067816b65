//! Which nodes may be reached.
//!
//! A name is resolved once, each of its addresses has to be allowed, and the connection goes to
//! an address that was judged, under the name whose host key is known.

use std::net::IpAddr;

use broker_api::{Code, Refusal};
use netpolicy::Cidr;

use super::members::{Cluster, Member};
use crate::config::{NodeMode, NodeSettings};

/// The original's reasons, which are labels of metrics.
const REASONS: [&str; 8] = [
    "node_not_allowlisted",
    "node_not_cluster_member",
    "no_validation_sources",
    "allowlist_resolution_failed",
    "cluster_query_failed",
    "node_not_localhost",
    "host_key_unknown",
    "host_key_changed",
];

/// The reason of this name, for one that came from another process.
pub(crate) fn reason(name: &str) -> Option<&'static str> {
    REASONS.into_iter().find(|reason| *reason == name)
}

/// A node as it was asked for, in one spelling: lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NodeName {
    Name(String),
    Address(IpAddr),
}

/// Whether a text can be a node at all: an address, or 1 to 64 of letters, digits, `. _ -`,
/// beginning with a letter or digit, and not like an address that is none (`999.1.1.1`).
pub(crate) fn is_node_name(text: &str) -> bool {
    NodeName::parse(text).is_some()
}

impl NodeName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(Self::Address(netpolicy::canonical(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let sound = begins && name.len() <= 64 && name.bytes().all(byte) && !name.contains("..");
        // `999.1.1.1`, `1.2.3`, `0x7f.1`, `2130706433`: programs disagree about what these are.
        let last = name.rsplit('.').next().unwrap_or(name);
        let number = last.bytes().all(|b| b.is_ascii_digit())
            || last
                .strip_prefix("0x")
                .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        (sound && !number).then(|| Self::Name(name.to_ascii_lowercase()))
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(address) => address.to_string(),
        }
    }
}

/// Checks `[broker.nodes] allow`.
pub(crate) fn check_allow(list: &[String]) -> Result<(), String> {
    match list.iter().find(|entry| Entry::parse(entry).is_none()) {
        Some(wrong) => Err(format!("{wrong:?}: expected a name, an address or a network")),
        None => Ok(()),
    }
}

enum Entry {
    Node(NodeName),
    Network(Cidr),
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text.contains('/') {
            return text.parse().ok().map(Self::Network);
        }
        NodeName::parse(text).map(Self::Node)
    }
}

/// Whether `node` may be reached at `addresses`, to which it was resolved.
pub(crate) fn judge(
    settings: &NodeSettings,
    cluster: &Cluster,
    node: &NodeName,
    addresses: &[IpAddr],
) -> Result<(), Refusal> {
    let own = [NodeName::Name(cluster.own.clone())];
    let members = cluster.members.as_deref();
    Sources { settings, members, own: &own }.judge(node, addresses)
}

/// What can be said before a name is resolved: a name that no address would make right is
/// refused, so that no packet is sent on its behalf.
pub(crate) fn judge_name(
    settings: &NodeSettings,
    cluster: &Cluster,
    node: &NodeName,
) -> Result<(), Refusal> {
    let addresses = match node {
        NodeName::Address(address) => vec![*address],
        NodeName::Name(_) => Vec::new(),
    };
    match judge(settings, cluster, node, &addresses) {
        Err(refusal) if refusal.reason == Some("allowlist_resolution_failed") => Ok(()),
        judged => judged,
    }
}

/// This host itself, asked for by name: a list has to name it, as in the original.
pub(crate) fn judge_own(
    settings: &NodeSettings,
    cluster: &Cluster,
    node: &NodeName,
) -> Result<(), Refusal> {
    if settings.allow.is_empty() { Ok(()) } else { judge(settings, cluster, node, &[]) }
}

/// What is known when a node is judged.
struct Sources<'a> {
    settings: &'a NodeSettings,
    /// Members of the cluster; `None` when this host is in none.
    members: Option<&'a [Member]>,
    /// This host's own names.
    own: &'a [NodeName],
}

impl Sources<'_> {
    fn judge(&self, node: &NodeName, addresses: &[IpAddr]) -> Result<(), Refusal> {
        let refuse = |reason: &'static str| {
            let text = format!("node \"{}\" rejected by validator ({reason})", node.text());
            Err(Refusal::new(Code::TargetRefused, text).because(reason))
        };
        if !self.settings.allow.is_empty() {
            let entries: Vec<Entry> =
                self.settings.allow.iter().filter_map(|text| Entry::parse(text)).collect();
            let named =
                entries.iter().any(|entry| matches!(entry, Entry::Node(one) if one == node));
            if named {
                return Ok(());
            }
            let networks: Vec<Cidr> = entries
                .into_iter()
                .filter_map(|entry| match entry {
                    Entry::Network(network) => Some(network),
                    Entry::Node(_) => None,
                })
                .collect();
            if networks.is_empty() {
                return refuse("node_not_allowlisted");
            }
            if addresses.is_empty() {
                return refuse("allowlist_resolution_failed");
            }
            // All of them: a name that leads partly elsewhere could be turned there.
            let inside = |address: &IpAddr| {
                networks.iter().any(|network| network.contains(netpolicy::canonical(*address)))
            };
            return if addresses.iter().all(inside) {
                Ok(())
            } else {
                refuse("node_not_allowlisted")
            };
        }
        if let Some(members) = self.members {
            let known = members.iter().any(|member| member.is(node));
            return if known { Ok(()) } else { refuse("node_not_cluster_member") };
        }
        if self.own.contains(node) {
            return Ok(());
        }
        match self.settings.mode {
            NodeMode::Strict => refuse("node_not_localhost"),
            NodeMode::Permissive => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn judged(
        settings: &NodeSettings,
        members: Option<&[Member]>,
        node: &str,
        ips: &[&str],
    ) -> Option<&'static str> {
        let own = [name("pve1"), name("127.0.0.1")];
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        Sources { settings, members, own: &own }
            .judge(&name(node), &ips)
            .err()
            .and_then(|r| r.reason)
    }

    #[test]
    fn names_have_one_spelling_or_none() {
        assert_eq!(name("PVE1.Example.COM."), NodeName::Name("pve1.example.com".into()));
        assert_eq!(name("::ffff:192.0.2.1"), name("192.0.2.1"));
        assert_eq!(name("[2001:db8::1]"), name("2001:DB8::1"));
        for wrong in [
            "",
            "-oProxyCommand=x",
            "a b",
            "a;b",
            "a/b",
            "pve..1",
            ".a",
            "é",
            "999.1.1.1",
            "1.2.3",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "fe80::1%eth0",
            "[a]",
            "a@b",
            "$(id)",
            "a\n",
        ] {
            assert!(!is_node_name(wrong), "{wrong}");
        }
        assert!(!is_node_name(&"a".repeat(65)) && is_node_name(&"a".repeat(64)));
    }

    #[test]
    fn a_list_admits_its_names_and_networks_only() {
        let allow = ["pve2", "10.0.0.0/8", "2001:db8::/32"].map(str::to_owned).to_vec();
        let listed = NodeSettings { allow, ..NodeSettings::default() };
        let judge = |node, ips: &[&str]| judged(&listed, None, node, ips);
        assert_eq!(judge("PVE2.", &["192.0.2.1"]), None);
        assert_eq!(judge("pve3", &["10.1.2.3"]), None);
        assert_eq!(judge("10.1.2.3", &["10.1.2.3"]), None);
        assert_eq!(judge("pve3", &["10.1.2.3", "192.0.2.1"]), Some("node_not_allowlisted"));
        assert_eq!(judge("11.0.0.1", &["11.0.0.1"]), Some("node_not_allowlisted"));
        assert_eq!(judge("pve3", &[]), Some("allowlist_resolution_failed"));
        assert_eq!(
            judge("pve1", &["127.0.0.1"]),
            Some("node_not_allowlisted"),
            "not even this one"
        );
        let names = NodeSettings { allow: vec!["pve2".into()], ..NodeSettings::default() };
        assert_eq!(judged(&names, None, "pve3", &["10.0.0.1"]), Some("node_not_allowlisted"));
    }

    #[test]
    fn without_a_list_members_then_the_mode() {
        let strict = NodeSettings::default();
        let lax = NodeSettings { mode: NodeMode::Permissive, ..NodeSettings::default() };
        let members = [Member {
            name: "pve2".into(),
            address: "10.0.0.2".parse().ok(),
            online: None,
            local: false,
        }];
        for settings in [&strict, &lax] {
            assert_eq!(judged(settings, Some(&members), "pve2", &[]), None);
            assert_eq!(judged(settings, Some(&members), "10.0.0.2", &[]), None);
            assert_eq!(
                judged(settings, Some(&members), "pve9", &[]),
                Some("node_not_cluster_member")
            );
            assert_eq!(judged(settings, None, "pve1", &[]), None);
        }
        assert_eq!(judged(&strict, None, "pve9", &[]), Some("node_not_localhost"));
        assert_eq!(judged(&lax, None, "pve9", &[]), None);
    }

    proptest! {
        #[test]
        fn what_is_a_name_is_safe_as_a_word_of_a_command(text in ".{0,40}|[-a-z0-9.:\\[\\]]{0,40}") {
            if let Some(node) = NodeName::parse(&text) {
                let word = node.text();
                prop_assert!(!word.starts_with('-') && !word.is_empty());
                prop_assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b)));
                prop_assert_eq!(NodeName::parse(&word), Some(node));
            }
        }
    }
}
