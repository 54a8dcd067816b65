//! Reading the file.

use std::collections::BTreeSet;

use secrets::SecretString;

use super::names::{is_number, is_plain, is_pool, is_storage, is_user, split_token};
use super::{
    AclPath, GrantLines, Group, Keys, Pool, Problem, Token, User, UserConfig, Vocabulary, Warning,
};
use crate::limits::{MAX_GRANTS, MAX_USER_CFG_BYTES, MAX_WARNINGS};
use crate::perl::{decode_text, optional, split_list, trim, truthy};

/// A parsed file with what was skipped on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The model.
    pub config: UserConfig,
    /// The first findings, in the order of the lines.
    pub warnings: Vec<Warning>,
    /// Findings beyond [`MAX_WARNINGS`].
    pub further_warnings: usize,
}

/// The file is beyond a limit and was not parsed; half of an access control list is worse than
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// The text is longer than [`MAX_USER_CFG_BYTES`].
    #[error(
        "user.cfg has {0} bytes, more than {MAX_USER_CFG_BYTES}; it is not a valid cluster file"
    )]
    Bytes(usize),
    /// The `acl:` lines up to this one give more than [`MAX_GRANTS`] roles.
    #[error("user.cfg line {0}: more than {MAX_GRANTS} ACL entries; use groups instead of users")]
    Grants(usize),
}

impl UserConfig {
    /// Parses the file as PVE does: line by line, skipping what it does not accept.
    ///
    /// References count only when the named thing was defined on an earlier line.
    pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Parsed, TooLarge> {
        Ok(Parser::new(vocabulary, None).read(text)?.0)
    }

    /// The same, and on which line each entry of the access control list was written.
    pub fn parse_located(
        text: &str,
        vocabulary: &Vocabulary,
    ) -> Result<(Parsed, GrantLines), TooLarge> {
        Parser::new(vocabulary, Some(GrantLines::default())).read(text)
    }

    fn ensure_root(&mut self) {
        let root = || User { enable: true, ..User::default() };
        self.users.entry("root@pam".to_owned()).or_insert_with(root);
    }
}

/// Reads the fields of one kind of line.
type ReadLine<'v> = fn(&mut Parser<'v>, &[&str]) -> Result<(), TooLarge>;

struct Parser<'v> {
    vocabulary: &'v Vocabulary,
    config: UserConfig,
    warnings: Vec<Warning>,
    further_warnings: usize,
    line: usize,
    pooled_vms: BTreeSet<u64>,
    grants: usize,
    /// Only where someone asked: one record for each entry.
    lines: Option<GrantLines>,
}

impl<'v> Parser<'v> {
    const KINDS: [(&'static str, ReadLine<'v>); 6] = [
        ("user", Self::user),
        ("token", Self::token),
        ("group", Self::group),
        ("pool", Self::pool),
        ("role", Self::role),
        ("acl", Self::acl),
    ];

    fn new(vocabulary: &'v Vocabulary, lines: Option<GrantLines>) -> Self {
        let mut config = UserConfig::default();
        // root@pam exists before the first line, so a token of it needs no line of its own.
        config.ensure_root();
        Self {
            vocabulary,
            config,
            warnings: Vec::new(),
            further_warnings: 0,
            line: 0,
            pooled_vms: BTreeSet::new(),
            grants: 0,
            lines,
        }
    }

    fn read(mut self, text: &str) -> Result<(Parsed, GrantLines), TooLarge> {
        if text.len() > MAX_USER_CFG_BYTES {
            return Err(TooLarge::Bytes(text.len()));
        }
        for (at, line) in text.split('\n').enumerate() {
            self.line(at + 1, trim(line))?;
        }
        let Self { mut config, warnings, further_warnings, lines, .. } = self;
        config.ensure_root();
        Ok((Parsed { config, warnings, further_warnings }, lines.unwrap_or_default()))
    }

    fn line(&mut self, number: usize, line: &str) -> Result<(), TooLarge> {
        self.line = number;
        if line.is_empty() {
            return Ok(());
        }
        let fields: Vec<&str> = line.split(':').map(trim).collect();
        let (kind, fields) = fields.split_first().unwrap_or((&"", &[]));
        match Self::KINDS.iter().find(|(name, _)| name == kind) {
            Some((_, read)) => read(self, fields),
            None => self.warn(Problem::UnknownLine, line),
        }
    }

