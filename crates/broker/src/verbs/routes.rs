//! Which process does what, and how long its answer is handed out again.

use std::time::Duration;

use broker_api::{Code, Refusal, VERBS, Verb};
use serde_json::{Map, Value, json};

use super::{guests, watch};
use crate::limits::{DISK_AGE, IPMI_AGE, READING_AGE};
use crate::peer::Peer;
use crate::policy::Decision;
use crate::remote::{Cluster, NodeName};
use crate::serve::{Emitter, Gone, Protocol, Shared};
use crate::worker::WorkerKind;

/// How a verb is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// By a worker.
    Worker(WorkerKind),
    /// By a worker, at most once in this time.
    Cached(WorkerKind, Duration),
    /// By a function below.
    Here,
}

/// One row for each verb.
const ROUTES: &[(&str, Route)] = &[
    ("broker.status", Route::Here),
    ("broker.describe", Route::Here),
    ("sensors.read", Route::Here),
    ("sensors.cluster", Route::Here),
    ("disks.read", Route::Cached(WorkerKind::Devices, DISK_AGE)),
    ("ipmi.read", Route::Cached(WorkerKind::Devices, IPMI_AGE)),
    ("node.status", Route::Cached(WorkerKind::Reader, READING_AGE)),
    ("guests.cpu", Route::Here),
    ("cluster.members", Route::Here),
    ("ban.list", Route::Worker(WorkerKind::Nft)),
    ("ban.apply", Route::Worker(WorkerKind::Nft)),
    ("file.read", Route::Worker(WorkerKind::Files)),
    ("file.watch", Route::Here),
    ("file.write", Route::Worker(WorkerKind::Files)),
    ("file.restore", Route::Worker(WorkerKind::Files)),
    ("file.confirm", Route::Worker(WorkerKind::Files)),
    ("ban.confirm", Route::Worker(WorkerKind::Nft)),
    ("cell.list", Route::Worker(WorkerKind::Cells)),
    ("cell.start", Route::Worker(WorkerKind::Cells)),
    ("cell.stop", Route::Worker(WorkerKind::Cells)),
    ("cell.confirm", Route::Worker(WorkerKind::Cells)),
    ("command.run", Route::Worker(WorkerKind::Commands)),
    ("nodes.register", Route::Here),
    ("keys.ensure", Route::Worker(WorkerKind::Files)),
    ("keys.rotate", Route::Worker(WorkerKind::Files)),
    ("cleanup.request", Route::Worker(WorkerKind::Files)),
];

type Outcome = Result<Value, Refusal>;

/// Does what a verb says. The peer may have it, and its parameters are of their kinds.
pub(crate) async fn run(
    emitter: &mut Emitter<'_>,
    peer: &Peer,
    verb: &'static Verb,
    params: &Map<String, Value>,
) -> Result<Outcome, Gone> {
    let shared = emitter.shared();
    let route = ROUTES.iter().find(|(name, _)| *name == verb.name).map(|(_, route)| *route);
    let outcome = match route {
        Some(Route::Worker(kind)) => call(shared, kind, verb.name, params).await,
        Some(Route::Cached(kind, age)) => {
            let name = format!("{} {}", verb.name, Value::Object(params.clone()));
            shared.reading(&name, age, || call(shared, kind, verb.name, params)).await
        }
        // Apart from the others: what it keeps while it waits would make every connection larger.
        Some(Route::Here) => return Box::pin(here(emitter, peer, verb, params)).await,
        None => Err(Refusal::new(Code::Internal, "a verb without a route")),
    };
    Ok(outcome.map(|value| shaped(emitter, verb, value, params)))
}

fn shaped(emitter: &Emitter<'_>, verb: &Verb, value: Value, params: &Map<String, Value>) -> Value {
    match emitter.protocol() {
        Protocol::Own => value,
        Protocol::Pulse => crate::pulse::shaped(verb.name, value, params),
    }
}

async fn here(
    emitter: &mut Emitter<'_>,
    peer: &Peer,
    verb: &'static Verb,
    params: &Map<String, Value>,
) -> Result<Outcome, Gone> {
    let shared = emitter.shared();
    let outcome = match verb.name {
        "broker.status" => Ok(status(shared, peer)),
        "broker.describe" => {
            Ok(json!({"version": broker_api::VERSION, "verbs": VERBS.iter().map(Verb::describe).collect::<Vec<_>>()}))
        }
        "sensors.read" => sensors(shared, params).await,
        "sensors.cluster" => fan_out(shared, peer, params).await,
        "cluster.members" => cluster(shared).await.map(|(cluster, stale)| {
            json!({"members": cluster.members, "node": cluster.own, "source": cluster.source, "stale": stale})
        }),
        "nodes.register" => register(shared).await,
        "guests.cpu" => return guests::stream(emitter, params).await,
        "file.watch" => return watch::stream(emitter, params).await,
        _ => Err(Refusal::new(Code::Internal, "a verb without a function")),
    };
    Ok(outcome.map(|value| shaped(emitter, verb, value, params)))
}

