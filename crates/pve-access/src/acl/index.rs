//! The access control list as a tree that is walked once per question.

use std::collections::{BTreeMap, HashMap};

use pve_formats::user_cfg::{Acl, Grants, UserConfig};

use crate::roles::{self, NO_ACCESS_ROLE};
use crate::{Privilege, Privileges, Release};

/// A role at a node, with its propagate flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) role: usize,
    pub(super) propagate: bool,
}

/// A user or token whose entries are looked up.
pub(super) struct Who<'n> {
    name: &'n str,
    groups: Vec<usize>,
}

impl Who<'_> {
    /// The positions were collected in ascending order.
    fn is_in(&self, group: usize) -> bool {
        self.groups.binary_search(&group).is_ok()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Index {
    /// Sorted by name.
    roles: Vec<(Box<str>, Privileges)>,
    no_access: usize,
    /// The first is the root; each comes after its parent, in the order of the tree.
    nodes: Vec<Node>,
    /// Positions of the groups that list a user.
    groups: HashMap<Box<str>, Vec<usize>>,
    /// Paths of pools by the path of a member.
    pools: HashMap<Box<str>, Vec<Box<str>>>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    path: Box<str>,
    children: HashMap<Box<str>, usize>,
    /// Users and tokens; a name is never both.
    subjects: HashMap<Box<str>, Vec<Grant>>,
    /// By position of the group.
    groups: Vec<(usize, Vec<Grant>)>,
}

impl Index {
    pub(super) fn new(release: Release, config: &UserConfig) -> Self {
        let mut index = Self {
            roles: all_roles(release, config),
            no_access: usize::MAX,
            nodes: vec![Node { path: "/".into(), ..Node::default() }],
            groups: HashMap::new(),
            pools: HashMap::new(),
        };
        index.no_access = index.position(NO_ACCESS_ROLE).unwrap_or(usize::MAX);
        let mut group_positions = HashMap::new();
        for (at, (name, group)) in config.groups.iter().enumerate() {
            group_positions.insert(name.as_str(), at);
            for user in &group.users {
                index.groups.entry(user.as_str().into()).or_default().push(at);
            }
        }
        for (name, pool) in &config.pools {
            let path: Box<str> = format!("/pool/{name}").into();
            let vms = pool.vms.iter().map(|vmid| format!("/vms/{vmid}"));
            let storages = pool.storage.iter().map(|storage| format!("/storage/{storage}"));
            for member in vms.chain(storages) {
                index.pools.entry(member.into()).or_default().push(path.clone());
            }
        }
        for (path, acl) in &config.acl {
            index.insert(path.components(), acl, &group_positions);
        }
        index
    }

    pub(super) fn who<'n>(&self, name: &'n str) -> Who<'n> {
        Who { name, groups: self.groups.get(name).cloned().unwrap_or_default() }
    }

    /// The roles in force at a path, from the list alone.
    pub(super) fn grants(&self, who: &Who<'_>, path: &str) -> Vec<Grant> {
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        // `//` has neither a component nor is it the root; Perl's split sees no node at all.
        if parts.peek().is_none() && path != "/" {
            return Vec::new();
        }
        let mut in_force = Vec::new();
        let mut node = self.nodes.first();
        // Without a leading slash the walk begins below the root, whose entries do not count.
        if !path.starts_with('/') {
            let below = |root: &Node| root.children.get(parts.next()?).copied();
            node = node.and_then(below).and_then(|at| self.nodes.get(at));
        }
        while let Some(here) = node {
            let part = parts.next();
            if let Some(applicable) = here.applicable(who, part.is_none()) {
                in_force = applicable;
            }
            node = part.and_then(|part| self.nodes.get(*here.children.get(part)?));
        }
        match in_force.iter().find(|grant| self.is_no_access(**grant)) {
            Some(no_access) => vec![*no_access],
            None => in_force,
        }
    }

    /// The roles that pools give at the path of a member; they never propagate.
    pub(super) fn pool_grants(&self, who: &Who<'_>, path: &str) -> Vec<Grant> {
        let pools = self.pools.get(path).into_iter().flatten();
        let grants = pools.flat_map(|pool| self.grants(who, pool));
        grants.map(|grant| Grant { propagate: false, ..grant }).collect()
    }

    pub(super) fn is_no_access(&self, grant: Grant) -> bool {
        grant.role == self.no_access
    }

    pub(super) fn privileges(&self, grant: Grant) -> Privileges {
        self.roles.get(grant.role).map(|(_, privileges)| *privileges).unwrap_or_default()
    }

    pub(super) fn role_name(&self, grant: Grant) -> &str {
        self.roles.get(grant.role).map_or("", |(name, _)| name)
    }

    pub(super) fn role(&self, name: &str) -> Option<Privileges> {
        self.roles.get(self.position(name)?).map(|(_, privileges)| *privileges)
    }

    pub(super) fn roles(&self) -> impl Iterator<Item = (&str, Privileges)> {
        self.roles.iter().map(|(name, privileges)| (&**name, *privileges))
    }

    /// Paths of all nodes, those between the entries included.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| &*node.path)
    }

    fn position(&self, role: &str) -> Option<usize> {
        self.roles.binary_search_by(|(name, _)| (**name).cmp(role)).ok()
    }

    fn insert<'p>(
        &mut self,
        path: impl Iterator<Item = &'p str>,
        acl: &Acl,
        group_positions: &HashMap<&str, usize>,
    ) {
        let mut at = 0;
        for part in path {
            at = self.child(at, part);
        }
        let by_name = |table: &BTreeMap<String, Grants>, index: &Self| {
            let grants = table.iter().map(|(name, grants)| (name.clone(), index.resolve(grants)));
            grants.collect::<Vec<_>>()
        };
        let (users, tokens) = (by_name(&acl.users, self), by_name(&acl.tokens, self));
        // A group that does not exist has no members, so its entries do nothing.
        let groups = by_name(&acl.groups, self).into_iter().filter_map(|(name, grants)| {
            let position = group_positions.get(name.as_str())?;
            Some((*position, grants))
        });
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        node.groups = groups.collect();
        let subjects = users.into_iter().chain(tokens);
        node.subjects = subjects.map(|(name, grants)| (name.into(), grants)).collect();
    }

    fn child(&mut self, parent: usize, part: &str) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(parent) else {
            return parent;
        };
        if let Some(child) = node.children.get(part) {
            return *child;
        }
        node.children.insert(part.into(), next);
        let path = format!("{}/{part}", node.path.trim_end_matches('/')).into();
        self.nodes.push(Node { path, ..Node::default() });
        next
    }

    /// Roles that do not exist are left out; the parser does not let them in.
    fn resolve(&self, grants: &Grants) -> Vec<Grant> {
        let resolve = |(role, propagate): (&String, &bool)| {
            Some(Grant { role: self.position(role)?, propagate: *propagate })
        };
        grants.iter().filter_map(resolve).collect()
    }
}

