//! Profiles: tables of what they take away, each row with its reason. `gate explain` and the
//! log show the row that decided.
//!
//! A profile is asked before the rules, and no rule takes back what it denies: who shall be
//! spared is excepted from the profile.

use std::fmt;

use pve_schema::Verb;

use super::pattern::Pattern;
use super::rule::{Applies, Effect, Matcher, Question, bit};
use super::values::Values;

use Effect::{Allow, Deny};

/// One row: the first that is about a call decides; a call that none is about is not this
/// profile's business.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    effect: Effect,
    /// Methods, blanks between; `*` for all.
    methods: &'static str,
    path: &'static str,
    /// A parameter and its values.
    param: Option<(&'static str, &'static str)>,
    /// Why the row is there.
    pub(crate) reason: &'static str,
}

/// A profile as it is written down.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) rows: &'static [Row],
}

const fn row(
    effect: Effect,
    methods: &'static str,
    path: &'static str,
    reason: &'static str,
) -> Row {
    Row { effect, methods, path, param: None, reason }
}

/// A row about calls with a certain parameter.
const fn with(
    methods: &'static str,
    path: &'static str,
    param: (&'static str, &'static str),
    reason: &'static str,
) -> Row {
    Row { effect: Deny, methods, path, param: Some(param), reason }
}

/// All profiles.
#[rustfmt::skip]
pub(crate) const PROFILES: [Table; 3] = [
    Table { name: "read-only", rows: &[
        row(Allow, "POST", "/access/ticket", "logs in and renews, changes nothing"),
        row(Allow, "POST", "/access/openid/login", "logs in"),
        row(Allow, "POST", "/access/openid/auth-url", "begins a login"),
        row(Allow, "POST", "/access/vncticket", "checks a ticket"),
        row(Allow, "POST", "/proxward/logout", "ends the caller's own session"),
        row(Allow, "POST", "/proxward/api/step-up", "shows a code, changes nothing"),
        row(Allow, "POST", "/proxward/api/policy/confirm", "keeps a policy, for who may do that"),
        row(Deny, "POST PUT DELETE", "/**", "changes something"),
        row(Deny, "GET", "/nodes/*/vncwebsocket", "carries a console's input"),
        row(Deny, "GET", "/nodes/*/*/*/vncwebsocket", "carries a console's input"),
        row(Deny, "GET", "/nodes/*/*/*/mtunnelwebsocket", "carries a migration"),
    ] },
    Table { name: "no-shell", rows: &[
        row(Deny, "POST", "/nodes/*/termproxy", "opens a shell of the node"),
        row(Deny, "POST", "/nodes/*/vncshell", "opens a shell of the node"),
        row(Deny, "POST", "/nodes/*/spiceshell", "opens a shell of the node"),
        row(Deny, "GET", "/nodes/*/vncwebsocket", "carries a shell of the node"),
        row(Deny, "POST", "/nodes/*/execute", "runs calls that no rule sees"),
        row(Deny, "POST", "/nodes/*/*/*/termproxy", "opens a guest's console"),
        row(Deny, "POST", "/nodes/*/*/*/vncproxy", "opens a guest's console"),
        row(Deny, "POST", "/nodes/*/*/*/spiceproxy", "opens a guest's console"),
        row(Deny, "GET", "/nodes/*/*/*/vncwebsocket", "carries a guest's console"),
        row(Deny, "PUT", "/nodes/*/qemu/*/sendkey", "types on a guest's console"),
        row(Deny, "POST", "/nodes/*/qemu/*/monitor", "reaches QEMU's monitor on the host"),
        row(Deny, "POST", "/nodes/*/qemu/*/agent", "runs any command of the guest agent"),
        row(Deny, "POST", "/nodes/*/qemu/*/agent/exec", "runs a program in a guest"),
        row(Deny, "GET", "/nodes/*/qemu/*/agent/exec-status", "reads what such a program said"),
        row(Deny, "POST", "/nodes/*/qemu/*/agent/file-write", "writes a file in a guest"),
        row(Deny, "GET", "/nodes/*/qemu/*/agent/file-read", "reads a file in a guest"),
        row(Deny, "POST", "/nodes/*/qemu/*/agent/set-user-password", "makes a login to a guest"),
        row(Deny, "POST", "/proxward/api/commands/*", "runs a declared program on the node"),
        row(Deny, "GET POST PUT", "/proxward/api/files/**", "reads and writes files of the node"),
    ] },
    Table { name: "no-delete", rows: &[
        row(Allow, "DELETE", "/nodes/*/tasks/*", "stops a task"),
        row(Allow, "DELETE", "/nodes/*/network", "drops changes that are not in force yet"),
        row(Allow, "DELETE", "/cluster/sdn/lock", "releases a lock"),
        row(Deny, "DELETE", "/**", "removes something"),
        row(Deny, "POST", "/nodes/*/execute", "runs calls that no rule sees"),
        row(Deny, "PUT", "/nodes/*/qemu/*/unlink", "removes disks"),
        row(Deny, "PUT", "/nodes/*/disks/wipedisk", "wipes a disk"),
        row(Deny, "POST", "/nodes/*/disks/initgpt", "replaces the partitions of a disk"),
        row(Deny, "POST", "/nodes/*/*/*/snapshot/*/rollback", "removes what came after a snapshot"),
        with("POST PUT", "/nodes/*/qemu/*/config", ("delete", "*"), "removes settings and disks"),
        with("PUT", "/nodes/*/lxc/*/config", ("delete", "*"), "removes settings and volumes"),
        with("POST", "/nodes/*/qemu", ("force", "1"), "restores over a guest"),
        with("POST", "/nodes/*/lxc", ("force", "1"), "restores over a guest"),
        with("PUT", "/pools/**", ("delete", "1"), "removes members of a pool"),
        with("PUT", "/access/acl", ("delete", "1"), "removes rights"),
        with("PUT", "/nodes/*/config", ("delete", "*"), "removes settings"),
        with("PUT", "/cluster/options", ("delete", "*"), "removes settings"),
    ] },
];