    fn user(&mut self, fields: &[&str]) -> Result<(), TooLarge> {
        let [id, enable, expire, firstname, lastname, email, comment, keys] = row(fields);
        if !is_user(id) {
            return self.warn(Problem::UserName, id);
        }
        let Some(expire) = seconds(expire) else {
            return self.warn(Problem::UserExpire, id);
        };
        // A second line for a user replaces the first with all its tokens.
        let user = User {
            enable: truthy(enable),
            expire,
            firstname: decoded(firstname),
            lastname: decoded(lastname),
            email: (!email.is_empty()).then(|| email.to_owned()),
            comment: decoded(comment),
            keys: optional(keys).map(|keys| Keys(SecretString::new(keys.to_owned()))),
            ..User::default()
        };
        self.config.users.insert(id.to_owned(), user);
        Ok(())
    }

    fn token(&mut self, fields: &[&str]) -> Result<(), TooLarge> {
        let [id, expire, privsep, comment] = row(fields);
        let Some((user, name)) = split_token(id) else {
            return self.warn(Problem::TokenName, id);
        };
        let Some(expire) = seconds(expire) else {
            return self.warn(Problem::TokenExpire, id);
        };
        let Some(user) = self.config.users.get_mut(user) else {
            return self.warn(Problem::TokenUserMissing, id);
        };
        let token: &mut Token = user.tokens.entry(name.to_owned()).or_default();
        token.expire = expire;
        token.privsep = truthy(privsep);
        set_comment(&mut token.comment, comment);
        Ok(())
    }

    fn group(&mut self, fields: &[&str]) -> Result<(), TooLarge> {
        let [name, users, comment] = row(fields);
        if !is_plain(name) {
            return self.warn(Problem::GroupName, name);
        }
        let mut group: Group = self.config.groups.remove(name).unwrap_or_default();
        set_comment(&mut group.comment, comment);
        for user in split_list(users) {
            if !is_user(user) {
                self.warn(Problem::GroupMemberName, user)?;
                continue;
            }
            if !self.config.users.contains_key(user) {
                self.warn(Problem::GroupMemberMissing, user)?;
            }
            group.users.insert(user.to_owned());
        }
        self.config.groups.insert(name.to_owned(), group);
        Ok(())
    }

    fn role(&mut self, fields: &[&str]) -> Result<(), TooLarge> {
        let [name, privileges] = row(fields);
        if !is_plain(name) {
            return self.warn(Problem::RoleName, name);
        }
        let mut role = self.config.roles.remove(name).unwrap_or_default();
        for privilege in split_list(privileges) {
            if (self.vocabulary.is_privilege)(privilege) {
                role.insert(privilege.to_owned());
            } else {
                self.warn(Problem::RolePrivilege, privilege)?;
            }
        }
        self.config.roles.insert(name.to_owned(), role);
        Ok(())
    }

    fn pool(&mut self, fields: &[&str]) -> Result<(), TooLarge> {
        let [name, comment, vms, storages] = row(fields);
        if !is_pool(name) {
            return self.warn(Problem::PoolName, name);
        }
        let mut parent = name;
        while let Some((up, _)) = parent.rsplit_once('/') {
            self.config.pools.entry(up.to_owned()).or_default();
            parent = up;
        }
        let mut pool: Pool = self.config.pools.remove(name).unwrap_or_default();
        set_comment(&mut pool.comment, comment);
        for vm in split_list(vms) {
            let Some(vmid) = is_number(vm).then(|| vm.parse().ok()).flatten() else {
                self.warn(Problem::PoolVmid, vm)?;
                continue;
            };
            if !self.pooled_vms.insert(vmid) {
                self.warn(Problem::PoolVmidTaken, vm)?;
                continue;
            }
            pool.vms.insert(vmid);
        }
        for storage in split_list(storages) {
            if is_storage(storage) {
                pool.storage.insert(storage.to_owned());
            } else {
                self.warn(Problem::PoolStorage, storage)?;
            }
        }
        self.config.pools.insert(name.to_owned(), pool);
        Ok(())
    }

