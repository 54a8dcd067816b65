//! What the file says, as plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use secrets::SecretString;

use super::AclPath;

/// The names a release knows besides those in the file.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// Whether a `role:` line may name the privilege; others are skipped.
    pub is_privilege: fn(&str) -> bool,
    /// Whether the role exists without a line; such roles are never written.
    pub is_predefined_role: fn(&str) -> bool,
}

/// The content of `user.cfg`. Keys of the maps are the names as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserConfig {
    /// `name@realm` to user. Always holds `root@pam` after parsing.
    pub users: BTreeMap<String, User>,
    /// Group name to group.
    pub groups: BTreeMap<String, Group>,
    /// Pool path (`parent/child`, up to three levels) to pool.
    pub pools: BTreeMap<String, Pool>,
    /// Role name to privileges, from `role:` lines. An entry with the name of a predefined role
    /// widens that role; PVE does so in memory and drops the line on the next write.
    pub roles: BTreeMap<String, BTreeSet<String>>,
    /// Access control entries by path, in the order of the path tree.
    pub acl: BTreeMap<AclPath, Acl>,
}

/// One user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Whether the account may be used.
    pub enable: bool,
    /// End of the account in seconds since 1970; 0 = never.
    pub expire: u64,
    /// First name.
    pub firstname: Option<String>,
    /// Last name.
    pub lastname: Option<String>,
    /// E-mail address, stored without encoding.
    pub email: Option<String>,
    /// Comment.
    pub comment: Option<String>,
    /// Second-factor field of old installs, `x` when `priv/tfa.cfg` has the factors.
    pub keys: Option<Keys>,
    /// API tokens by the part after `!`.
    pub tokens: BTreeMap<String, Token>,
}

/// The `keys` field of a user: OATH secrets or Yubico identities of old installs.
#[derive(Clone, Debug)]
pub struct Keys(pub SecretString);

/// One API token, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// End of the token in seconds since 1970; 0 = never.
    pub expire: u64,
    /// Whether the token has only the rights given to itself (and to its user as well).
    pub privsep: bool,
    /// Comment.
    pub comment: Option<String>,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Members as `name@realm`, whether or not such a user exists.
    pub users: BTreeSet<String>,
    /// Comment.
    pub comment: Option<String>,
}

/// One resource pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Guests; a guest is in one pool at most.
    pub vms: BTreeSet<u64>,
    /// Storages.
    pub storage: BTreeSet<String>,
    /// Comment.
    pub comment: Option<String>,
}

/// Roles of one subject at one path, each with its propagate flag.
pub type Grants = BTreeMap<String, bool>;

/// The access control entries of one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    /// By `name@realm`.
    pub users: BTreeMap<String, Grants>,
    /// By group name, without `@`.
    pub groups: BTreeMap<String, Grants>,
    /// By `name@realm!token`.
    pub tokens: BTreeMap<String, Grants>,
}

impl UserConfig {
    /// The token with the full name `name@realm!token`, if its user and itself exist.
    pub fn token(&self, id: &str) -> Option<&Token> {
        let (user, name) = id.rsplit_once('!')?;
        self.users.get(user)?.tokens.get(name)
    }

    /// Names of the groups that list the user.
    pub fn groups_of<'c>(&'c self, user: &'c str) -> impl Iterator<Item = &'c str> {
        let listed = move |(_, group): &(&String, &Group)| group.users.contains(user);
        self.groups.iter().filter(listed).map(|(name, _)| name.as_str())
    }

    /// Names of the pools one level below the pool.
    pub fn subpools<'c>(&'c self, pool: &'c str) -> impl Iterator<Item = &'c str> {
        let child = move |name: &&String| name.rsplit_once('/').is_some_and(|(up, _)| up == pool);
        self.pools.keys().filter(child).map(String::as_str)
    }

    /// The pool that holds the guest.
    pub fn pool_of(&self, vmid: u64) -> Option<&str> {
        let holds = |(_, pool): &(&String, &Pool)| pool.vms.contains(&vmid);
        self.pools.iter().find(holds).map(|(name, _)| name.as_str())
    }
}

impl Acl {
    /// Whether no entry is left, so that the path can go.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.tokens.is_empty()
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_as(other.0.expose())
    }
}

impl Eq for Keys {}

impl fmt::Display for AclPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
