//! Members of the cluster, from the files of pmxcfs and corosync, not from programs that ask
//! them: `pvecm` hangs or fails where the files can be read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::allow::NodeName;
use crate::limits::{MEMBERS, MEMBERS_AGE};

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: Option<IpAddr>,
    /// As pmxcfs sees it; not known from corosync.conf.
    pub(crate) online: Option<bool>,
    /// Whether it is this host.
    pub(crate) local: bool,
}

/// The cluster, or this host alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// `None` on a host that is in no cluster.
    pub(crate) members: Option<Vec<Member>>,
    /// This host's name.
    pub(crate) own: String,
    /// Which file said so.
    pub(crate) source: String,
}

impl Member {
    pub(crate) fn is(&self, node: &NodeName) -> bool {
        match node {
            NodeName::Name(name) => self.name.eq_ignore_ascii_case(name),
            NodeName::Address(address) => self.address.map(netpolicy::canonical) == Some(*address),
        }
    }
}

impl Cluster {
    /// Whether this is the host itself.
    pub(crate) fn is_own(&self, node: &NodeName) -> bool {
        let own = self.members.iter().flatten().any(|member| member.local && member.is(node));
        own || match node {
            NodeName::Name(name) => *name == self.own || name == "localhost",
            NodeName::Address(address) => {
                *address == Ipv4Addr::LOCALHOST || *address == Ipv6Addr::LOCALHOST
            }
        }
    }
}

/// Reads the files below `root`: `/etc/pve/.members`, else `/etc/pve/corosync.conf`, else
/// `/etc/corosync/corosync.conf`.
///
/// # Errors
/// One line with the file, when there is a cluster and its members can not be told.
pub(crate) fn read_members(root: &Path, own: &str) -> Result<Cluster, String> {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let cluster =
        |members, source: &str| Cluster { members, own: own.to_owned(), source: source.to_owned() };
    if let Some(text) = text("etc/pve/.members") {
        let members = dot_members(&text).ok_or("/etc/pve/.members: not as pmxcfs writes it")?;
        if !members.is_empty() {
            return Ok(cluster(Some(members), "/etc/pve/.members"));
        }
    }
    for path in ["etc/pve/corosync.conf", "etc/corosync/corosync.conf"] {
        if let Some(text) = text(path) {
            let mut members = corosync(&text).ok_or_else(|| format!("/{path}: no node list"))?;
            for member in &mut members {
                member.local = member.name == own;
            }
            return Ok(cluster(Some(members), &format!("/{path}")));
        }
    }
    Ok(cluster(None, "no cluster configuration"))
}

/// pmxcfs' own view: `{"nodename":…,"nodelist":{NAME:{"id":1,"online":1,"ip":…}}}`. Empty on a
/// host in no cluster, which has no `nodelist` with more than itself and no `cluster`.
pub(crate) fn dot_members(text: &str) -> Option<Vec<Member>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let own = value.get("nodename")?.as_str()?;
    if value.get("cluster").is_none() {
        return Some(Vec::new());
    }
    let member = |(name, row): (&String, &Value)| {
        NodeName::parse(name)?;
        let address = row.get("ip").and_then(Value::as_str).and_then(|ip| ip.parse().ok());
        let online = row.get("online").and_then(Value::as_u64).map(|online| online == 1);
        Some(Member { name: name.clone(), address, online, local: name == own })
    };
    Some(value.get("nodelist")?.as_object()?.iter().filter_map(member).take(MEMBERS).collect())
}

/// `nodelist { node { name: … ring0_addr: … } }` (corosync.conf(5)). Sections of other kinds, a
/// quorum device's above all, are not members.
pub(crate) fn corosync(text: &str) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    let mut sections: Vec<&str> = Vec::new();
    let (mut name, mut address) = (None, None);
    let mut seen = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(section) = line.strip_suffix('{') {
            sections.push(section.trim());
            seen |= sections == ["nodelist"];
            if sections == ["nodelist", "node"] {
                (name, address) = (None, None);
            }
        } else if line == "}" {
            if sections == ["nodelist", "node"]
                && let Some(name) = name.take().or_else(|| address.map(str::to_owned))
                && NodeName::parse(&name).is_some()
                && members.len() < MEMBERS
            {
                let address = address.and_then(|text| text.parse().ok());
                members.push(Member { name, address, online: None, local: false });
            }
            sections.pop()?;
        } else if sections == ["nodelist", "node"]
            && let Some((key, value)) = line.split_once(':')
        {
            match key.trim() {
                "name" => name = Some(value.trim().to_owned()),
                "ring0_addr" => address = Some(value.trim()),
                _ => {}
            }
        }
        if sections.len() > 8 {
            return None;
        }
    }
    (seen && sections.is_empty()).then_some(members)
}