    fn acl(&mut self, fields: &[&str]) -> Result<(), TooLarge> {
        let [propagate, path, subjects, roles] = row(fields);
        let Some(path) = AclPath::new(path) else {
            return self.warn(Problem::AclPath, path);
        };
        for role in split_list(roles) {
            if !is_plain(role) {
                self.warn(Problem::AclRoleName, role)?;
                continue;
            }
            let predefined = (self.vocabulary.is_predefined_role)(role);
            if !predefined && !self.config.roles.contains_key(role) {
                self.warn(Problem::AclRoleMissing, role)?;
                continue;
            }
            for subject in split_list(subjects) {
                self.grants += 1;
                if self.grants > MAX_GRANTS {
                    return Err(TooLarge::Grants(self.line));
                }
                self.grant(&path, subject, role, truthy(propagate))?;
            }
        }
        Ok(())
    }

    fn grant(
        &mut self,
        path: &AclPath,
        subject: &str,
        role: &str,
        propagate: bool,
    ) -> Result<(), TooLarge> {
        // A group named `0` can be defined, but is false to Perl where an entry names it.
        let group = subject.strip_prefix('@').filter(|name| is_plain(name) && truthy(name));
        // The order is PVE's: `@joe@pve` is a legal user name, `joe@pve!ci` is none.
        if let Some(group) = group {
            if !self.config.groups.contains_key(group) {
                self.warn(Problem::AclGroupMissing, group)?;
            }
        } else if is_user(subject) {
            if !self.config.users.contains_key(subject) {
                self.warn(Problem::AclUserMissing, subject)?;
            }
        } else if split_token(subject).is_none() {
            return self.warn(Problem::AclSubject, subject);
        } else if self.config.token(subject).is_none() {
            return self.warn(Problem::AclTokenMissing, subject);
        }
        let acl = self.config.acl.entry(path.clone()).or_default();
        let (table, name) = match group {
            Some(group) => (&mut acl.groups, group),
            None if is_user(subject) => (&mut acl.users, subject),
            None => (&mut acl.tokens, subject),
        };
        table.entry(name.to_owned()).or_default().insert(role.to_owned(), propagate);
        if let Some(lines) = &mut self.lines {
            lines.record(path, subject, role, self.line);
        }
        Ok(())
    }

    /// Records a finding; `Ok` so that a line handler can end with it.
    fn warn(&mut self, problem: Problem, value: &str) -> Result<(), TooLarge> {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(Warning::new(self.line, problem, value));
        } else {
            self.further_warnings += 1;
        }
        Ok(())
    }
}

/// The first `N` fields of a line; missing ones are blank, further ones are ignored.
fn row<'f, const N: usize>(fields: &[&'f str]) -> [&'f str; N] {
    let mut row = [""; N];
    for (slot, field) in row.iter_mut().zip(fields) {
        *slot = field;
    }
    row
}

/// Seconds since 1970; blank is 0. Numbers beyond 64 bits mean "later than ever" either way.
fn seconds(text: &str) -> Option<u64> {
    match optional(text) {
        None => Some(0),
        Some(text) => is_number(text).then(|| text.parse().unwrap_or(u64::MAX)),
    }
}

fn decoded(text: &str) -> Option<String> {
    // `%30` decodes to a text that is false again and would vanish with the next write.
    optional(text).map(decode_text).filter(|text| truthy(text))
}

