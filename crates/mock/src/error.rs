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
    /// A file of seeds, faults or a recording.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate can not be used.
    #[error("certificate of the mock: {0}")]
    Tls(String),
    /// A thread, runtime or socket is refused by the system.
    #[error("starting the mock server: {0}")]
    System(#[from] std::io::Error),
}
