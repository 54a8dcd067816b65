//! The keys of `[gate]` about how answers come and go: compression and what is kept of them, where
//! the metrics are read, where else Proxmox VE is.

use serde::Deserialize;
use tls::Trust;

use super::{ConfigError, Settings};
use crate::destination::Destination;
use crate::limits::UPSTREAMS;
use crate::observe::MetricsAddress;

/// What is done with answers, and who may read what is counted.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Whether answers are compressed. Proxmox VE is asked for plain ones either way.
    pub compression: bool,
    /// Where metrics are read; nowhere by default.
    pub metrics_listen: Option<MetricsAddress>,
    /// Where else Proxmox VE is, in the order in which they stand in for the first.
    pub fallback: Vec<Destination>,
}

/// An entry of `[[gate.upstream_fallback]]` as it is written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct FallbackSettings {
    /// As `gate.upstream`.
    pub url: String,
    /// SHA-256 of the certificate it shows. Without it, `gate.upstream_ca` has to have signed that.
    pub fingerprint: Option<String>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { compression: true, metrics_listen: None, fallback: Vec::new() }
    }
}

impl Settings {
    /// `trust` is that of `gate.upstream`.
    pub(super) fn traffic(&self, trust: Option<&Trust>) -> Result<Traffic, ConfigError> {
        let default = Traffic::default();
        let metrics_listen = self.metrics_listen.as_deref().map(str::parse).transpose();
        Ok(Traffic {
            compression: self.compression.unwrap_or(default.compression),
            metrics_listen: metrics_listen
                .map_err(|error| ConfigError::new("metrics_listen", &error))?,
            fallback: self.fallback(trust)?,
        })
    }

    fn fallback(&self, trust: Option<&Trust>) -> Result<Vec<Destination>, ConfigError> {
        let wrong = |what: &dyn ToString| ConfigError::new("upstream_fallback", &what.to_string());
        if self.upstream_fallback.len() >= UPSTREAMS {
            return Err(wrong(&format!("more than {} entries; name fewer", UPSTREAMS - 1)));
        }
        // A pin is of one certificate; an authority may have signed those of all nodes.
        let authority = trust.filter(|trust| matches!(trust, Trust::Authority(_)));
        let destination = |entry: &FallbackSettings| {
            let pin = entry.fingerprint.as_deref().map(str::parse).transpose();
            let pin = pin.map_err(|error| wrong(&error))?.map(Trust::Pin);
            Destination::new(&entry.url, pin.as_ref().or(authority)).map_err(|error| wrong(&error))
        };
        self.upstream_fallback.iter().map(destination).collect()
    }
}
