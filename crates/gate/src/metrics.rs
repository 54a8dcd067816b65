//! What the gate counts. Every family is explained in docs/guides/operate.md, which a test holds
//! against this.

use std::sync::Arc;
use std::time::Duration;

use telemetry::metrics::{Counter, Family, Gauge, Histogram, MetricError, Registry};
use tls::Validity;

use crate::endpoint::{ENDPOINTS, Endpoint};

/// Upper bounds of the times of requests, in seconds: from what the gate answers by itself to a
/// call that waits for another node.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Every limit that can be hit, and what happens then. Counted from the start, so that a limit
/// never hit is seen to be 0.
pub(crate) const LIMITS: [(&str, &str); 19] = [
    ("connections", "no place for a connection, of all or of its address: closed"),
    ("silent_per_address", "the oldest connection without a request loses its place"),
    ("handshake_seconds", "a handshake that takes too long: closed"),
    ("head", "a head that is too large, or has too many lines: 431"),
    ("head_seconds", "a head that takes too long: 408"),
    ("body", "a body that is too large: refused"),
    ("body_seconds", "a body that takes too long: 408"),
    ("upstream_response_seconds", "Proxmox VE does not answer: 504"),
    ("upstream_idle", "a kept connection to Proxmox VE is closed for another"),
    ("permissions", "permissions of a caller are not kept: asked for again"),
    ("tickets", "too many tickets are remembered to be good: all are verified anew"),
    ("ticket_key_look", "no look at the key of tickets in time: Proxmox VE decides alone"),
    ("tunnel_idle_seconds", "nothing moves in a console for too long: closed"),
    ("tunnels_unheard", "no gate says whether consoles kept after a takeover may go on: closed"),
    ("compressions", "an answer goes out plain"),
    ("assets", "a file of the interface makes room for another"),
    ("asset", "a file of the interface is too large to be kept"),
    ("answers", "too many shared answers: asked for alone"),
    ("followers", "too many wait for one answer: asked for alone"),
];

/// Limits whose hitting is a refusal, by the refusal's rule.
const OF_RULES: [(&str, &str); 5] = [
    ("head-too-large", "head"),
    ("head-timeout", "head_seconds"),
    ("body-too-large", "body"),
    ("body-timeout", "body_seconds"),
    ("upstream-timeout", "upstream_response_seconds"),
];

/// Limits whose hitting is the end of a connection, by its outcome.
const OF_OUTCOMES: [(&str, &str); 3] = [
    ("busy", "connections"),
    ("silent", "silent_per_address"),
    ("handshake_timeout", "handshake_seconds"),
];

/// The gate's families in the process's registry; clones count into the same.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    /// Answers by the first digit of their status, found without a look-up.
    classes: [Counter; 5],
    /// The same for each endpoint.
    endpoints: [Timed; ENDPOINTS.len()],
    in_flight: Gauge,
    bytes: Counter,
    refusals: Family<Counter, 1>,
    connections: Family<Counter, 1>,
    open: Gauge,
    upstream: Family<Counter, 1>,
    idle: Gauge,
    up: Family<Gauge, 1>,
    logins: Family<Counter, 2>,
    warnings: Gauge,
    certificate: Gauge,
    certificate_refused: Gauge,
    successor_wanted: Gauge,
    certificates: Family<Counter, 1>,
    caches: Family<Counter, 2>,
    limits: Family<Counter, 1>,
    standing: Family<Gauge, 1>,
}

