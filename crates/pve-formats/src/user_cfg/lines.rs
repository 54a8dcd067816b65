//! Where the entries of the access control list were written.

use std::collections::{BTreeMap, HashMap};

use super::AclPath;

/// Line numbers of a parsed file's entries, for messages that send an administrator there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantLines(BTreeMap<AclPath, HashMap<(String, String), usize>>);

impl GrantLines {
    /// The line, counted from 1, that last gave the role to the subject (`name@realm`, a token or
    /// `@group`) at the path. `None` when no line did.
    pub fn line(&self, path: &AclPath, subject: &str, role: &str) -> Option<usize> {
        self.0.get(path)?.get(&(subject.to_owned(), role.to_owned())).copied()
    }

    pub(super) fn record(&mut self, path: &AclPath, subject: &str, role: &str, line: usize) {
        let entries = self.0.entry(path.clone()).or_default();
        entries.insert((subject.to_owned(), role.to_owned()), line);
    }
}

#[cfg(test)]
mod tests {
    use crate::user_cfg::{AclPath, UserConfig, Vocabulary};

    #[test]
    fn the_last_line_that_gave_a_role_counts() {
        let vocabulary = Vocabulary { is_privilege: |_| true, is_predefined_role: |_| true };
        let text = "user:a@pve:1\n\nacl:1:/vms/:a@pve,@g:r:\nacl:0:/vms:a@pve:r,s\n";
        let (parsed, lines) = UserConfig::parse_located(text, &vocabulary).unwrap();
        assert_eq!(parsed, UserConfig::parse(text, &vocabulary).unwrap());
        let at = |subject, role| lines.line(&AclPath::new("/vms").unwrap(), subject, role);
        assert_eq!(at("a@pve", "r"), Some(4));
        assert_eq!(at("@g", "r"), Some(3));
        assert_eq!(at("@g", "s"), None);
    }
}
