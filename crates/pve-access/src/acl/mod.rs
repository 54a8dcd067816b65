//! Who may do what: evaluation of the access control list.
//!
//! The rules are those of `PVE::AccessControl::roles` and `PVE::RPCEnvironment::permissions`
//! (hardening reference 2.2):
//!
//! 1. Walking from `/` to the path, the entries of a node apply when they propagate or the node
//!    is the path itself. The first of token, user and groups that has an applicable entry
//!    replaces what was collected above; `NoAccess` replaces everything else.
//! 2. A guest or storage in a pool has, besides, the roles of `/pool/NAME`, without propagation.
//!    `NoAccess` of either side wins.
//! 3. A token without privilege separation has its user's rights, one with it those that both
//!    have. `root@pam` has every right; a token of it with privilege separation only its own.

mod account;
mod capabilities;
mod explain;
mod index;

use std::collections::BTreeMap;

use pve_formats::user_cfg::{TooLarge, UserConfig, Warning, WriteError};

pub use account::AccountError;
pub use capabilities::Capabilities;
pub use explain::{Basis, Entry, Explanation, Standing};

use crate::roles::{self, ADMINISTRATOR_ROLE};
use crate::{Permissions, Privileges, Release, Subject};
use index::{Grant, Index, Who};

/// Paths that every list of effective permissions covers.
const TOP_LEVEL: [&str; 8] =
    ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];

/// A `user.cfg`, indexed for questions about rights.
///
/// A question takes a walk down the path and no lock, so one value serves any number of
/// threads; a change goes through [`Access::edit`].
#[derive(Clone, Debug)]
pub struct Access {
    release: Release,
    config: UserConfig,
    index: Index,
}

/// What one subject may do, path by path.
pub struct Rights<'a> {
    access: &'a Access,
    owner: Holder<'a>,
    /// A token with privilege separation.
    separated: Option<Who<'a>>,
}

/// Whose rights count.
enum Holder<'a> {
    /// A token that does not exist.
    Nobody,
    /// `root@pam`.
    Everything(Permissions),
    Listed(Who<'a>),
}

impl Access {
    /// Indexes a configuration under the predefined roles of the release.
    pub fn new(release: Release, config: UserConfig) -> Self {
        let index = Index::new(release, &config);
        Self { release, config, index }
    }

    /// Parses the text of a `user.cfg` of the release and indexes it, with what was skipped.
    pub fn parse(release: Release, text: &str) -> Result<(Self, Vec<Warning>), TooLarge> {
        let parsed = UserConfig::parse(text, &roles::vocabulary(release))?;
        Ok((Self::new(release, parsed.config), parsed.warnings))
    }

    /// The text of the file, as PVE writes it.
    pub fn write(&self) -> Result<String, WriteError> {
        self.config.write(&roles::vocabulary(self.release))
    }

    /// Which PVE's rules apply.
    pub fn release(&self) -> Release {
        self.release
    }

    /// What the file says.
    pub fn config(&self) -> &UserConfig {
        &self.config
    }

    /// Changes the configuration and indexes it anew.
    pub fn edit<T>(&mut self, change: impl FnOnce(&mut UserConfig) -> T) -> T {
        let value = change(&mut self.config);
        self.index = Index::new(self.release, &self.config);
        value
    }

    /// The privileges of a role: predefined, from the file, or both. `None` without such a role.
    pub fn role(&self, name: &str) -> Option<Privileges> {
        self.index.role(name)
    }

    /// All roles with their privileges, sorted by name.
    pub fn all_roles(&self) -> BTreeMap<&str, Privileges> {
        self.index.roles().collect()
    }

    /// Roles in force for the subject at the path, with their propagate flags, pools left out.
    ///
    /// For display; privilege separation is not applied, so rights follow from
    /// [`Access::permissions`] only.
    pub fn roles(&self, subject: &Subject, path: &str) -> BTreeMap<&str, bool> {
        let Some(owner) = self.roles_owner(subject) else {
            return BTreeMap::new();
        };
        if owner == "root@pam" {
            return BTreeMap::from([(ADMINISTRATOR_ROLE, true)]);
        }
        let grants = self.index.grants(&self.index.who(owner), path);
        grants.iter().map(|grant| (self.index.role_name(*grant), grant.propagate)).collect()
    }