#[derive(Debug)]
struct Timed {
    classes: [Counter; 5],
    seconds: Histogram,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    /// Registers the families. Once per registry.
    pub(crate) fn register(registry: &Registry) -> Result<Self, MetricError> {
        let requests = registry.counter(
            "gate_requests",
            "Requests by the class of their answer",
            ["class"],
        )?;
        let endpoints = timed(registry)?;
        let in_flight = registry.gauge("gate_requests_in_flight", "Requests under way", [])?;
        let bytes = registry.counter("gate_answer_bytes", "Body bytes sent to clients", [])?;
        let warnings = registry.gauge(
            "gate_configuration_warnings",
            "Values of the configuration that are in force and warned of",
            [],
        )?;
        let certificate = registry.gauge(
            "gate_certificate_expiry_seconds",
            "When the certificate shown expires, in seconds since 1970",
            [],
        )?;
        let refused = registry.gauge(
            "gate_certificate_refused",
            "1 while the certificate files hold what can not be used",
            [],
        )?;
        let successor = registry.gauge(
            "gate_successor_wanted",
            "1 where files are out of reach for good, until another process takes over",
            [],
        )?;
        let open = registry.gauge("gate_open_connections", "Client connections open", [])?;
        let idle = registry.gauge(
            "gate_upstream_idle_connections",
            "Connections to Proxmox VE that wait for a request",
            [],
        )?;
        Ok(Self(Arc::new(Families {
            classes: CLASSES.map(|class| requests.with([class])),
            endpoints,
            in_flight: in_flight.with([]),
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
            warnings: warnings.with([]),
            certificate: certificate.with([]),
            certificate_refused: refused.with([]),
            successor_wanted: successor.with([]),
            certificates: registry.counter(
                "gate_certificates",
                "Changes of the certificate files, by what became of them",
                ["outcome"],
            )?,
            upstream: registry.counter(
                "gate_upstream",
                "Connections made to Proxmox VE and requests repeated; failures are refusals",
                ["event"],
            )?,
            idle: idle.with([]),
            up: registry.gauge(
                "gate_upstream_up",
                "Whether a destination answers: 0 after three failures in a row, until it answers again",
                ["upstream"],
            )?,
            logins: registry.counter(
                "gate_logins",
                "Logins by channel: success, failure, lock, ban; locked, banned, busy are refused",
                ["channel", "outcome"],
            )?,
            caches: registry.counter(
                "gate_cache",
                "Answers that were kept, by what became of a look for one",
                ["cache", "event"],
            )?,
            limits: limits(registry)?,
            standing: registry.gauge(
                "gate_standing",
                "Sessions, bans and locks in force, and what the state has lost, when last read",
                ["of"],
            )?,
        })))
    }

    /// One answer with so many bytes of body, after so long.
    pub(crate) fn request(&self, endpoint: Endpoint, status: u16, bytes: u64, took: Duration) {
        let class = usize::from(status / 100).saturating_sub(1);
        let timed = self.0.endpoints.get(endpoint as usize);
        let counters = [Some(&self.0.classes), timed.map(|timed| &timed.classes)];
        for counter in counters.into_iter().flatten().filter_map(|classes| classes.get(class)) {
            counter.inc();
        }
        if let Some(timed) = timed {
            timed.seconds.observe(took.as_secs_f64());
        }
        self.0.bytes.inc_by(bytes);
        self.0.in_flight.dec();
    }

    /// A request has begun; [`Self::request`] ends it.
    pub(crate) fn begin(&self) {
        self.0.in_flight.inc();
    }

    pub(crate) fn refusal(&self, rule: &str) {
        self.0.refusals.with([rule]).inc();
        self.limit_of(&OF_RULES, rule);
    }

    pub(crate) fn connection(&self, outcome: &str) {
        self.0.connections.with([outcome]).inc();
        self.limit_of(&OF_OUTCOMES, outcome);
    }

