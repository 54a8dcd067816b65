//! What a login answer tells the web interface about its user (`cap`).

use std::collections::BTreeMap;

use super::Access;
use crate::{Privilege, Privileges, Subject};

/// Privileges that the subject has anywhere in a category, by the category's name.
pub type Capabilities = BTreeMap<&'static str, Privileges>;

/// Paths that are always looked at, besides those of the list.
const LOOKED_AT: [&str; 7] =
    ["/", "/nodes", "/access/groups", "/vms", "/storage", "/sdn", "/mapping"];

const MODIFY: &str = "Permissions.Modify";

/// Which privileges count for the category that is the first part of a path; `dc` is the root.
const CATEGORIES: [(&str, &[&str]); 7] = [
    ("access", &["User.", "Group.", MODIFY]),
    ("dc", &["Sys.Audit", "Sys.Modify", "SDN."]),
    ("mapping", &["Mapping.", MODIFY]),
    ("nodes", &["Sys.", MODIFY]),
    ("sdn", &["SDN.", MODIFY]),
    ("storage", &["Datastore.", MODIFY]),
    ("vms", &["VM.", MODIFY]),
];

/// Pools have no category; what is held there counts for their members.
const POOL: [(&str, &[&str]); 2] =
    [("storage", &["Datastore.", MODIFY]), ("vms", &["VM.", MODIFY])];

impl Access {
    /// The capabilities of the subject (`compute_api_permission` of `PVE::RPCEnvironment`).
    /// Every category is present, if empty.
    pub fn capabilities(&self, subject: &Subject) -> Capabilities {
        let empty = |(name, _)| (name, Privileges::EMPTY);
        let mut capabilities: Capabilities = CATEGORIES.into_iter().map(empty).collect();
        for path in LOOKED_AT.into_iter().chain(self.index.paths()) {
            let held = self.permissions(subject, path).held;
            for (category, prefixes) in categories_of(path) {
                let counted = held.iter().filter(|privilege| begins(*privilege, prefixes));
                let counted = counted.collect();
                let have = capabilities.entry(category).or_default();
                *have = have.union(counted);
            }
        }
        capabilities
    }
}

fn categories_of(path: &str) -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let first = top_level(path);
    let pool: &[_] = if first == "pool" { &POOL } else { &[] };
    let own = CATEGORIES.iter().filter(move |(name, _)| *name == first);
    own.chain(pool).copied()
}

/// `^/(\w+)`, or `dc`.
fn top_level(path: &str) -> &str {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let part = path.strip_prefix('/').unwrap_or_default();
    let end = part.find(|c| !word(c)).unwrap_or(part.len());
    match part.get(..end) {
        Some(first) if !first.is_empty() => first,
        _ => "dc",
    }
}

fn begins(privilege: Privilege, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| privilege.name().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Release;

    fn of(text: &str, category: &str) -> Vec<&'static str> {
        let (access, _) = Access::parse(Release::V9, text).unwrap();
        let capabilities = access.capabilities(&"a@pve".parse().unwrap());
        assert_eq!(capabilities.len(), 7);
        capabilities[category].iter().map(Privilege::name).collect()
    }

    #[test]
    fn rights_on_one_guest_show_under_guests() {
        let text = "user:a@pve:1:\nrole:r:VM.Audit,Sys.Audit:\nacl:1:/vms/100:a@pve:r:\n";
        assert_eq!(of(text, "vms"), ["VM.Audit"]);
        assert!(of(text, "nodes").is_empty() && of(text, "dc").is_empty());
    }

    #[test]
    fn rights_on_a_pool_show_under_its_kinds_of_members() {
        let text = "user:a@pve:1:\npool:p:::\nrole:r:VM.Audit,Datastore.Audit,Pool.Audit:\n\
                    acl:0:/pool/p:a@pve:r:\n";
        assert_eq!(of(text, "vms"), ["VM.Audit"]);
        assert_eq!(of(text, "storage"), ["Datastore.Audit"]);
    }

    #[test]
    fn the_root_counts_for_the_datacenter() {
        assert_eq!(top_level("/"), "dc");
        assert_eq!(top_level("/vms-x/1"), "vms");
        assert_eq!(top_level("/-"), "dc");
    }
}