    /// What the subject may do at the path.
    ///
    /// The path is one of [`normalize_path`](crate::user_cfg::normalize_path). Others are walked
    /// as PVE walks them: without a leading slash the entries of `/` do not count, and a blank
    /// one gives nothing, except to `root@pam`. Whether the account is enabled is a different
    /// question, see [`Access::check_account`].
    pub fn permissions(&self, subject: &Subject, path: &str) -> Permissions {
        self.rights(subject).at(path)
    }

    /// [`Access::permissions`] for many paths: what does not depend on the path is looked up once.
    pub fn rights<'a>(&'a self, subject: &'a Subject) -> Rights<'a> {
        let user = self.user(subject.user());
        let (owner, separated) = match subject.token() {
            None => (user, None),
            Some(_) => match self.config.token(subject.as_str()) {
                None => (Holder::Nobody, None),
                Some(token) if !token.privsep => (user, None),
                Some(_) => (user, Some(self.index.who(subject.as_str()))),
            },
        };
        Rights { access: self, owner, separated }
    }

    /// Whether the subject has all of the privileges at the path, or any of them.
    pub fn check(&self, subject: &Subject, path: &str, wanted: Privileges, any: bool) -> bool {
        let held = self.permissions(subject, path).held;
        if any { held.contains_any(wanted) } else { held.contains_all(wanted) }
    }

    /// What the subject may do, at every path where it may do something: the top level, all
    /// paths of the list and their parents, and members of pools (`GET /access/permissions`).
    pub fn effective(&self, subject: &Subject) -> BTreeMap<String, Permissions> {
        let pools = self.config.pools.values();
        let members = pools.flat_map(|pool| {
            let vms = pool.vms.iter().map(|vmid| format!("/vms/{vmid}"));
            vms.chain(pool.storage.iter().map(|storage| format!("/storage/{storage}")))
        });
        let top_level = TOP_LEVEL.into_iter().map(str::to_owned);
        let listed = self.index.paths().map(str::to_owned);
        let mut effective = BTreeMap::new();
        for path in top_level.chain(listed).chain(members) {
            let permissions = self.permissions(subject, &path);
            if !permissions.held.is_empty() {
                effective.insert(path, permissions);
            }
        }
        effective
    }

    fn user<'a>(&self, user: &'a str) -> Holder<'a> {
        if user == "root@pam" {
            let all = self.index.role(ADMINISTRATOR_ROLE).unwrap_or_default();
            return Holder::Everything(Permissions::all(all));
        }
        Holder::Listed(self.index.who(user))
    }

    /// Rights from the list and the pools, for a user or a token with privilege separation.
    fn listed(&self, who: &Who<'_>, path: &str) -> Permissions {
        let mut grants = self.index.grants(who, path);
        if !grants.iter().any(|grant| self.index.is_no_access(*grant)) {
            let pooled = self.index.pool_grants(who, path);
            match pooled.iter().find(|grant| self.index.is_no_access(**grant)) {
                Some(no_access) => grants = vec![*no_access],
                None => add_missing(&mut grants, pooled),
            }
        }
        let mut permissions = Permissions::default();
        for grant in grants {
            permissions.add(self.index.privileges(grant), grant.propagate);
        }
        permissions
    }

    /// Whose entries decide the subject's roles; `None` for a token that does not exist.
    fn roles_owner<'s>(&self, subject: &'s Subject) -> Option<&'s str> {
        if subject.token().is_none() {
            return Some(subject.user());
        }
        let token = self.config.token(subject.as_str())?;
        Some(if token.privsep { subject.as_str() } else { subject.user() })
    }
}

