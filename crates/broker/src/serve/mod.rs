//! The process with the sockets: no rights, no files of its own but the audit log.

mod admission;
mod audit;
mod cells;
mod connection;
mod connections;
mod dispatch;
mod emit;
mod fair_queue;
mod idempotent;
mod listener;
mod metrics;
mod metrics_http;
mod readings;
mod reload;
mod sockets;
mod stream;

pub(crate) use connection::Asked;
pub(crate) use emit::{Emitter, Gone, Protocol};
pub(crate) use listener::run;
use metrics::Metrics;
pub(crate) use stream::watch;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use broker_api::Refusal;
use serde_json::Value;
use telemetry::Clock;
use telemetry::audit::Event;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::peer::Attestor;
use crate::remote::Members;
use crate::worker::Links;

/// What all connections share.
pub(crate) struct Shared {
    clock: Clock,
    /// Replaced as a whole by a reload.
    config: RwLock<Arc<Config>>,
    attestor: Attestor,
    admission: Arc<admission::Admission>,
    connections: Arc<connections::Connections>,
    strangers: Arc<Semaphore>,
    audit: audit::Audit,
    metrics: Metrics,
    links: Links,
    readings: readings::Readings,
    idempotent: idempotent::Idempotent,
    members: Members,
    cells: cells::CellNames,
}

impl Shared {
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    pub(crate) fn cells(&self) -> &cells::CellNames {
        &self.cells
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The reading `name`, taken anew when it is older than `age`.
    pub(crate) async fn reading<F>(
        &self,
        name: &str,
        age: Duration,
        read: impl FnOnce() -> F,
    ) -> Result<Value, Refusal>
    where
        F: Future<Output = Result<Value, Refusal>>,
    {
        self.readings.at_most(&self.clock, name, age, read).await
    }

    /// Gathers a record; a failure to write is counted and logged.
    fn record(&self, event: Event) {
        if self.audit.gather(event) {
            self.write_gathered();
        }
    }

    fn write_gathered(&self) {
        if let Err(error) = self.audit.write(Vec::new()) {
            self.metrics.audit_failures.inc();
            tracing::error!(%error, "audit");
        }
    }

    /// The key was made or changed.
    pub(crate) fn set_public_key(&self, key: &str) {
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let public_key = Some(key.to_owned());
        *config = Arc::new(Config { public_key, ..Config::clone(&config) });
    }

    /// The line that nodes have to know, when there is a key.
    pub(crate) fn public_key(&self) -> Option<String> {
        self.config().public_key.clone()
    }
}
