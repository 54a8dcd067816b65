//! Users, groups, pools, roles and access rules as records: what differs between two
//! configurations.
//!
//! `user.cfg` itself would be the natural form, but it drops on writing what PVE drops, and each
//! record would hold all accounts.

use std::collections::{BTreeMap, BTreeSet};

use pve_access::user_cfg::{Acl, AclPath, Grants, Group, Keys, Pool, Token, User, UserConfig};
use serde::{Deserialize, Serialize};

use crate::state::KeptText;

/// One entry of the configuration, by its name; `None` where it is gone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccountRecord {
    User(String, Option<UserFacts>),
    /// Members and comment.
    Group(String, Option<(BTreeSet<String>, Option<String>)>),
    /// Guests, storages and comment.
    Pool(String, Option<(BTreeSet<u64>, BTreeSet<String>, Option<String>)>),
    /// Privileges.
    Role(String, Option<BTreeSet<String>>),
    /// Grants of users, groups and tokens at a path.
    Acl(String, Option<(Granted, Granted, Granted)>),
}

type Granted = BTreeMap<String, Grants>;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UserFacts {
    enable: bool,
    expire: u64,
    firstname: Option<String>,
    lastname: Option<String>,
    email: Option<String>,
    comment: Option<String>,
    keys: Option<KeptText>,
    /// Expiry, privilege separation and comment.
    tokens: BTreeMap<String, (u64, bool, Option<String>)>,
}

/// Hands out what makes `after` of `before`.
pub(super) fn changed(
    before: &UserConfig,
    after: &UserConfig,
    sink: &mut dyn FnMut(AccountRecord) -> std::io::Result<()>,
) -> std::io::Result<()> {
    for (id, user) in differing(&before.users, &after.users) {
        sink(AccountRecord::User(id.clone(), user.map(UserFacts::of)))?;
    }
    for (name, group) in differing(&before.groups, &after.groups) {
        let facts = group.map(|group| (group.users.clone(), group.comment.clone()));
        sink(AccountRecord::Group(name.clone(), facts))?;
    }
    for (name, pool) in differing(&before.pools, &after.pools) {
        let facts = pool.map(|one| (one.vms.clone(), one.storage.clone(), one.comment.clone()));
        sink(AccountRecord::Pool(name.clone(), facts))?;
    }
    for (name, role) in differing(&before.roles, &after.roles) {
        sink(AccountRecord::Role(name.clone(), role.cloned()))?;
    }
    for (path, acl) in differing(&before.acl, &after.acl) {
        let facts = acl.map(|acl| (acl.users.clone(), acl.groups.clone(), acl.tokens.clone()));
        sink(AccountRecord::Acl(path.as_str().to_owned(), facts))?;
    }
    Ok(())
}

/// The entries that are not equal in both, with their value in `after`.
fn differing<'m, K: Ord, V: PartialEq>(
    before: &'m BTreeMap<K, V>,
    after: &'m BTreeMap<K, V>,
) -> impl Iterator<Item = (&'m K, Option<&'m V>)> {
    let gone = before.keys().filter(|key| !after.contains_key(key)).map(|key| (key, None));
    let new = after.iter().filter(|(key, value)| before.get(key) != Some(value));
    gone.chain(new.map(|(key, value)| (key, Some(value))))
}

impl AccountRecord {
    pub(super) fn apply(self, config: &mut UserConfig) {
        match self {
            Self::User(id, facts) => put(&mut config.users, id, facts.map(UserFacts::user)),
            Self::Group(name, facts) => {
                let group = facts.map(|(users, comment)| Group { users, comment });
                put(&mut config.groups, name, group);
            }
            Self::Pool(name, facts) => {
                let pool = facts.map(|(vms, storage, comment)| Pool { vms, storage, comment });
                put(&mut config.pools, name, pool);
            }
            Self::Role(name, privileges) => put(&mut config.roles, name, privileges),
            Self::Acl(path, facts) => {
                let acl = facts.map(|(users, groups, tokens)| Acl { users, groups, tokens });
                if let Some(path) = AclPath::new(&path) {
                    put(&mut config.acl, path, acl);
                }
            }
        }
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

impl UserFacts {
    fn of(user: &User) -> Self {
        let token = |token: &Token| (token.expire, token.privsep, token.comment.clone());
        Self {
            enable: user.enable,
            expire: user.expire,
            firstname: user.firstname.clone(),
            lastname: user.lastname.clone(),
            email: user.email.clone(),
            comment: user.comment.clone(),
            keys: user.keys.as_ref().map(|Keys(keys)| KeptText(keys.clone())),
            tokens: user.tokens.iter().map(|(name, one)| (name.clone(), token(one))).collect(),
        }
    }

    fn user(self) -> User {
        let token = |(expire, privsep, comment)| Token { expire, privsep, comment };
        User {
            enable: self.enable,
            expire: self.expire,
            firstname: self.firstname,
            lastname: self.lastname,
            email: self.email,
            comment: self.comment,
            keys: self.keys.map(|KeptText(keys)| Keys(keys)),
            tokens: self.tokens.into_iter().map(|(name, one)| (name, token(one))).collect(),
        }
    }
}
