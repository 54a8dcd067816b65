//! Why a mock does not start.

use std::path::PathBuf;

use crate::document::FileError;

/// Why a mock does not start. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A seed without a node.
    #[error("the seed names no node; give it at least one")]
    NoNode,
    /// The seed's `user.cfg` does not parse.
    #[error("user.cfg of the seed: {0}")]
    UserCfg(String),
    /// The API document does not parse.
    #[error("API schema: {0}")]
    Schema(String),
    /// The ticket key can not be read or written.
    #[error("ticket key {path}: {cause}; remove the file to have a new key made")]
    Key {
        /// The file.
        path: PathBuf,
        /// What went wrong with it.
        cause: String,
    },
    /// The state file can not be used; the text names it and the remedy.
    #[error("{0}")]
    StateFile(String),
    /// A file of seeds, faults or a recording.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate can not be used.
    #[error("certificate of the mock: {0}")]
    Tls(String),
    /// The control API can not listen where it was told to.
    #[error("{0}")]
    Control(String),
    /// There is no seed to go back to.
    #[error("the seed was not kept; start the mock with Config::resettable")]
    NoSeed,
    /// What was to be kept before the start is not.
    #[error("{0}")]
    NotKept(String),
    /// A thread, runtime or socket is refused by the system.
    #[error("starting the mock server: {0}")]
    System(#[from] std::io::Error),
}
