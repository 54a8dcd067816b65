//! Why a subject may do what it may do: each entry of the list with what became of it.

use std::collections::HashMap;

use pve_formats::user_cfg::{Acl, AclPath, GrantLines, Grants};

use super::Access;
use crate::roles::NO_ACCESS_ROLE;
use crate::{Permissions, Subject};

/// An answer of [`Access::permissions`] with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whose rights.
    pub subject: Subject,
    /// Where.
    pub path: String,
    /// Which rule of the three decides.
    pub basis: Basis,
    /// What the list gives the subject on the way from `/` to the path, then through each pool
    /// that holds the path, in the order in which PVE looks.
    pub entries: Vec<Entry>,
    /// The same for a token's owner, where the owner's rights count.
    pub owner: Option<Box<Self>>,
    /// The result.
    pub permissions: Permissions,
}

/// What the rights follow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// `root@pam` has every right without an entry.
    Root,
    /// The entries of the list.
    Entries,
    /// A token without privilege separation: its owner's rights.
    Owner,
    /// A token with privilege separation: what its own entries and its owner both have.
    EntriesAndOwner,
    /// A token that does not exist has none.
    NoToken,
}

/// One role that the list gives to the subject or one of its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path of the entry.
    pub at: String,
    /// Line of the file, counted from 1, when lines were given.
    pub line: Option<usize>,
    /// `name@realm`, `name@realm!token` or `@group`.
    pub given_to: String,
    /// The role.
    pub role: String,
    /// Whether it is in force below its path too.
    pub propagate: bool,
    /// The pool through which it reaches the path, if through one.
    pub pool: Option<String>,
    /// What became of it.
    pub standing: Standing,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gives its role's privileges.
    InForce,
    /// It ends at its own path, which is not the one asked for.
    NotPropagated,
    /// A group's entry beside one of the subject itself at the same path.
    Outranked,
    /// Entries at this path, nearer to the one asked for, replace it.
    Replaced(String),
    /// `NoAccess`, given at this path, removes it.
    NoAccess(String),
}

impl Access {
    /// [`Access::permissions`] with its reasons; `lines` adds line numbers, from
    /// [`UserConfig::parse_located`](crate::UserConfig::parse_located) of the same text.
    pub fn explain(
        &self,
        subject: &Subject,
        path: &str,
        lines: Option<&GrantLines>,
    ) -> Explanation {
        let owner = |access: &Self| -> Option<Box<Explanation>> {
            let owner: Subject = subject.user().parse().ok()?;
            Some(Box::new(access.explain(&owner, path, lines)))
        };
        let token = subject.token().map(|_| self.config.token(subject.as_str()));
        let (basis, owner) = match token {
            None if subject.is_root() => (Basis::Root, None),
            None => (Basis::Entries, None),
            Some(None) => (Basis::NoToken, None),
            Some(Some(token)) if token.privsep => (Basis::EntriesAndOwner, owner(self)),
            Some(Some(_)) => (Basis::Owner, owner(self)),
        };
        let entries = match basis {
            Basis::Entries | Basis::EntriesAndOwner => {
                Walk::new(self, lines).entries(subject.as_str(), path)
            }
            Basis::Root | Basis::Owner | Basis::NoToken => Vec::new(),
        };
        let permissions = match (basis, &owner) {
            (Basis::Owner, Some(owner)) => owner.permissions,
            (Basis::EntriesAndOwner, Some(owner)) => {
                self.sum(&entries).intersection(owner.permissions)
            }
            (Basis::Root, _) => self.permissions(subject, path),
            _ => self.sum(&entries),
        };
        let (subject, path) = (subject.clone(), path.to_owned());
        Explanation { subject, path, basis, entries, owner, permissions }
    }

    fn sum(&self, entries: &[Entry]) -> Permissions {
        let mut sum = Permissions::default();
        for entry in entries.iter().filter(|entry| entry.standing == Standing::InForce) {
            let privileges = self.role(&entry.role).unwrap_or_default();
            sum.add(privileges, entry.propagate && entry.pool.is_none());
        }
        sum
    }
}

/// The list by path, as text.
struct Walk<'a> {
    access: &'a Access,
    acl: HashMap<&'a str, (&'a AclPath, &'a Acl)>,
    lines: Option<&'a GrantLines>,
}

