//! `proxward access` as it is typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pve_access::Release;

use crate::cli::Format;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward access can ann@pve /vms/100 VM.PowerMgmt \
    --user-cfg /etc/pve/user.cfg")]
pub(crate) struct Access {
    #[command(subcommand)]
    pub(crate) question: Question,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Question {
    /// Whether someone may do something: exit code 0 for yes, 1 for no
    Can(Can),
    /// Which entries of the list decide, and what became of each
    Explain(Explain),
    /// What someone may do, path by path
    Effective(Effective),
    /// Answers records of questions from stdin, one JSON object a line
    Judge(Judge),
}

/// Whose rights, from which file.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// File with users, roles and the access control list, `-` for stdin
    #[arg(long, value_name = "FILE", default_value = "/etc/pve/user.cfg")]
    pub(crate) user_cfg: PathBuf,
    /// Release whose roles and privileges count
    #[arg(long, value_enum, default_value = "9")]
    pub(crate) release: PveRelease,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PveRelease {
    /// Proxmox VE 9
    #[value(name = "9")]
    V9,
    /// Proxmox VE 8.4
    #[value(name = "8")]
    V8,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward access can ann@pve!ci /vms/100 VM.Audit,VM.Console \
    --user-cfg user.cfg\n\nA disabled or expired account may do nothing. With --format json: \
    subject, path, allowed, missing (privileges), account (why it may not be used, or null).")]
pub(crate) struct Can {
    /// User (name@realm) or API token (name@realm!token)
    pub(crate) subject: String,
    /// Path of the access control list, such as /vms/100
    pub(crate) path: String,
    /// Privileges that are needed, all of them
    #[arg(value_name = "PRIVILEGE", value_delimiter = ',', required = true)]
    pub(crate) privileges: Vec<String>,
    /// One of the privileges is enough
    #[arg(long)]
    pub(crate) any: bool,
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  proxward access explain ann@pve /vms/100 --user-cfg user.cfg\n\n\
    With --format json: subject, path, account, basis (root, entries, owner, entries_and_owner, \
    no_token), entries (line, at, given_to, role, propagate, pool, standing, by), permissions \
    (privilege to propagate flag), and owner of the same shape where a token's owner counts. \
    standing is in_force, not_propagated, outranked, replaced or no_access; by is the path that \
    did it."
)]
pub(crate) struct Explain {
    /// User (name@realm) or API token (name@realm!token)
    pub(crate) subject: String,
    /// Path of the access control list, such as /vms/100
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward access effective ann@pve --user-cfg user.cfg\n\n\
    A privilege marked with * holds below its path too. With --format json: subject, account, \
    paths (path to privilege to propagate flag).")]
pub(crate) struct Effective {
    /// User (name@realm) or API token (name@realm!token)
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) source: Source,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward access judge < cases.jsonl > verdicts.jsonl\n\n\
    A line: {\"user_cfg\": text of the file, \"cases\": [{\"subject\": \"ann@pve\", \"path\": \
    \"/vms/100\"}]}. Its answer, one line in the same order: {\"results\": [{\"roles\": [names], \
    \"permissions\": {privilege: propagate flag, 0 or 1}}], \"rewritten\": the file as PVE writes \
    it}. \"raw\" instead of \"user_cfg\" adds \"config\", what PVE reads from the text; other \
    members are passed over. Roles are those of the list alone, permissions count pools and \
    privilege separation, and neither asks whether the account is enabled. When a file could not \
    be written without changing its meaning, rewritten is null and rewrite_error says why.\n\n\
    Each answer is flushed. The first line that is no such record ends the run with exit code 2 \
    and its number on stderr; answers given before it stand. Blank lines are passed over; a line \
    has at most 16 MiB and 100000 cases.")]
pub(crate) struct Judge {
    /// Release whose roles and privileges count
    #[arg(long, value_enum, default_value = "9")]
    pub(crate) release: PveRelease,
}

impl From<PveRelease> for Release {
    fn from(release: PveRelease) -> Self {
        match release {
            PveRelease::V8 => Self::V8,
            PveRelease::V9 => Self::V9,
        }
    }
}
