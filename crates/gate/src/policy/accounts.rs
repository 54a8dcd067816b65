//! Who is in which group and has which role: from `user.cfg`, read when the policy asks for
//! groups or roles, and again when it changes. Proxmox VE judges rights; this only says whom a
//! rule is about.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use pve_access::user_cfg::UserConfig;
use pve_access::{Release, roles};

use super::rule::Who;
use crate::limits::USER_CFG_BYTES;

/// The role that `root@pam` has without an entry.
const ADMINISTRATOR: &str = "Administrator";

/// Groups and roles by who has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// Group to members.
    groups: BTreeMap<String, BTreeSet<String>>,
    /// Role to users and tokens that have it at any path, by themselves or by a group. `NoAccess`
    /// elsewhere takes nobody out: what is asked of a role is then asked of too many.
    roles: BTreeMap<String, BTreeSet<String>>,
}

/// The file can not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountsError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("more than {USER_CFG_BYTES} bytes")]
    TooLarge,
    #[error("{0}")]
    Content(String),
}

impl Accounts {
    pub(crate) fn read(path: &Path) -> Result<Self, AccountsError> {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        let read = file.take(USER_CFG_BYTES + 1).read_to_string(&mut text)?;
        if read as u64 > USER_CFG_BYTES {
            return Err(AccountsError::TooLarge);
        }
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, AccountsError> {
        // The names of privileges do not matter here; those of predefined roles are in both.
        let parsed = UserConfig::parse(text, &roles::vocabulary(Release::V9));
        let config = parsed.map_err(|error| AccountsError::Content(error.to_string()))?.config;
        let mut accounts = Self::default();
        for (name, group) in &config.groups {
            accounts.groups.insert(name.clone(), group.users.clone());
        }
        accounts.give(ADMINISTRATOR, "root@pam");
        for acl in config.acl.values() {
            for (holder, grants) in acl.users.iter().chain(&acl.tokens) {
                for role in grants.keys() {
                    accounts.give(role, holder);
                }
            }
            for (group, grants) in &acl.groups {
                let members = config.groups.get(group).map(|group| &group.users);
                for role in grants.keys() {
                    for member in members.into_iter().flatten() {
                        accounts.give(role, member);
                    }
                }
            }
        }
        Ok(accounts)
    }

    /// Adds somebody to a group, for a question of the kind "what if".
    pub(crate) fn join(&mut self, user: &str, group: &str) {
        self.groups.entry(group.to_owned()).or_default().insert(user.to_owned());
    }

    pub(super) fn is_member(&self, user: &str, group: &str) -> bool {
        self.groups.get(group).is_some_and(|members| members.contains(user))
    }

    /// Of a token, the roles of its owner count too.
    pub(super) fn holds_role(&self, who: &Who<'_>, role: &str) -> bool {
        let holders = self.roles.get(role);
        let holds = |name: &str| holders.is_some_and(|holders| holders.contains(name));
        holds(who.user) || who.token.is_some_and(holds)
    }

    fn give(&mut self, role: &str, holder: &str) {
        self.roles.entry(role.to_owned()).or_default().insert(holder.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_roles() {
        let text = "user:a@pve:1:0:::::\nuser:b@pve:1:0:::::\ntoken:b@pve!ci:0:1::\n\
            group:ops:a@pve::\nacl:1:/vms:@ops:PVEVMAdmin:\nacl:1:/:b@pve!ci:PVEAuditor:\n";
        let accounts = Accounts::parse(text).unwrap();
        let who = |user, token| Who { user, token };
        assert!(accounts.is_member("a@pve", "ops") && !accounts.is_member("b@pve", "ops"));
        assert!(accounts.holds_role(&who("a@pve", None), "PVEVMAdmin"));
        assert!(accounts.holds_role(&who("a@pve", Some("a@pve!x")), "PVEVMAdmin"));
        assert!(accounts.holds_role(&who("b@pve", Some("b@pve!ci")), "PVEAuditor"));
        assert!(!accounts.holds_role(&who("b@pve", None), "PVEAuditor"));
        assert!(accounts.holds_role(&who("root@pam", None), "Administrator"));
        assert!(matches!(Accounts::read(Path::new("/nonexistent")), Err(AccountsError::Io(_))));
    }
}
