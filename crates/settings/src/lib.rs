//! Files, environment and flags become one checked configuration that knows where each value came from.
//!
//! [`Layers`] collects the sources, [`Layers::load`] reads and merges them into a [`Document`],
//! and [`Document::section`] turns one section into the type that its engine defines. Later
//! sources win, value by value: files in the order given (the main file, then `conf.d/*.toml`
//! by name), then the environment, then flags.
//!
//! It fails closed: an unknown section, key or variable, a wrong type, a file others may write
//! is refused, and the error is one line that names the place and the remedy:
//! `/etc/proxward/proxward.toml:7: gate.listen: expected an array, found a number; …`.
//! Because values keep their [`Origin`] through merging and deserialising, that place is the
//! right one even when a flag overrode a file.
//!
//! What a section may contain is no concern of this crate: the engines' types say it.

mod deserialize;
mod document;
mod environment;
mod error;
mod fault;
mod file;
mod layers;
mod limits;
mod node;
mod parse;
mod words;

pub use document::{Document, Entry};
pub use environment::PREFIX;
pub use error::{ErrorKind, SettingsError};
pub use file::text as read;
pub use layers::{Layers, Presence};
pub use limits::{DEPTH, DIRECTORY_FILES, ENVIRONMENT_VALUE, FILE_BYTES};
pub use node::Origin;
pub use words::closest;
