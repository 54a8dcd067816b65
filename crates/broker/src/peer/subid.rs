//! `/etc/subuid` and `/etc/subgid`: which ids belong to whose containers (subuid(5)).

use std::sync::Arc;

use super::Range;
use crate::limits::SUB_RANGES;

/// The ranges of both files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubIds {
    users: Vec<Range>,
    groups: Vec<Range>,
}

impl SubIds {
    /// Reads both texts. Lines that are no ranges are passed over, as the system's own tools do;
    /// beyond [`SUB_RANGES`] the rest is.
    pub(crate) fn parse(subuid: &str, subgid: &str) -> Self {
        Self { users: ranges(subuid), groups: ranges(subgid) }
    }

    /// The range of users that holds `uid`, if a range of groups of the same owner holds `gid`.
    pub(crate) fn find(&self, uid: u32, gid: u32) -> Option<&Range> {
        let holds = |range: &&Range, id: u32| (range.start..=range.end).contains(&id);
        let user = self.users.iter().find(|range| holds(range, uid))?;
        let groups = self.groups.iter().filter(|range| range.owner == user.owner);
        groups.into_iter().any(|range| holds(&range, gid)).then_some(user)
    }
}

fn ranges(text: &str) -> Vec<Range> {
    text.lines().filter_map(range).take(SUB_RANGES).collect()
}

/// `root:100000:65536`.
fn range(line: &str) -> Option<Range> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut parts = line.split(':');
    let (owner, start, count) = (parts.next()?, parts.next()?, parts.next()?);
    let (start, count): (u32, u32) = (start.parse().ok()?, count.parse().ok()?);
    let end = start.checked_add(count.checked_sub(1)?)?;
    // A range that begins at 0 would call the host's own root a container's.
    let sound = parts.next().is_none() && !owner.is_empty() && start > 0;
    sound.then(|| Range { owner: Arc::from(owner), start, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn user_and_group_have_to_be_the_same_owners() {
        let text = "# comment\n\nroot:100000:65536\nroot:200000:10\nweb:300000:65536\n\
                    bad\nbad:x:1\nbad:1:0\nbad:0:5\nbad:4294967295:2\nbad:1:2:3\n:5:5\n";
        let ids = SubIds::parse(text, "root:100000:65536\nweb:300000:65536\n");
        assert_eq!(ids.users.len(), 3);
        let owner = |uid, gid| ids.find(uid, gid).map(|range| &*range.owner);
        assert_eq!(owner(100_000, 100_000), Some("root"));
        assert_eq!(owner(165_535, 165_535), Some("root"));
        assert_eq!(owner(165_536, 165_535), None);
        assert_eq!(owner(200_000, 100_033), Some("root"));
        assert_eq!(owner(300_000, 300_000), Some("web"));
        assert_eq!(owner(100_000, 300_000), None, "a group of somebody else's range");
        assert_eq!(owner(100_000, 0), None);
        assert_eq!(owner(0, 0), None);
    }

    proptest! {
        #[test]
        fn any_text_is_judged_and_root_is_in_no_range(text in "([a-z#]{0,4}:[0-9]{0,11}:[0-9]{0,11}\n?){0,6}") {
            let ids = SubIds::parse(&text, &text);
            prop_assert_eq!(ids.find(0, 0), None);
            for range in &ids.users {
                prop_assert!(range.start <= range.end);
            }
        }
    }
}
