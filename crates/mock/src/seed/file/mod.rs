//! Seeds from files.
//!
//! A file's tables hold the parameters of the API's own methods (`[[qemu]]` those of
//! `POST /nodes/{node}/qemu`), and the mock is filled by calling these methods before it serves.
//! So nothing stands in a seed that the API would refuse, every key is the one PVE has, and a new
//! method needs no new code here.

mod apply;
mod content;
mod guest;
mod print;
mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub(crate) use apply::apply;
use pve_schema::{Params, Verb};
use secrets::SecretString;

use super::{GuestKind, Seed};
use crate::document::{self, FileError, Form, Place};
use crate::limits::SEED_FILE_BYTES;

/// A seed that was read from a file: what stands in it from the start, and the calls that fill it.
#[derive(Debug)]
pub struct SeedFile {
    /// Nodes and cluster name.
    pub seed: Seed,
    /// The rest, for [`crate::Config::steps`].
    pub steps: Steps,
}

/// The calls that fill a mock before it serves. The default is none.
#[derive(Clone, Default)]
pub struct Steps(Vec<Step>);

/// What the calls do, and not where they stand: the same file elsewhere is the same seed.
impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|step| &step.action)).finish()
    }
}

impl SeedFile {
    /// Reads a seed, at most 16 MiB; `name` is what errors call it, and `secret` reads a file that
    /// the seed names with `password_file` or `secret_file`. The format is described in
    /// `docs/guides/mock-in-ci.md`.
    ///
    /// What only the API can tell (parameters of guests, names that must exist) is checked when
    /// the mock starts, with the same errors.
    ///
    /// # Errors
    /// [`FileError`]: an unknown key, a wrong value, with its line.
    pub fn parse(
        name: &str,
        text: &str,
        form: Form,
        secret: &mut dyn FnMut(&str) -> Result<SecretString, String>,
    ) -> Result<Self, FileError> {
        read::seed(document::read(name, text, form, SEED_FILE_BYTES)?, secret)
    }
}

impl Seed {
    /// The seed as a TOML file to start from, without passwords and the secrets of tokens.
    #[must_use]
    pub fn to_toml(&self) -> String {
        print::toml(self)
    }
}

/// One table of the file.
#[derive(Clone)]
struct Step {
    place: Place,
    /// Where the parameters stand.
    places: BTreeMap<String, Place>,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    Call {
        verb: Verb,
        path: String,
        parameters: Params,
    },
    /// A user that may exist already, as `root@pam` does.
    User {
        id: String,
        parameters: Params,
        password: Option<SecretString>,
    },
    Token {
        user: String,
        name: String,
        parameters: Params,
        secret: Option<SecretString>,
    },
    Storage {
        id: String,
        parameters: Params,
        size: Size,
    },
    Pool {
        name: String,
        comment: Option<String>,
        members: Params,
    },
    Guest(Box<GuestStep>),
    Volume(VolumeStep),
    Task(TaskStep),
}

/// Size of a storage.
#[derive(Debug, Clone, Copy)]
enum Size {
    Default,
    /// Never reported.
    Unknown,
    Bytes(u64),
}

#[derive(Debug, Clone)]
struct GuestStep {
    kind: GuestKind,
    node: String,
    parameters: Params,
    power: Power,
    lock: Option<String>,
    snapshots: Vec<Params>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Power {
    Stopped,
    Running,
    Paused,
}

#[derive(Debug, Clone)]
struct VolumeStep {
    storage: String,
    node: Option<String>,
    name: String,
    size: u64,
    notes: Option<String>,
    protected: bool,
    age: Duration,
}

#[derive(Debug, Clone)]
struct TaskStep {
    node: Option<String>,
    kind: &'static str,
    id: String,
    user: String,
    exit: Result<(), String>,
    age: Duration,
    takes: Duration,
    log: Vec<String>,
}

#[cfg(test)]
mod tests;