    /// So many values of the configuration are warned of.
    pub(crate) fn warnings(&self, count: usize) {
        self.0.warnings.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The certificate that is shown.
    pub(crate) fn certificate(&self, validity: Option<Validity>) {
        let end = validity.map_or(0, |validity| validity.not_after);
        self.0.certificate.set(i64::try_from(end).unwrap_or(i64::MAX));
    }

    /// Whether its files hold what can not be used.
    pub(crate) fn certificate_refused(&self, refused: bool) {
        self.0.certificate_refused.set(i64::from(refused));
    }

    /// Files are out of reach until another process takes over.
    pub(crate) fn successor_wanted(&self) {
        self.0.successor_wanted.set(1);
    }

    /// A change of its files: `shown` or `refused`.
    pub(crate) fn certificate_changed(&self, outcome: &str) {
        self.0.certificates.with([outcome]).inc();
    }

    /// A connection that is open until the result is dropped, however it ends.
    pub(crate) fn open(&self) -> Open {
        self.0.open.inc();
        Open(self.0.open.clone())
    }

    /// Connections open now.
    pub(crate) fn open_now(&self) -> i64 {
        self.0.open.get()
    }

    pub(crate) fn upstream(&self, event: &str) {
        self.0.upstream.with([event]).inc();
    }

    /// Whether a destination is used.
    pub(crate) fn up(&self, upstream: &str) -> Gauge {
        self.0.up.with([upstream])
    }

    /// Connections to Proxmox VE that wait for a request.
    pub(crate) fn idle(&self) -> &Gauge {
        &self.0.idle
    }

    /// Of `assets` or `answers`: what became of a look.
    pub(crate) fn cache(&self, cache: &str, event: &str) {
        self.0.caches.with([cache, event]).inc();
    }

    /// A limit was hit.
    pub(crate) fn limit(&self, limit: &str) {
        self.0.limits.with([limit]).inc();
    }

    pub(crate) fn login(&self, channel: &str, outcome: &str) {
        self.0.logins.with([channel, outcome]).inc();
    }

    /// What is counted when somebody reads it.
    pub(crate) fn standing(&self, of: &str, number: u64) {
        self.0.standing.with([of]).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    fn limit_of(&self, table: &[(&str, &str)], word: &str) {
        if let Some((_, limit)) = table.iter().find(|(have, _)| *have == word) {
            self.limit(limit);
        }
    }
}

/// What is counted of each class of endpoints.
fn timed(registry: &Registry) -> Result<[Timed; ENDPOINTS.len()], MetricError> {
    let of_endpoint = registry.counter(
        "gate_endpoint_requests",
        "Requests by what they ask for and the class of their answer",
        ["endpoint", "class"],
    )?;
    let seconds = registry.histogram(
        "gate_request_seconds",
        "From a request's head to the last byte of its answer, by what it asks for",
        ["endpoint"],
        SECONDS,
    )?;
    Ok(ENDPOINTS.map(|(endpoint, _)| Timed {
        classes: CLASSES.map(|class| of_endpoint.with([endpoint, class])),
        seconds: seconds.with([endpoint]),
    }))
}

/// Every limit, from 0.
fn limits(registry: &Registry) -> Result<Family<Counter, 1>, MetricError> {
    let limits = registry.counter(
        "gate_limits",
        "Times that something was refused, dropped or not kept for a named limit",
        ["limit"],
    )?;
    for (limit, _) in LIMITS {
        let _ = limits.with([limit]);
    }
    Ok(limits)
}

/// One open connection in the gauge.
pub(crate) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::{ENDPOINTS, LIMITS, Metrics, OF_OUTCOMES, OF_RULES};
    use telemetry::metrics::Registry;

    const GUIDE: &str = include_str!("../../../docs/guides/operate.md");

    /// The guide names every family with its own words, every endpoint and every limit, and no
    /// family that is not there.
    #[test]
    fn the_guide_says_what_is_counted() {
        let registry = Registry::new();
        Metrics::register(&registry).unwrap();
        let exposition = registry.encode();
        let helps = exposition.lines().filter_map(|line| line.strip_prefix("# HELP proxward_"));
        let mut names = Vec::new();
        for help in helps {
            let (name, text) = help.split_once(' ').unwrap();
            names.push(name);
            let row = format!("| {} |", text.trim_end_matches('.'));
            let named = |line: &&str| {
                let rest = line.strip_prefix(&format!("| `proxward_{name}")).unwrap_or_default();
                ["_total{", "_total`", "{", "`"].iter().any(|next| rest.starts_with(next))
            };
            let line = GUIDE.lines().find(named).unwrap_or_else(|| panic!("{name}"));
            assert!(line.ends_with(&row), "{line:?} should end with {row:?}");
        }
        let others = |line: &&str| line.starts_with("| `proxward_cell_");
        let rows = GUIDE.lines().filter(|line| line.starts_with("| `proxward_"));
        let written = rows.filter(|line| !others(line)).count();
        assert_eq!(written, names.len());
        for (name, meaning) in ENDPOINTS.into_iter().chain(LIMITS) {
            assert!(GUIDE.contains(&format!("| `{name}` | {meaning} |")), "{name}");
        }
    }

    #[test]
    fn what_ends_by_a_limit_counts_as_one() {
        for (_, limit) in OF_RULES.iter().chain(&OF_OUTCOMES) {
            assert!(LIMITS.iter().any(|(name, _)| name == limit), "{limit}");
        }
    }
}