impl<'a> Walk<'a> {
    fn new(access: &'a Access, lines: Option<&'a GrantLines>) -> Self {
        let acl = access.config.acl.iter().map(|(path, acl)| (path.as_str(), (path, acl)));
        Self { access, acl: acl.collect(), lines }
    }

    /// The list's entries and those through pools, with `NoAccess` of either side applied.
    fn entries(&self, name: &str, path: &str) -> Vec<Entry> {
        let mut entries = self.along(name, path, None);
        let listed = entries.len();
        let no_access = entries.iter().find(|entry| entry.denies()).map(|entry| entry.at.clone());
        for (pool, content) in &self.access.config.pools {
            let guest = |vmid: &u64| path == format!("/vms/{vmid}");
            let storage = |name: &String| path.strip_prefix("/storage/") == Some(name);
            if content.vms.iter().any(guest) || content.storage.iter().any(storage) {
                entries.extend(self.along(name, &format!("/pool/{pool}"), Some(pool)));
            }
        }
        if let Some(at) = no_access {
            silence(entries.iter_mut().skip(listed), &at);
        } else if let Some(denying) = entries.iter().find(|entry| entry.denies()) {
            let at = denying.at.clone();
            silence(entries.iter_mut(), &at);
        }
        entries
    }

    /// The entries on the way to `path`.
    fn along(&self, name: &str, path: &str, pool: Option<&str>) -> Vec<Entry> {
        let mut found: Vec<Entry> = Vec::new();
        let nodes = nodes(path);
        let last = nodes.len().saturating_sub(1);
        for (depth, at) in nodes.iter().enumerate() {
            let Some((acl_path, acl)) = self.acl.get(at.as_str()) else {
                continue;
            };
            let before = found.len();
            let own = acl.users.get(name).or_else(|| acl.tokens.get(name));
            let mut own_applies = false;
            for (given_to, grants, is_own) in self.given(name, own, acl) {
                for (role, propagate) in grants {
                    let applies = *propagate || depth == last;
                    own_applies |= is_own && applies;
                    let line = self.lines.and_then(|l| l.line(acl_path, &given_to, role));
                    let standing = match applies {
                        false => Standing::NotPropagated,
                        true if own_applies && !is_own => Standing::Outranked,
                        true => Standing::InForce,
                    };
                    found.push(Entry {
                        at: at.clone(),
                        line,
                        given_to: given_to.clone(),
                        role: role.clone(),
                        propagate: *propagate,
                        pool: pool.map(str::to_owned),
                        standing,
                    });
                }
            }
            let (earlier, here) = found.split_at_mut(before);
            if here.iter().any(|entry| entry.standing == Standing::InForce) {
                for entry in earlier.iter_mut().filter(|e| e.standing == Standing::InForce) {
                    entry.standing = Standing::Replaced(at.clone());
                }
            }
        }
        if let Some(at) = found.iter().find(|entry| entry.denies()).map(|entry| entry.at.clone()) {
            silence(found.iter_mut(), &at);
        }
        found
    }

    /// What a path gives: to the subject itself first, then to its groups.
    fn given(
        &self,
        name: &str,
        own: Option<&'a Grants>,
        acl: &'a Acl,
    ) -> Vec<(String, &'a Grants, bool)> {
        let own = own.map(|grants| (name.to_owned(), grants, true));
        let groups = acl.groups.iter().filter(|(group, _)| {
            let group = self.access.config.groups.get(*group);
            group.is_some_and(|group| group.users.contains(name))
        });
        let groups = groups.map(|(group, grants)| (format!("@{group}"), grants, false));
        own.into_iter().chain(groups).collect()
    }
}

impl Entry {
    fn denies(&self) -> bool {
        self.standing == Standing::InForce && self.role == NO_ACCESS_ROLE
    }
}

/// Takes all that is in force away but `NoAccess` itself.
fn silence<'e>(entries: impl Iterator<Item = &'e mut Entry>, at: &str) {
    for entry in entries {
        if entry.standing == Standing::InForce && entry.role != NO_ACCESS_ROLE {
            entry.standing = Standing::NoAccess(at.to_owned());
        }
    }
}

