//! Names of users and groups, from `passwd` and `group` (passwd(5), group(5)).
//!
//! Read as files, not through the C library: what other sources (LDAP) say must not decide who
//! may ask for root's work, and the lookup must not hang on a network.

use std::collections::HashMap;
use std::path::Path;

/// Largest passwd or group file that is read.
const ACCOUNT_FILE: u64 = 1024 * 1024;

/// Users and groups of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: HashMap<String, (u32, u32)>,
    groups: HashMap<String, u32>,
}

impl Accounts {
    /// Reads both files below `root` (`/` on a real host); what is not there holds nothing.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        Self::parse(&text(&root.join("etc/passwd")), &text(&root.join("etc/group")))
    }

    /// Reads both texts; lines of another form are passed over.
    #[must_use]
    pub fn parse(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let mut parts = line.split(':');
            let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
            let uid = parts.nth(1)?.parse().ok()?;
            Some((name, (uid, parts.next()?.parse().ok()?)))
        };
        let group_row = |line: &str| {
            let mut parts = line.split(':');
            let name = parts.next().filter(|name| !name.is_empty())?.to_owned();
            Some((name, parts.nth(1)?.parse().ok()?))
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_row).collect(),
        }
    }

    /// The number of a user.
    #[must_use]
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users.get(name).map(|(uid, _)| *uid)
    }

    /// User and group of an account.
    #[must_use]
    pub fn ids(&self, name: &str) -> Option<(u32, u32)> {
        self.users.get(name).copied()
    }

    /// The number of a group.
    #[must_use]
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }
}

/// The text of a file of a megabyte at most; what is longer is cut, and one that is not there is
/// empty.
#[must_use]
pub fn text(path: &Path) -> String {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(ACCOUNT_FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers() {
        let accounts = Accounts::parse(
            "root:x:0:0:r:/root:/bin/sh\nbad\n:x:1:1\nweb:x:33:34\n",
            "www:x:35:a,b\n+::\n",
        );
        assert_eq!((accounts.uid("root"), accounts.ids("web")), (Some(0), Some((33, 34))));
        assert_eq!(
            (accounts.uid(""), accounts.uid("bad"), accounts.gid("www")),
            (None, None, Some(35))
        );
        assert_eq!(Accounts::read(Path::new("/nonexistent")), Accounts::default());
    }
}
