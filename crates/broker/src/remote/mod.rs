//! Other nodes: which may be reached, by what name and address.

mod allow;
pub(crate) mod keys;
mod members;

pub(crate) use allow::{NodeName, check_allow, is_node_name, judge, judge_name, judge_own, reason};
pub(crate) use members::{Cluster, Member, Members, read_members};
#[cfg(fuzzing)]
pub(crate) use members::{corosync, dot_members};

use crate::config::Settings;

/// The line that nodes have to know, when there is a key.
pub(crate) fn public_key(settings: &Settings) -> Option<String> {
    keys::public(&settings.state.join("ssh"))
}
