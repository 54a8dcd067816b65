//! What the gate counts.

use telemetry::metrics::{Counter, Family, Gauge, MetricError, Registry};

/// The gate's families in the process's registry; clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Answers by the first digit of their status, found without a look-up.
    classes: [Counter; 5],
    bytes: Counter,
    refusals: Family<Counter, 1>,
    connections: Family<Counter, 1>,
    open: Gauge,
    upstream: Family<Counter, 1>,
    logins: Family<Counter, 2>,
}

impl Metrics {
    /// Registers the families. Once per registry.
    pub(crate) fn register(registry: &Registry) -> Result<Self, MetricError> {
        let requests = registry.counter(
            "gate_requests",
            "Requests by the class of their answer",
            ["class"],
        )?;
        let bytes = registry.counter("gate_answer_bytes", "Body bytes sent to clients", [])?;
        let open = registry.gauge("gate_open_connections", "Client connections open", [])?;
        Ok(Self {
            classes: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| requests.with([class])),
            bytes: bytes.with([]),
            refusals: registry.counter(
                "gate_refusals",
                "Requests the gate answered by itself, by rule",
                ["rule"],
            )?,
            connections: registry.counter(
                "gate_connections",
                "Client connections, by what became of them",
                ["outcome"],
            )?,
            open: open.with([]),
            upstream: registry.counter(
                "gate_upstream",
                "Connections made to Proxmox VE and requests repeated; failures are refusals",
                ["event"],
            )?,
            logins: registry.counter(
                "gate_logins",
                "Logins by channel: success, failure, lock, ban; locked, banned, busy are refused",
                ["channel", "outcome"],
            )?,
        })
    }

    /// One answer with so many bytes of body.
    pub(crate) fn request(&self, status: u16, bytes: u64) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.classes.get(class) {
            counter.inc();
        }
        self.bytes.inc_by(bytes);
    }

    pub(crate) fn refusal(&self, rule: &str) {
        self.refusals.with([rule]).inc();
    }

    pub(crate) fn connection(&self, outcome: &str) {
        self.connections.with([outcome]).inc();
    }

    /// A connection that is open until the result is dropped, however it ends.
    pub(crate) fn open(&self) -> Open {
        self.open.inc();
        Open(self.open.clone())
    }

    /// Connections open now.
    pub(crate) fn open_now(&self) -> i64 {
        self.open.get()
    }

    pub(crate) fn upstream(&self, event: &str) {
        self.upstream.with([event]).inc();
    }

    pub(crate) fn login(&self, channel: &str, outcome: &str) {
        self.logins.with([channel, outcome]).inc();
    }
}

/// One open connection in the gauge.
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