/// The paths from the root to `path`, as the tree is walked: without a leading slash the root is
/// left out, and `//` is no path at all.
fn nodes(path: &str) -> Vec<String> {
    let mut nodes = Vec::new();
    let mut here = String::new();
    let parts = path.split('/').filter(|part| !part.is_empty());
    for part in parts {
        here = format!("{here}/{part}");
        nodes.push(here.clone());
    }
    if path == "/" || (path.starts_with('/') && !nodes.is_empty()) {
        nodes.insert(0, "/".to_owned());
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Release, UserConfig, roles};
    use proptest::prelude::*;

    const TEXT: &str = "user:a@pve:1:\ntoken:a@pve!sep::1:\ntoken:a@pve!full::0:\ngroup:g:a@pve:\n\
        role:look:VM.Audit:\nrole:use:VM.Console:\npool:p::7:local:\n";

    fn explained(more: &str, who: &str, path: &str) -> Explanation {
        let text = format!("{TEXT}{more}");
        let vocabulary = roles::vocabulary(Release::V9);
        let (parsed, lines) = UserConfig::parse_located(&text, &vocabulary).unwrap();
        let access = Access::new(Release::V9, parsed.config);
        access.explain(&who.parse().unwrap(), path, Some(&lines))
    }

    fn standings(explanation: &Explanation) -> Vec<(Option<usize>, &str, &Standing)> {
        let entries = explanation.entries.iter();
        entries.map(|entry| (entry.line, entry.role.as_str(), &entry.standing)).collect()
    }

    #[test]
    fn each_entry_says_what_became_of_it() {
        let acl = "acl:0:/:a@pve:use:\nacl:1:/:@g:look:\nacl:1:/vms:a@pve:use:\n\
                   acl:1:/vms:@g:look:\n";
        let explanation = explained(acl, "a@pve", "/vms/8");
        let replaced = Standing::Replaced("/vms".to_owned());
        assert_eq!(
            standings(&explanation),
            [
                (Some(8), "use", &Standing::NotPropagated),
                (Some(9), "look", &replaced),
                (Some(10), "use", &Standing::InForce),
                (Some(11), "look", &Standing::Outranked),
            ]
        );
    }

    #[test]
    fn no_access_says_what_it_removed() {
        let acl = "acl:1:/vms:a@pve:use:\nacl:1:/pool/p:@g:NoAccess,look:\n";
        let explanation = explained(acl, "a@pve", "/vms/7");
        let gone = Standing::NoAccess("/pool/p".to_owned());
        assert_eq!(
            standings(&explanation),
            [
                (Some(8), "use", &gone),
                (Some(9), "NoAccess", &Standing::InForce),
                (Some(9), "look", &gone),
            ]
        );
        assert_eq!(explanation.entries[1].pool.as_deref(), Some("p"));
    }

    #[test]
    fn tokens_name_their_owner() {
        let acl = "acl:1:/:a@pve:look:\nacl:1:/:a@pve!sep:look,use:\n";
        let basis = |who| {
            let explanation = explained(acl, who, "/");
            (explanation.basis, explanation.owner.is_some(), explanation.permissions.held)
        };
        let look = crate::Privileges::parse(["VM.Audit"]).unwrap();
        assert_eq!(basis("a@pve!full"), (Basis::Owner, true, look));
        assert_eq!(basis("a@pve!sep"), (Basis::EntriesAndOwner, true, look));
        assert_eq!(basis("a@pve!no"), (Basis::NoToken, false, Default::default()));
        assert_eq!(basis("root@pam").0, Basis::Root);
    }

    proptest! {
        /// Two ways to the same answer: the index answers the requests, this explains.
        #[test]
        fn the_reasons_give_the_answer(
            lines in prop::collection::vec(
                "acl:[01]:/(vms|vms/7|pool|pool/p|storage/local|):\
                 (a@pve|@g|@h|a@pve!sep):(look|use|NoAccess|PVEAuditor|look,use):\n", 0..12),
            who in "(a@pve|a@pve!sep|a@pve!full|b@pve|root@pam|root@pam!xx)",
            path in "(/|//|/vms|/vms/7|vms/7|/storage/local|/vms/7/|/pool/p/q|)",
        ) {
            let text = format!("{TEXT}group:h:a@pve,b@pve:\n{}", lines.concat());
            let (access, _) = Access::parse(Release::V9, &text).unwrap();
            let subject: Subject = who.parse().unwrap();
            let explanation = access.explain(&subject, &path, None);
            let expected = access.permissions(&subject, &path);
            prop_assert_eq!(explanation.permissions, expected, "{}", text);
        }
    }
}
