//! What the parser skipped or found dangling.

use std::fmt;

use crate::limits::MAX_WARNING_VALUE;

/// One finding about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: Problem,
    /// The offending name or value, shortened.
    pub value: String,
}

/// What is wrong with a line, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The line begins with no known keyword; ignored.
    UnknownLine,
    /// Not a user name; line ignored.
    UserName,
    /// The user's expiry is not a number; line ignored.
    UserExpire,
    /// Not a group name; line ignored.
    GroupName,
    /// A member that is no user name; ignored.
    GroupMemberName,
    /// A member that does not exist (yet); kept.
    GroupMemberMissing,
    /// Not a role name; line ignored.
    RoleName,
    /// A privilege the release does not know; ignored.
    RolePrivilege,
    /// Not a pool name; line ignored.
    PoolName,
    /// A guest that is no number; ignored.
    PoolVmid,
    /// A guest that another pool line has already; ignored.
    PoolVmidTaken,
    /// Not a storage name; ignored.
    PoolStorage,
    /// Not a token name; line ignored.
    TokenName,
    /// The token's expiry is not a number; line ignored.
    TokenExpire,
    /// A token of a user that does not exist (yet); line ignored.
    TokenUserMissing,
    /// Not a path; line ignored.
    AclPath,
    /// Not a role name; ignored.
    AclRoleName,
    /// A role that does not exist (yet); ignored.
    AclRoleMissing,
    /// A group that does not exist (yet); kept.
    AclGroupMissing,
    /// A user that does not exist (yet); kept.
    AclUserMissing,
    /// A token that does not exist (yet); ignored.
    AclTokenMissing,
    /// Neither user, group nor token; ignored.
    AclSubject,
}

impl Warning {
    pub(super) fn new(line: usize, problem: Problem, value: &str) -> Self {
        let value = value.chars().take(MAX_WARNING_VALUE).collect();
        Self { line, problem, value }
    }
}

impl Problem {
    /// Whether the value stays in force in spite of the warning.
    pub fn is_kept(self) -> bool {
        matches!(self, Self::GroupMemberMissing | Self::AclGroupMissing | Self::AclUserMissing)
    }

    fn text(self) -> &'static str {
        match self {
            Self::UnknownLine => "unknown kind of line",
            Self::UserName => "invalid user name",
            Self::UserExpire => "expiry of the user is not a number",
            Self::GroupName => "invalid group name",
            Self::GroupMemberName => "invalid name of a group member",
            Self::GroupMemberMissing => "group member does not exist",
            Self::RoleName => "invalid role name",
            Self::RolePrivilege => "unknown privilege",
            Self::PoolName => "invalid pool name",
            Self::PoolVmid => "guest of a pool is not a number",
            Self::PoolVmidTaken => "guest is in a pool already",
            Self::PoolStorage => "invalid storage name in a pool",
            Self::TokenName => "invalid token name",
            Self::TokenExpire => "expiry of the token is not a number",
            Self::TokenUserMissing => "user of the token does not exist",
            Self::AclPath => "invalid path in an ACL entry",
            Self::AclRoleName => "invalid role name in an ACL entry",
            Self::AclRoleMissing => "role of an ACL entry does not exist",
            Self::AclGroupMissing => "group of an ACL entry does not exist",
            Self::AclUserMissing => "user of an ACL entry does not exist",
            Self::AclTokenMissing => "token of an ACL entry does not exist",
            Self::AclSubject => "subject of an ACL entry is neither user, group nor token",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = if self.problem.is_kept() { "kept" } else { "ignored" };
        let Self { line, problem, value } = self;
        write!(f, "user.cfg line {line}: {}: {value:?} ({fate})", problem.text())
    }
}
