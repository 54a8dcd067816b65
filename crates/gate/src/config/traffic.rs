//! The keys of `[gate]` about how answers come and go: compression and what is kept of them, where
//! the metrics are read, where else Proxmox VE is.

use super::{ConfigError, Settings};
use crate::observe::MetricsAddress;

/// What is done with answers, and who may read what is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Whether answers are compressed. Proxmox VE is asked for plain ones either way.
    pub compression: bool,
    /// Where metrics are read; nowhere by default.
    pub metrics_listen: Option<MetricsAddress>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { compression: true, metrics_listen: None }
    }
}

impl Settings {
    pub(super) fn traffic(&self) -> Result<Traffic, ConfigError> {
        let default = Traffic::default();
        let metrics_listen = self.metrics_listen.as_deref().map(str::parse).transpose();
        Ok(Traffic {
            compression: self.compression.unwrap_or(default.compression),
            metrics_listen: metrics_listen
                .map_err(|error| ConfigError::new("metrics_listen", &error))?,
        })
    }
}
