//! What the supervisor tells the launcher, and what the launcher answers.

use serde::{Deserialize, Serialize};

use crate::layer::Layer;
use crate::seccomp::Shape;

/// Everything the launcher needs, decided and resolved. It asks nothing and looks nothing up.
///
/// Descriptors travel beside it, in this order: standard input, output and error of the command;
/// `listeners` listening sockets; then the mounts and files that [`Source`] counts from 0.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blueprint {
    /// User of the command on the host.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
    /// Does the launcher make a user namespace, because nobody gave it rights?
    pub(crate) user_namespace: bool,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<String>,
    /// Path of the executable within the cell.
    pub(crate) executable: String,
    pub(crate) files: Vec<FileMount>,
    pub(crate) directory: DirectoryMount,
    /// Small files of the cell's own `/etc`, by name.
    pub(crate) etc: Vec<(String, String)>,
    pub(crate) scratch_bytes: u64,
    pub(crate) scratch_inodes: u64,
    /// May the command see `/proc/self`?
    pub(crate) proc: bool,
    pub(crate) groups: Vec<Group>,
    pub(crate) limits: ProcessLimits,
    pub(crate) filter: Shape,
    /// Are questions for names answered, by the supervisor? For a run that is observed.
    pub(crate) resolver: bool,
    /// Refuse memory that is or becomes executable (PR_SET_MDWE).
    pub(crate) no_jit: bool,
    /// How many listening sockets come along; they become descriptors 3, 4, ….
    pub(crate) listeners: u32,
    /// Layers that may be missing.
    pub(crate) degraded: Vec<Layer>,
    /// Ends the launcher after this layer, for tests of what is left behind.
    pub(crate) stop_after: Option<Layer>,
}

/// A file or directory that appears in the cell, read-only, at `target`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileMount {
    pub(crate) target: String,
    pub(crate) source: Source,
    pub(crate) kind: Kind,
}

/// What a file is for, and so how it is mounted and what Landlock allows on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The command or its loader.
    Program,
    /// Mapped executable, never executed.
    Library,
    /// Read.
    Data,
    /// Read; a directory.
    DataDirectory,
    /// Mapped executable, and mounted over the file of this path in the one directory.
    Addon,
}

/// Where a mount comes from.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// A detached mount made by the supervisor, by its place among those that came along.
    Tree(u32),
    /// A path that must still be the same file.
    Path { path: String, device: u64, inode: u64 },
    /// An open file whose bytes are copied into the cell: it lies where the command could change
    /// it while it runs.
    Copy { number: u32, bytes: u64 },
}

/// The one directory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DirectoryMount {
    pub(crate) source: Source,
    pub(crate) read_only: bool,
}

/// A control group to make, with the files to write in it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// Directory to make; its parent exists.
    pub(crate) path: String,
    /// Files and values; a file whose name ends in `?` may be missing.
    pub(crate) settings: Vec<(String, String)>,
    /// File that counts kills for want of memory, when this group has it.
    pub(crate) out_of_memory: Option<String>,
}

/// Limits of the process (setrlimit(2)).
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessLimits {
    pub(crate) open_files: u32,
    pub(crate) processes: u64,
    pub(crate) file_bytes: Option<u64>,
    pub(crate) data_bytes: Option<u64>,
}

/// What the launcher says, in this order. `Process`, `Resolver` and `Listener`
/// carry descriptors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The cell could not be built.
    Failed { layer: Layer, what: String },
    /// A layer that was allowed to be missing is.
    Missing { layer: Layer, what: String },
    /// The command's process is the descriptor that comes along.
    Process,
    /// Questions for names arrive at the descriptor that comes along.
    Resolver,
    /// Handed-over calls can be read from the descriptor that comes along.
    Listener,
    /// The canaries have found every door shut; the command's own calls follow.
    Armed,
    /// The command ended.
    Ended { code: Option<i32>, signal: Option<i32> },
    /// All is tidied up. `out_of_memory` counts kills for want of memory.
    Gone { out_of_memory: u64 },
}

/// What the supervisor may still say to the launcher, one byte each.
pub(crate) const ASK_TERMINATE: u8 = b'T';
/// Ends the cell at once.
pub(crate) const ASK_KILL: u8 = b'K';
