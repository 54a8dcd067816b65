//! What the broker counts, under its own names and under pulse-sensor-proxy's.

use std::time::Duration;

use broker_api::{Code, Refusal};
use telemetry::metrics::{Counter, Family, Gauge, Histogram, MetricError, Registry};

/// The families of the broker.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    requests: Family<Counter, 2>,
    seconds: Family<Histogram, 1>,
    node_requests: Family<Counter, 2>,
    node_seconds: Family<Histogram, 1>,
    rate_limited: Counter,
    rejections: Family<Counter, 2>,
    penalties: Family<Counter, 2>,
    node_refusals: Family<Counter, 1>,
    host_key_changes: Family<Counter, 1>,
    oversized: Family<Counter, 1>,
    pub(crate) read_timeouts: Counter,
    pub(crate) write_timeouts: Counter,
    pub(crate) connections: Family<Counter, 1>,
    pub(crate) open: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) under_way: Gauge,
    pub(crate) peers: Gauge,
    pub(crate) audit_failures: Counter,
}

const SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const NODE_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];

/// Our name and the original's, both without prefix and suffix.
const ALIASES: [(&str, &str); 17] = [
    ("broker_requests", "rpc_requests"),
    ("broker_request_seconds", "rpc_latency_seconds"),
    ("broker_node_requests", "ssh_requests"),
    ("broker_node_seconds", "ssh_latency_seconds"),
    ("broker_waiting", "queue_depth"),
    ("broker_under_way", "global_concurrency_inflight"),
    ("broker_peers", "limiter_active_peers"),
    ("broker_rate_limited", "rate_limit_hits"),
    ("broker_rejections", "limiter_rejections"),
    ("broker_penalties", "limiter_penalties"),
    ("broker_node_refusals", "node_validation_failures"),
    ("broker_read_timeouts", "read_timeouts"),
    ("broker_write_timeouts", "write_timeouts"),
    ("broker_host_key_changes", "hostkey_changes"),
    ("broker_oversized", "ssh_output_oversized"),
    ("broker_build", "build_info"),
    ("broker_open_connections", "open_connections"),
];

impl Metrics {
    /// Registers everything in a registry of its own.
    pub(crate) fn new() -> Result<Self, MetricError> {
        let registry = Registry::new();
        let one = |name, help| registry.counter(name, help, []).map(|family| family.with([]));
        let gauge = |name, help| registry.gauge(name, help, []).map(|family| family.with([]));
        let build = registry.gauge("broker_build", "The broker's version", ["version"])?;
        build.with([env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            requests: registry.counter("broker_requests", "Requests", ["verb", "result"])?,
            seconds: registry.histogram(
                "broker_request_seconds",
                "Time of requests",
                ["verb"],
                SECONDS,
            )?,
            node_requests: registry.counter(
                "broker_node_requests",
                "Calls to nodes",
                ["node", "result"],
            )?,
            node_seconds: registry.histogram(
                "broker_node_seconds",
                "Time of calls to nodes",
                ["node"],
                NODE_SECONDS,
            )?,
            rate_limited: one(
                "broker_rate_limited",
                "Requests refused because a budget was spent",
            )?,
            rejections: registry.counter(
                "broker_rejections",
                "Requests refused by a limit",
                ["reason", "peer"],
            )?,
            penalties: registry.counter(
                "broker_penalties",
                "Debts put on budgets",
                ["reason", "peer"],
            )?,
            node_refusals: registry.counter(
                "broker_node_refusals",
                "Nodes that may not be reached",
                ["reason"],
            )?,
            host_key_changes: registry.counter(
                "broker_host_key_changes",
                "Nodes with another host key",
                ["node"],
            )?,
            oversized: registry.counter(
                "broker_oversized",
                "Answers of nodes over their limit",
                ["node"],
            )?,
            read_timeouts: one(
                "broker_read_timeouts",
                "Peers that did not finish a request in time",
            )?,
            write_timeouts: one(
                "broker_write_timeouts",
                "Peers that did not take an answer in time",
            )?,
            connections: registry.counter(
                "broker_connections",
                "Connections, by what became of them",
                ["outcome"],
            )?,
            open: gauge("broker_open_connections", "Connections open")?,
            waiting: gauge("broker_waiting", "Requests that wait for their turn")?,
            under_way: gauge("broker_under_way", "Requests under way")?,
            peers: gauge("broker_peers", "Peers whose budgets are remembered")?,
            audit_failures: one(
                "broker_audit_failures",
                "Audit records that could not be written",
            )?,
            registry,
        })
    }

