//! What caller, server and slot say to each other: records of JSON, some with descriptors.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::supervise::Denial;

/// What a slot is built for. A slot fits when all of it is equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// Without the variables that can be set later.
    pub(crate) policy: Policy,
    pub(crate) unprivileged: bool,
    /// The Node.js that waits.
    pub(crate) program: PathBuf,
    /// Device and inode of the directory and of the program: a path that now names something else
    /// is something else.
    pub(crate) identities: [(u64, u64); 2],
    /// Are refused calls recorded?
    pub(crate) audit: bool,
}

/// What a slot is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    /// Script and its arguments, or those of the code.
    pub(crate) arguments: Vec<String>,
    /// Code in the place of a script (`node -e`).
    pub(crate) code: Option<String>,
    /// Is its value shown (`node -p`)?
    pub(crate) print: bool,
    pub(crate) environment: Vec<(String, String)>,
}

/// From caller to server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Standard input, output and error come along.
    Run { spec: Box<Spec>, call: Call },
    /// What there is.
    List,
}

/// To the caller: from the server first, from the slot once one was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// No slot fits.
    Cold,
    /// A slot has it. The rest is the slot's to say.
    Taken,
    Denied(Noted),
    Ended {
        code: u8,
        notes: Vec<String>,
    },
    Slots(Vec<SlotState>),
}

/// A denial on its way to the one who records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Noted {
    cell: String,
    rule: String,
    what: String,
}

impl From<&Denial> for Noted {
    fn from(denial: &Denial) -> Self {
        let Denial { cell, rule, what } = denial;
        Self { cell: cell.clone(), rule: (*rule).to_owned(), what: what.clone() }
    }
}

impl From<Noted> for Denial {
    fn from(noted: Noted) -> Self {
        let rule = Self::RULES.iter().find(|rule| **rule == noted.rule);
        Self { cell: noted.cell, rule: rule.copied().unwrap_or("more"), what: noted.what }
    }
}

/// From server to slot; the caller's streams and its connection come along.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Give {
    pub(crate) call: Call,
}

/// From slot to server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SlotReport {
    /// Its Node.js waits.
    Ready,
    /// It could not be built.
    Failed(String),
}

/// One slot of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotState {
    /// Process id of its supervisor.
    pub pid: u32,
    /// `building`, `parked` or `running`.
    pub state: String,
    /// Its directory.
    pub dir: PathBuf,
}
