//! The keys of `[gate]` about how answers come and go: compression and what is kept of them, where
//! the metrics are read, where else Proxmox VE is.

use super::{ConfigError, Settings};

/// What is done with answers, and who may read what is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Whether answers are compressed. Proxmox VE is asked for plain ones either way.
    pub compression: bool,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { compression: true }
    }
}

impl Settings {
    pub(super) fn traffic(&self) -> Result<Traffic, ConfigError> {
        let default = Traffic::default();
        Ok(Traffic { compression: self.compression.unwrap_or(default.compression) })
    }
}