pub(super) async fn call(
    shared: &Shared,
    kind: WorkerKind,
    verb: &str,
    params: &Map<String, Value>,
) -> Outcome {
    let within = shared.config().settings.limits.handler();
    let outcome = shared.links().call(kind, verb, params, within).await.map(|done| done.value);
    match (kind, &outcome) {
        (WorkerKind::Cells, Ok(value)) => shared.cells().learn(value),
        (WorkerKind::Files, Ok(value)) => {
            if let Some(key) = value.get("public_key").and_then(Value::as_str) {
                shared.set_public_key(key);
            }
        }
        _ => {}
    }
    outcome
}

fn status(shared: &Shared, peer: &Peer) -> Value {
    let config = shared.config();
    let given: Vec<_> = config.policy.grants(peer).collect();
    let mut groups: Vec<&str> = given.iter().map(|(verb, _)| verb.group.name()).collect();
    let grants: Map<String, Value> =
        given.into_iter().map(|(verb, targets)| (verb.name.to_owned(), json!(targets))).collect();
    groups.sort_unstable();
    groups.dedup();
    let workers: Vec<&str> = shared.links().running().into_iter().map(WorkerKind::name).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"), "protocol": broker_api::VERSION,
        "peer": peer.key().as_str(), "capabilities": groups, "grants": grants, "workers": workers,
        "public_key": shared.public_key(), "ssh_dir": config.settings.state.join("ssh"),
        "degraded": config.settings.allow_degraded,
    })
}

/// Of this host, or of another node.
async fn sensors(shared: &Shared, params: &Map<String, Value>) -> Outcome {
    let format = params.get("format").and_then(Value::as_str).unwrap_or("model");
    if let Some(text) = params.get("node").and_then(Value::as_str) {
        let refused = || Refusal::new(Code::InvalidParameter, "invalid node name");
        let node = NodeName::parse(text).ok_or_else(refused)?;
        let (cluster, _) = cluster(shared).await?;
        if !cluster.is_own(&node) {
            return remote(
                shared,
                &node,
                format,
                &cluster,
                shared.config().settings.limits.handler(),
            )
            .await;
        }
        crate::remote::judge_own(&shared.config().settings.nodes, &cluster, &node)?;
    }
    local(shared, format).await
}

async fn local(shared: &Shared, format: &str) -> Outcome {
    let name = format!("sensors.read {format}");
    let read = || async {
        let mut asked = Map::new();
        asked.insert("format".to_owned(), json!(format));
        asked.insert("awake".to_owned(), awake(shared).await);
        call(shared, WorkerKind::Reader, "sensors.read", &asked).await
    };
    shared.reading(&name, READING_AGE, read).await
}

/// Disks that do not sleep, so that reading their temperature wakes nobody. Asked only where the
/// kernel has such sensors at all; without an answer none is read.
async fn awake(shared: &Shared) -> Value {
    let nothing = Map::new();
    let asked = || call(shared, WorkerKind::Reader, "sensors.waking", &nothing);
    let waking = shared.reading("sensors.waking", DISK_AGE, asked).await;
    if !waking.is_ok_and(|found| found.get("waking") == Some(&json!(true))) {
        return json!([]);
    }
    let asked = || call(shared, WorkerKind::Devices, "disks.awake", &nothing);
    let found = shared.reading("disks.awake", DISK_AGE, asked).await;
    found.ok().and_then(|found| found.get("awake").cloned()).unwrap_or_else(|| json!([]))
}

async fn remote(
    shared: &Shared,
    node: &NodeName,
    format: &str,
    cluster: &Cluster,
    within: Duration,
) -> Outcome {
    let settings = shared.config().settings.nodes.clone();
    // What needs no address is decided before anything is sent to anybody.
    crate::remote::judge_name(&settings, cluster, node)?;
    let name = format!("node {} {format}", node.text());
    let read = || async {
        let began = shared.clock().monotonic();
        let mut asked = Map::new();
        asked.insert("node".to_owned(), json!(node.text()));
        asked.insert("format".to_owned(), json!(format));
        asked.insert("cluster".to_owned(), json!(cluster));
        let outcome = shared.links().call(WorkerKind::Ssh, "sensors.read", &asked, within).await;
        let outcome = outcome.map(|done| done.value);
        let took = shared.clock().monotonic().saturating_sub(began);
        shared.metrics().node(&node.text(), outcome.as_ref().err(), took);
        if let Err(refusal) = &outcome
            && refusal.code == Code::HostKeyChanged
        {
            tracing::error!(node = node.text(), "the host key has changed: refused");
        }
        outcome
    };
    shared.reading(&name, READING_AGE, read).await
}