    /// One request with its outcome.
    pub(crate) fn request(
        &self,
        verb: &str,
        refusal: Option<&Refusal>,
        took: Duration,
        peer: &str,
    ) {
        let result = refusal.map_or("success", |refusal| refusal.code.name());
        self.requests.with([verb, result]).inc();
        self.seconds.with([verb]).observe(took.as_secs_f64());
        match refusal.map(|refusal| refusal.code) {
            Some(Code::RateLimited) => {
                self.rate_limited.inc();
                self.rejections.with(["rate", peer]).inc();
            }
            Some(Code::Busy) => self.rejections.with(["concurrency", peer]).inc(),
            Some(Code::TargetRefused) => {
                let reason = refusal.and_then(|refusal| refusal.reason).unwrap_or("other");
                self.node_refusals.with([reason]).inc();
            }
            _ => {}
        }
    }

    pub(crate) fn penalty(&self, reason: &str, peer: &str) {
        self.penalties.with([reason, peer]).inc();
    }

    /// One call to a node.
    pub(crate) fn node(&self, node: &str, refusal: Option<&Refusal>, took: Duration) {
        let node = node_label(node);
        let result = refusal.map_or("success", |refusal| refusal.code.name());
        self.node_requests.with([&node, result]).inc();
        self.node_seconds.with([&node]).observe(took.as_secs_f64());
        match refusal.map(|refusal| refusal.code) {
            Some(Code::HostKeyChanged) => self.host_key_changes.with([&node]).inc(),
            Some(Code::OutputTooLarge) => self.oversized.with([&node]).inc(),
            _ => {}
        }
    }

    /// All of it as text; with the original's names too when asked for.
    pub(crate) fn encode(&self, pulse: bool) -> String {
        let text = self.registry.encode();
        if !pulse {
            return text;
        }
        let body = text.strip_suffix("# EOF\n").unwrap_or(&text);
        let aliases: String = body.lines().filter_map(alias).collect();
        format!("{body}{aliases}# EOF\n")
    }
}

/// The same line under the original's name.
fn alias(line: &str) -> Option<String> {
    let (comment, rest) = match line.strip_prefix("# ") {
        Some(comment) => {
            let (word, rest) = comment.split_once(' ')?;
            (format!("# {word} "), rest)
        }
        None => (String::new(), line),
    };
    let name = rest.strip_prefix("proxward_")?;
    let end = name.find(['{', ' ']).unwrap_or(name.len());
    let (name, rest) = name.split_at_checked(end)?;
    ALIASES.iter().find_map(|(ours, theirs)| {
        let suffix = name.strip_prefix(ours)?;
        let known = ["", "_total", "_sum", "_count", "_bucket"].contains(&suffix);
        let rest = rest.replace("{verb=", "{method=").replace(",verb=", ",method=");
        known.then(|| format!("{comment}pulse_proxy_{theirs}{suffix}{rest}\n"))
    })
}

/// A node's name as the original labels it: lower case, `[a-z0-9._-]`, at most 63, never empty.
fn node_label(node: &str) -> String {
    let byte = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => c,
        _ => '_',
    };
    let label: String = node.chars().take(63).map(byte).collect();
    if label.is_empty() { "unknown".to_owned() } else { label }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_names_are_there_when_asked_for() {
        let metrics = Metrics::new().unwrap();
        metrics.request("broker.status", None, Duration::from_millis(2), "uid:0");
        let refusal = Refusal::new(Code::TargetRefused, "x").because("node_not_allowlisted");
        metrics.request("sensors.read", Some(&refusal), Duration::ZERO, "uid:0");
        metrics.node("PVE 1", Some(&Refusal::new(Code::HostKeyChanged, "x")), Duration::ZERO);
        assert!(!metrics.encode(false).contains("pulse_proxy_"));
        let text = metrics.encode(true);
        for line in [
            "pulse_proxy_rpc_requests_total{method=\"broker.status\",result=\"success\"} 1\n",
            "pulse_proxy_rpc_latency_seconds_bucket{le=\"0.005\",method=\"broker.status\"} 1\n",
            "pulse_proxy_node_validation_failures_total{reason=\"node_not_allowlisted\"} 1\n",
            "pulse_proxy_hostkey_changes_total{node=\"pve_1\"} 1\n",
            "# TYPE pulse_proxy_queue_depth gauge\n",
            "pulse_proxy_read_timeouts_total{} 0\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
        assert_eq!(node_label(""), "unknown");
    }
}