fn set_comment(comment: &mut Option<String>, text: &str) {
    if let Some(text) = decoded(text) {
        *comment = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: Vocabulary = Vocabulary {
        is_privilege: |name| name == "VM.Audit",
        is_predefined_role: |name| name == "PVEAuditor",
    };

    fn parsed(text: &str) -> Parsed {
        UserConfig::parse(text, &VOCABULARY).unwrap()
    }

    fn problems(text: &str) -> Vec<Problem> {
        parsed(text).warnings.iter().map(|warning| warning.problem).collect()
    }

    #[test]
    fn root_exists_without_a_line() {
        assert!(parsed("").config.users["root@pam"].enable);
        assert!(!parsed("user:root@pam:0:").config.users["root@pam"].enable);
        assert!(problems("token:root@pam!ci:0:1::").is_empty());
    }

    #[test]
    fn fields_are_read_as_perl_reads_them() {
        let user = |line| parsed(line).config.users["joe@pve"].clone();
        let joe = user(" user : joe@pve :yes:017:A%3AB:0:a@b.c:%C3%A9:x!oath:more");
        assert!(joe.enable);
        assert_eq!(joe.expire, 17);
        assert_eq!(joe.firstname.as_deref(), Some("A:B"));
        assert_eq!(joe.lastname, None);
        assert_eq!(joe.email.as_deref(), Some("a@b.c"));
        assert_eq!(joe.comment.as_deref(), Some("é"));
        assert!(!format!("{joe:?}").contains("oath"));
        assert!(!user("user:joe@pve:0").enable);
        assert_eq!(user("user:joe@pve:1:99999999999999999999").expire, u64::MAX);
    }

    #[test]
    fn a_second_line_replaces_a_user_but_extends_a_group() {
        let text = "user:joe@pve:1\ntoken:joe@pve!ci:0:1\ngroup:g:joe@pve:old\n\
                    user:joe@pve:0\ngroup:g:ann@pve:\n";
        let config = parsed(text).config;
        assert!(config.users["joe@pve"].tokens.is_empty());
        assert_eq!(config.groups["g"].users.len(), 2);
        assert_eq!(config.groups["g"].comment.as_deref(), Some("old"));
        assert_eq!(config.groups_of("ann@pve").collect::<Vec<_>>(), ["g"]);
    }

    #[test]
    fn references_must_come_after_definitions() {
        let early =
            "acl:1:/:joe@pve!ci,joe@pve,@g:PVEAuditor\ntoken:joe@pve!ci::\nuser:joe@pve:1\n";
        let expected = [
            Problem::AclTokenMissing,
            Problem::AclUserMissing,
            Problem::AclGroupMissing,
            Problem::TokenUserMissing,
        ];
        assert_eq!(problems(early), expected);
        assert_eq!(problems("acl:1:/:a@pve:own\nrole:own:"), [Problem::AclRoleMissing]);
    }

    #[test]
    fn what_pve_refuses_is_ignored() {
        let cases = [
            ("# comment", Problem::UnknownLine),
            ("::", Problem::UnknownLine),
            ("user:joe:1", Problem::UserName),
            ("user:joe@pve:1:soon", Problem::UserExpire),
            ("group:a b:", Problem::GroupName),
            ("group:g:joe", Problem::GroupMemberName),
            ("role:a/b:", Problem::RoleName),
            ("role:r:VM.None", Problem::RolePrivilege),
            ("pool:a/b/c/d:", Problem::PoolName),
            ("pool:p::12a", Problem::PoolVmid),
            ("pool:p::5 5", Problem::PoolVmidTaken),
            ("pool:p:::s", Problem::PoolStorage),
            ("token:joe@pve:", Problem::TokenName),
            ("token:root@pam!ci:x", Problem::TokenExpire),
            ("acl:1:/a b:root@pam:PVEAuditor", Problem::AclPath),
            ("acl:1:/:root@pam:a/b", Problem::AclRoleName),
            ("acl:1:/:joe:PVEAuditor", Problem::AclSubject),
        ];
        for (line, problem) in cases {
            assert_eq!(problems(line), [problem], "{line}");
        }
    }

    #[test]
    fn parents_of_a_pool_come_into_being() {
        let config = parsed("pool:a/b/c::100,200:local:").config;
        assert_eq!(config.pools.keys().collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
        assert_eq!(config.subpools("a").collect::<Vec<_>>(), ["a/b"]);
        assert_eq!(config.pool_of(200), Some("a/b/c"));
        assert_eq!(config.pool_of(300), None);
    }

    #[test]
    fn warnings_say_where_and_what() {
        let warning = &parsed("\n\nuser:joe:1").warnings[0];
        assert_eq!(warning.to_string(), "user.cfg line 3: invalid user name: \"joe\" (ignored)");
    }

    #[test]
    fn limits_hold() {
        let long = " ".repeat(MAX_USER_CFG_BYTES + 1);
        let too_long = UserConfig::parse(&long, &VOCABULARY);
        assert_eq!(too_long, Err(TooLarge::Bytes(MAX_USER_CFG_BYTES + 1)));

        let subjects = "a@bc,".repeat(MAX_GRANTS / 2 + 1);
        let wide = format!("role:r:\nacl:1:/:{subjects}:r,PVEAuditor\n");
        if wide.len() <= MAX_USER_CFG_BYTES {
            assert_eq!(UserConfig::parse(&wide, &VOCABULARY), Err(TooLarge::Grants(2)));
        } else {
            panic!("test data outgrew the byte limit");
        }

        let many = parsed(&"x\n".repeat(MAX_WARNINGS + 5));
        assert_eq!((many.warnings.len(), many.further_warnings), (MAX_WARNINGS, 5));
    }
}