/// Every member at once that the peer may read; who fails has an error in its place.
async fn fan_out(shared: &Shared, peer: &Peer, params: &Map<String, Value>) -> Outcome {
    let budget = params.get("budget_ms").and_then(Value::as_u64).unwrap_or(10_000);
    let budget = Duration::from_millis(budget);
    let (cluster, stale) = cluster(shared).await?;
    let members = cluster.members.clone().unwrap_or_default();
    let config = shared.config();
    let may = |name: &str| {
        let target = format!("node/{name}");
        let verb = Verb::find("sensors.read");
        let decision = verb.map(|verb| config.policy.decide(peer, verb, &target));
        matches!(decision, Some(Decision::Allowed(_)))
    };
    let one = |member: crate::remote::Member| {
        let (cluster, may) = (&cluster, member.local || may(&member.name));
        async move {
            let outcome = match NodeName::parse(&member.name) {
                _ if member.local => local(shared, "model").await,
                _ if !may => {
                    let text = "no rule gives this peer sensors.read on this node";
                    Err(Refusal::new(Code::Forbidden, text))
                }
                Some(node) => remote(shared, &node, "model", cluster, budget).await,
                None => Err(Refusal::new(Code::TargetRefused, "invalid node name")),
            };
            (member.name, outcome)
        }
    };
    let found = crate::race::all(members.into_iter().map(one)).await;
    let mut nodes = Map::new();
    let mut failed = 0_u64;
    for (name, outcome) in found {
        let value = match outcome {
            Ok(value) => json!({"ok": true, "sensors": value}),
            Err(refusal) => {
                failed += 1;
                json!({"ok": false, "error": refusal.message, "code": refusal.code.number()})
            }
        };
        nodes.insert(name, value);
    }
    if nodes.is_empty() {
        nodes.insert(
            cluster.own.clone(),
            json!({"ok": true, "sensors": local(shared, "model").await?}),
        );
    }
    Ok(json!({"nodes": nodes, "failed": failed, "members_stale": stale}))
}

/// The members, at most five minutes old; older ones, and said to be, when they can not be read.
async fn cluster(shared: &Shared) -> Result<(Cluster, bool), Refusal> {
    let now = shared.clock().monotonic();
    if let Some(cluster) = shared.members().fresh(now) {
        return Ok((cluster, false));
    }
    let read = call(shared, WorkerKind::Reader, "cluster.members", &Map::new()).await;
    let read = read.and_then(|value| {
        serde_json::from_value::<Cluster>(value)
            .map_err(|_| Refusal::new(Code::Internal, "the reader's answer has another form"))
    });
    match (read, shared.members().stale(now)) {
        (Ok(cluster), _) => {
            shared.members().keep(now, &cluster);
            Ok((cluster, false))
        }
        (Err(_), Some(cluster)) => Ok((cluster, true)),
        (Err(refusal), None) => {
            let text = format!("cluster_query_failed: {}", refusal.message);
            Err(Refusal::new(refusal.code, text).because("cluster_query_failed"))
        }
    }
}

/// As the original answers it: each member, and whether it can be asked.
async fn register(shared: &Shared) -> Outcome {
    let (cluster, _) = cluster(shared).await?;
    let members = cluster.members.clone().unwrap_or_default();
    let one = |member: crate::remote::Member| {
        let cluster = &cluster;
        async move {
            let ready = match NodeName::parse(&member.name) {
                _ if member.local => Ok(json!({})),
                Some(node) => {
                    let within = shared.config().settings.limits.handler();
                    remote(shared, &node, "model", cluster, within).await
                }
                None => Err(Refusal::new(Code::TargetRefused, "invalid node name")),
            };
            let error = ready.as_ref().err().map(|refusal| refusal.message.clone());
            match error {
                None => json!({"name": member.name, "ssh_ready": true}),
                Some(error) => json!({"name": member.name, "ssh_ready": false, "error": error}),
            }
        }
    };
    let nodes = crate::race::all(members.into_iter().map(one)).await;
    Ok(json!({"nodes": nodes}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_one_route() {
        let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
        let routed: Vec<&str> = ROUTES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.iter().filter(|name| !routed.contains(name)).count(), 0);
        assert_eq!(routed.len(), names.len());
    }
}
