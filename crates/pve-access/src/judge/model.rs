//! What PVE reads from a `user.cfg`, in the shape of its own data.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::user_cfg::{Acl, Grants, User, UserConfig};

/// Names as a Perl set.
type Set = BTreeMap<String, u8>;

/// The configuration with predefined roles left out.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    acl_root: Node,
    users: BTreeMap<String, UserModel>,
    roles: BTreeMap<String, Set>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<String, GroupModel>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pools: BTreeMap<String, PoolModel>,
    /// Pool by guest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vms: BTreeMap<String, String>,
}

/// A path of the access control list: role to propagate flag by subject.
#[derive(Debug, Default, Serialize)]
struct Node {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    users: BTreeMap<String, Set>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<String, Set>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tokens: BTreeMap<String, Set>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    children: BTreeMap<String, Self>,
}

#[derive(Debug, Serialize)]
struct UserModel {
    enable: u8,
    /// Both are there, if empty, for a user with a line.
    #[serde(flatten)]
    line: Option<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firstname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lastname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: Set,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tokens: BTreeMap<String, TokenModel>,
}

#[derive(Debug, Serialize)]
struct Line {
    expire: u64,
    email: Option<String>,
}

#[derive(Debug, Serialize)]
struct TokenModel {
    expire: u64,
    privsep: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Debug, Serialize)]
struct GroupModel {
    users: Set,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Debug, Serialize)]
struct PoolModel {
    vms: Set,
    storage: Set,
    pools: Set,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Model {
    /// `text` is what the configuration was parsed from.
    pub(super) fn new(config: &UserConfig, text: &str) -> Self {
        // Without a line of its own root@pam is enabled and nothing else.
        let has_line = |id: &str| id != "root@pam" || text.lines().any(is_root_line);
        let users = config.users.iter().map(|(id, data)| {
            let groups = set(config.groups_of(id));
            (id.clone(), UserModel::new(data, groups, has_line(id)))
        });
        let groups = config.groups.iter().map(|(name, group)| {
            let (users, comment) = (set(&group.users), group.comment.clone());
            (name.clone(), GroupModel { users, comment })
        });
        let pools = config.pools.iter().map(|(name, pool)| {
            let vms = set(pool.vms.iter().map(u64::to_string));
            let (storage, pools) = (set(&pool.storage), set(config.subpools(name)));
            (name.clone(), PoolModel { vms, storage, pools, comment: pool.comment.clone() })
        });
        let guests = config
            .pools
            .iter()
            .flat_map(|(name, pool)| pool.vms.iter().map(|vmid| (vmid.to_string(), name.clone())));
        let roles = config.roles.iter().map(|(name, held)| (name.clone(), set(held)));
        Self {
            acl_root: acl_tree(config),
            users: users.collect(),
            roles: roles.collect(),
            groups: groups.collect(),
            pools: pools.collect(),
            vms: guests.collect(),
        }
    }
}

impl UserModel {
    /// `keys`, the second factor of old installs, stays out: it is a secret.
    fn new(data: &User, groups: Set, has_line: bool) -> Self {
        let tokens = data.tokens.iter().map(|(name, token)| {
            let (privsep, comment) = (u8::from(token.privsep), token.comment.clone());
            (name.clone(), TokenModel { expire: token.expire, privsep, comment })
        });
        Self {
            enable: u8::from(data.enable),
            line: has_line.then(|| Line { expire: data.expire, email: data.email.clone() }),
            firstname: data.firstname.clone(),
            lastname: data.lastname.clone(),
            comment: data.comment.clone(),
            groups,
            tokens: tokens.collect(),
        }
    }
}

fn is_root_line(line: &str) -> bool {
    let mut fields = line.split(':').map(str::trim);
    fields.next() == Some("user") && fields.next() == Some("root@pam")
}

fn acl_tree(config: &UserConfig) -> Node {
    let by_name = |table: &BTreeMap<String, Grants>| {
        let flags = |grants: &Grants| {
            grants.iter().map(|(role, propagate)| (role.clone(), u8::from(*propagate))).collect()
        };
        table.iter().map(|(name, grants)| (name.clone(), flags(grants))).collect()
    };
    let mut root = Node::default();
    for (path, Acl { users, groups, tokens }) in &config.acl {
        let mut node = &mut root;
        for part in path.components() {
            node = node.children.entry(part.to_owned()).or_default();
        }
        (node.users, node.groups, node.tokens) = (by_name(users), by_name(groups), by_name(tokens));
    }
    root
}

fn set(names: impl IntoIterator<Item = impl ToString>) -> Set {
    names.into_iter().map(|name| (name.to_string(), 1)).collect()
}
