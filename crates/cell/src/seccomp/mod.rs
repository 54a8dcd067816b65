//! Which system calls a cell may make: tables of calls, and the program the kernel runs over them.
//!
//! [`calls`] is the list, by why a call is needed; everything that is not listed is refused with
//! `EPERM`. [`program`] turns the rows that a [`Shape`] wants into a search tree of BPF.

mod assemble;
mod calls;
mod options;
mod program;
#[cfg(test)]
mod traces;

pub(crate) use calls::{Call, by_path, rows};
pub(crate) use program::{Facts, compile};

use serde::{Deserialize, Serialize};

/// What decides which rows a filter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// May the command start other programs? Profile `build` only.
    pub(crate) subprocess: bool,
    /// Who makes connections.
    pub(crate) egress: Egress,
    /// Are refused calls handed to the supervisor, which records and refuses them?
    pub(crate) audit: bool,
    /// Are calls by path handed to the supervisor too, which shows or records files outside?
    pub(crate) by_path: bool,
}

/// Who connects, binds and listens, and so which of these calls are handed to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Egress {
    /// The command itself, within its own empty network namespace.
    None,
    /// The supervisor, for TCP.
    Tcp,
    /// The supervisor, for TCP and UDP: sending with an address is a connection too.
    Udp,
}
