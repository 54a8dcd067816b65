//! Who is at the other end: kernel's word, control group, user namespace, subordinate ids.

mod attest;
mod cgroup;
mod subid;

pub(crate) use attest::{Attestor, Unknown, kernel_tells_processes};
pub use cgroup::Place;
pub(crate) use subid::SubIds;
#[cfg(fuzzing)]
pub(crate) use {attest::inner_id, cgroup::place as cgroup_place};

use std::fmt;
use std::sync::Arc;

/// Who made a connection, as far as it was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user when it connected, as this host numbers users.
    pub uid: u32,
    /// Effective group, likewise.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// For logs only.
    pub pid: i32,
    /// Where its process runs.
    pub place: Place,
    /// Its user as its own user namespace numbers users; the same as `uid` on the host.
    pub inner_uid: Option<u32>,
    /// First and last id that its user namespace maps around `uid`.
    pub mapped: Option<(u32, u32)>,
    /// The range of subordinate ids that holds user and group, by its owner.
    pub range: Option<Range>,
    /// The socket it came through.
    pub socket: Arc<str>,
}

/// Subordinate ids of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The account as the file names it.
    pub owner: Arc<str>,
    /// First id.
    pub start: u32,
    /// Last id.
    pub end: u32,
}

/// What budgets are counted by: the strongest identity there is. Everything in one container is
/// one, everything in one range of subordinate ids is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(Arc<str>);

impl Peer {
    /// The strongest identity.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        let text = match (&self.place, &self.range) {
            (Place::Host, _) => format!("uid:{}", self.uid),
            (Place::Unit(name), _) => format!("unit:{name}"),
            (Place::Container(id), _) => format!("container:{id}"),
            (Place::Cell(id), _) => format!("cell:{id}"),
            (Place::Foreign, Some(range)) => format!("range:{}-{}", range.start, range.end),
            (Place::Foreign, None) => match self.mapped {
                Some((start, end)) => format!("range:{start}-{end}"),
                None => format!("uid:{}", self.uid),
            },
        };
        PeerKey(text.into())
    }

    /// Whether it is a process of this host, in no container, cell or foreign user namespace.
    #[must_use]
    pub fn is_host(&self) -> bool {
        matches!(self.place, Place::Host | Place::Unit(_))
    }

    /// The unit it runs in, for logs and rules.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match &self.place {
            Place::Unit(name) => Some(name),
            _ => None,
        }
    }
}

impl PeerKey {
    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
