//! What a worker has done.

use std::os::fd::OwnedFd;

use serde_json::Value;

/// An answer, with a descriptor where the work was to open something.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) value: Value,
    pub(crate) descriptor: Option<OwnedFd>,
}

impl From<Value> for Done {
    fn from(value: Value) -> Self {
        Self { value, descriptor: None }
    }
}