impl Node {
    /// The applicable grants of the subject itself, or else of all its groups together.
    fn applicable(&self, who: &Who<'_>, is_final: bool) -> Option<Vec<Grant>> {
        let applies = |grant: &&Grant| is_final || grant.propagate;
        let own = self.subjects.get(who.name).into_iter().flatten();
        let own: Vec<Grant> = own.filter(applies).copied().collect();
        if !own.is_empty() {
            return Some(own);
        }
        let mut merged: Vec<Grant> = Vec::new();
        let listed = self.groups.iter().filter(|(group, _)| who.is_in(*group));
        for grant in listed.flat_map(|(_, grants)| grants).filter(applies) {
            // Two groups may give a role with different flags. PVE keeps the one its random
            // hash order visits last; propagating in doubt makes the answer the same each time.
            match merged.iter_mut().find(|have| have.role == grant.role) {
                Some(have) => have.propagate |= grant.propagate,
                None => merged.push(*grant),
            }
        }
        (!merged.is_empty()).then_some(merged)
    }
}

fn all_roles(release: Release, config: &UserConfig) -> Vec<(Box<str>, Privileges)> {
    let mut roles: BTreeMap<&str, Privileges> = roles::predefined(release).collect();
    for (name, listed) in &config.roles {
        let listed = listed.iter().filter_map(|name| Privilege::parse(name)).collect();
        let role = roles.entry(name).or_default();
        *role = role.union(listed);
    }
    roles.into_iter().map(|(name, privileges)| (name.into(), privileges)).collect()
}