/// The cluster as it was read last.
#[derive(Default)]
pub(crate) struct Members(Mutex<Option<(Duration, Cluster)>>);

impl Members {
    /// What was read less than five minutes ago.
    pub(crate) fn fresh(&self, now: Duration) -> Option<Cluster> {
        self.within(now, MEMBERS_AGE.0)
    }

    /// What was read less than an hour ago, for when reading fails; with its age.
    pub(crate) fn stale(&self, now: Duration) -> Option<Cluster> {
        self.within(now, MEMBERS_AGE.1)
    }

    /// Keeps what was read.
    pub(crate) fn keep(&self, now: Duration, cluster: &Cluster) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((now, cluster.clone()));
    }

    fn within(&self, now: Duration, age: Duration) -> Option<Cluster> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, cluster) = kept.as_ref()?;
        (now.saturating_sub(*at) < age).then(|| cluster.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEMBERS_FILE: &str = r#"{
"nodename": "pve1", "version": 12,
"cluster": { "name": "lab", "version": 3, "nodes": 2, "quorate": 1 },
"nodelist": {
  "pve1": { "id": 1, "online": 1, "ip": "10.0.0.1"},
  "pve2": { "id": 2, "online": 0, "ip": "10.0.0.2"}
  }
}"#;

    const COROSYNC: &str = "totem {\n  version: 2\n  interface {\n    linknumber: 0\n  }\n}\n\
        nodelist {\n  node {\n    name: pve1\n    nodeid: 1\n    ring0_addr: 10.0.0.1\n  }\n  \
        node {\n    # moved\n    ring0_addr: 2001:db8::2\n    name: pve2\n  }\n}\n\
        quorum {\n  provider: corosync_votequorum\n  device {\n    model: net\n    net {\n      host: 10.0.0.9\n    }\n  }\n}\n";

    #[test]
    fn both_files_name_the_same_members() {
        let members = dot_members(MEMBERS_FILE).unwrap();
        assert_eq!(members.len(), 2);
        assert_eq!(
            (members[0].local, members[0].online, members[1].online),
            (true, Some(true), Some(false))
        );
        let members = corosync(COROSYNC).unwrap();
        assert_eq!(members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["pve1", "pve2"]);
        assert_eq!(members[1].address, "2001:db8::2".parse().ok());
    }

    #[test]
    fn a_host_alone_and_a_host_that_can_not_tell() {
        let root = tempfile::tempdir().unwrap();
        let read = || read_members(root.path(), "pve1");
        assert_eq!(read().unwrap().members, None);
        std::fs::create_dir_all(root.path().join("etc/pve")).unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(root.path().join("etc/pve").join(name), text).unwrap();
        };
        write(".members", r#"{"nodename":"pve1","version":1,"nodelist":{"pve1":{"id":1}}}"#);
        assert_eq!(read().unwrap().members, None, "standalone hosts have the file too");
        write("corosync.conf", COROSYNC);
        let cluster = read().unwrap();
        assert!(cluster.members.unwrap()[0].local);
        write(".members", "half a fi");
        assert!(read().unwrap_err().contains(".members"));
        write(".members", MEMBERS_FILE);
        assert_eq!(read().unwrap().source, "/etc/pve/.members");
        std::fs::remove_file(root.path().join("etc/pve/.members")).unwrap();
        write("corosync.conf", "totem { }");
        assert!(read().is_err());
    }

    #[test]
    fn what_was_read_is_believed_for_five_minutes_and_stands_in_for_an_hour() {
        let members = Members::default();
        let cluster = Cluster { members: None, own: "a".into(), source: String::new() };
        let at = Duration::from_secs;
        assert!(members.fresh(at(0)).is_none() && members.stale(at(0)).is_none());
        members.keep(at(0), &cluster);
        assert!(members.fresh(at(299)).is_some() && members.fresh(at(300)).is_none());
        assert!(members.stale(at(3599)).is_some() && members.stale(at(3600)).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "([a-z: {}#\n0-9.]|nodelist \\{\n|node \\{\n|\\}\n|name: a\n){0,60}") {
            if let Some(members) = corosync(&text) {
                prop_assert!(members.iter().all(|member| super::super::is_node_name(&member.name)));
            }
            let _ = dot_members(&text);
        }
    }
}