impl Rights<'_> {
    /// What the subject may do at every path alike; `None` when it depends on the path.
    pub fn everywhere(&self) -> Option<Permissions> {
        match (&self.owner, &self.separated) {
            (Holder::Everything(all), None) => Some(*all),
            _ => None,
        }
    }

    /// What the subject may do at the path, see [`Access::permissions`].
    pub fn at(&self, path: &str) -> Permissions {
        let owned = match &self.owner {
            Holder::Nobody => Permissions::default(),
            Holder::Everything(all) => *all,
            Holder::Listed(who) => self.access.listed(who, path),
        };
        match &self.separated {
            None => owned,
            // For a token of root@pam this leaves its own rights, as the owner has everything.
            Some(who) => self.access.listed(who, path).intersection(owned),
        }
    }
}

/// Adds roles that the list did not give already.
fn add_missing(grants: &mut Vec<Grant>, more: Vec<Grant>) {
    for grant in more {
        if !grants.iter().any(|have| have.role == grant.role) {
            grants.push(grant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> Access {
        Access::parse(Release::V9, text).unwrap().0
    }

    fn subject(text: &str) -> Subject {
        text.parse().unwrap()
    }

    fn names(access: &Access, who: &str, path: &str) -> Vec<&'static str> {
        access.permissions(&subject(who), path).held.iter().map(crate::Privilege::name).collect()
    }

    const USERS: &str = "user:a@pve:1:\ntoken:a@pve!sep::1:\ntoken:a@pve!full::0:\n\
        token:root@pam!sep::1:\ntoken:root@pam!full::0:\ngroup:g:a@pve:\n\
        role:look:VM.Audit:\nrole:use:VM.Console:\n";

    #[test]
    fn root_has_everything_but_its_separated_tokens_do_not() {
        let access = access(&format!("{USERS}acl:1:/vms:root@pam!sep:look:\n"));
        assert_eq!(names(&access, "root@pam", "not a path").len(), 47);
        assert_eq!(names(&access, "root@pam!full", "/").len(), 47);
        assert_eq!(names(&access, "root@pam!sep", "/vms/1"), ["VM.Audit"]);
        assert!(names(&access, "root@pam!sep", "/").is_empty());
        assert!(names(&access, "root@pam!gone", "/").is_empty());
        assert_eq!(access.roles(&Subject::root(), "/"), [("Administrator", true)].into());
    }

    #[test]
    fn rights_that_hold_everywhere_hold_at_each_path() {
        let access = access(&format!("{USERS}acl:1:/:a@pve,a@pve!sep:look:\n"));
        for who in ["root@pam", "root@pam!full", "root@pam!sep", "root@pam!gone", "a@pve"] {
            let who = subject(who);
            let rights = access.rights(&who);
            let everywhere = rights.everywhere();
            assert_eq!(everywhere.is_some(), ["root@pam", "root@pam!full"].contains(&who.as_str()));
            for path in ["/", "/vms/1", "/nodes/a"] {
                assert_eq!(rights.at(path), access.permissions(&who, path));
                assert!(everywhere.is_none_or(|all| all == rights.at(path)));
            }
        }
    }

    #[test]
    fn a_separated_token_has_what_both_have() {
        let acl = "acl:1:/:a@pve!sep:look,use:\nacl:1:/vms:a@pve:look:\n";
        let access = access(&format!("{USERS}{acl}"));
        assert_eq!(names(&access, "a@pve!sep", "/vms"), ["VM.Audit"]);
        assert!(names(&access, "a@pve!sep", "/").is_empty());
        assert_eq!(names(&access, "a@pve!full", "/vms"), ["VM.Audit"]);
    }

    #[test]
    fn user_entries_beat_group_entries_of_the_same_path_only() {
        let acl = "acl:1:/vms:@g:look:\nacl:1:/vms:a@pve:use:\nacl:1:/vms/1:@g:look:\n";
        let access = access(&format!("{USERS}{acl}"));
        assert_eq!(names(&access, "a@pve", "/vms"), ["VM.Console"]);
        assert_eq!(names(&access, "a@pve", "/vms/1"), ["VM.Audit"]);
    }

    #[test]
    fn an_entry_without_propagation_ends_at_its_path() {
        let access = access(&format!("{USERS}acl:1:/:a@pve:look:\nacl:0:/vms:a@pve:use:\n"));
        assert_eq!(names(&access, "a@pve", "/vms"), ["VM.Console"]);
        assert_eq!(names(&access, "a@pve", "/vms/1"), ["VM.Audit"]);
        let at = access.permissions(&subject("a@pve"), "/vms");
        assert!(at.propagated.is_empty());
    }

    #[test]
    fn no_access_of_pool_and_list_both_win() {
        let pool = "pool:p::1,2:local:\nacl:1:/pool/p:a@pve:look:\n";
        let access_of = |more: &str| access(&format!("{USERS}{pool}{more}"));
        let open = access_of("acl:1:/vms:a@pve:use:\n");
        assert_eq!(names(&open, "a@pve", "/vms/1"), ["VM.Audit", "VM.Console"]);
        assert_eq!(names(&open, "a@pve", "/storage/local"), ["VM.Audit"]);
        assert!(open.permissions(&subject("a@pve"), "/storage/local").propagated.is_empty());
        let listed = access_of("acl:1:/vms/1:a@pve:NoAccess:\n");
        assert!(names(&listed, "a@pve", "/vms/1").is_empty());
        let pooled = access_of("acl:1:/vms:a@pve:use:\nacl:1:/pool/p:a@pve:NoAccess:\n");
        assert!(names(&pooled, "a@pve", "/vms/2").is_empty());
        assert_eq!(names(&pooled, "a@pve", "/vms/3"), ["VM.Console"]);
    }

    #[test]
    fn a_line_with_a_predefined_name_widens_that_role() {
        let text = "user:a@pve:1:\nrole:PVEAuditor:Sys.Modify:\nacl:1:/:a@pve:PVEAuditor:\n";
        let access = access(text);
        assert!(names(&access, "a@pve", "/").contains(&"Sys.Modify"));
        assert!(!access.write().unwrap().contains("Sys.Modify"));
        assert_eq!(access.role("PVEAuditor").map(|role| role.iter().count()), Some(8));
    }

    #[test]
    fn odd_paths_give_nothing() {
        let access = access(&format!("{USERS}acl:1:/:a@pve:look:\nacl:1:/vms/0:a@pve:use:\n"));
        for path in ["", "//", "vmsx", "nodes/a"] {
            assert!(names(&access, "a@pve", path).is_empty(), "{path}");
        }
        assert_eq!(names(&access, "a@pve", "vms//1"), ["VM.Console"]);
        assert_eq!(names(&access, "a@pve", "/nodes/"), ["VM.Audit"]);
        // The entry for /vms/0 is one for /vms, see AclPath.
        assert_eq!(names(&access, "a@pve", "/vms/100"), ["VM.Console"]);
    }

    #[test]
    fn an_edit_is_in_force_at_once() {
        let mut access = access(USERS);
        let root = crate::user_cfg::AclPath::new("/").unwrap();
        let acl = access.edit(|config| config.acl.entry(root.clone()).or_default().clone());
        assert!(acl.is_empty());
        access.edit(|config| {
            let grants = config.acl.entry(root).or_default().users.entry("a@pve".to_owned());
            grants.or_default().insert("look".to_owned(), true);
        });
        let wanted = Privileges::parse(["VM.Audit", "VM.Console"]).unwrap();
        assert!(access.check(&subject("a@pve"), "/vms", wanted, true));
        assert!(!access.check(&subject("a@pve"), "/vms", wanted, false));
    }

    #[test]
    fn effective_permissions_list_where_something_is_allowed() {
        let acl = "pool:p::7::\nacl:1:/pool/p:a@pve:look:\nacl:0:/sdn/zones/z:a@pve:use:\n";
        let access = access(&format!("{USERS}{acl}"));
        let paths: Vec<_> = access.effective(&subject("a@pve")).into_keys().collect();
        assert_eq!(paths, ["/pool/p", "/sdn/zones/z", "/vms/7"]);
        assert!(access.effective(&subject("a@pve!sep")).is_empty());
    }
}