/// A profile at work.
#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) table: &'static Table,
    /// For whom; every call of theirs.
    pub(crate) scope: Matcher,
    rows: Vec<(Matcher, &'static Row)>,
}

impl Profile {
    /// By name; None for one that does not exist.
    pub(crate) fn named(name: &str, scope: Matcher) -> Option<Self> {
        let table = PROFILES.iter().find(|table| table.name == name)?;
        Some(Self {
            table,
            scope,
            rows: table.rows.iter().map(|row| (row.matcher(), row)).collect(),
        })
    }

    /// The row that denies the call.
    pub(crate) fn denies(&self, asked: &Question<'_>) -> Result<Option<&'static Row>, Applies> {
        match self.scope.applies(asked, Deny) {
            Applies::Yes => {}
            Applies::No => return Ok(None),
            Applies::NeedsParameters => return Err(Applies::NeedsParameters),
        }
        for (matcher, row) in &self.rows {
            match matcher.applies(asked, row.effect) {
                Applies::No => {}
                Applies::Yes => return Ok((row.effect == Deny).then_some(*row)),
                Applies::NeedsParameters => return Err(Applies::NeedsParameters),
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("name", &self.table.name).finish_non_exhaustive()
    }
}

impl Row {
    /// The tables are tested to compile; a row that did not would be about everything.
    fn matcher(&self) -> Matcher {
        let verbs = self.methods.split(' ').filter_map(Verb::from_http);
        let params = self
            .param
            .and_then(|(name, values)| Some((name.to_owned(), Values::parse(values).ok()?)));
        Matcher {
            methods: verbs.fold(0, |bits, verb| bits | bit(verb)),
            pattern: Pattern::parse(self.path).ok(),
            params: params.into_iter().collect(),
            ..Matcher::default()
        }
    }

    /// The row as it is shown.
    pub(crate) fn text(&self) -> String {
        let param = self.param.map(|(name, values)| format!(" with {name}={values}"));
        format!("{} {}{}", self.methods, self.path, param.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
