//! Bans in the packet filter: what is banned here is shut out of every port of this node, by the
//! broker's verb.
//!
//! The gate's own ban holds at once and without this. A thread of its own tells the broker, again
//! and again until it has heard: what is wanted is a set, not a list of orders, so nothing is lost
//! while the broker is away, and nothing waits in a queue. Now and then the filter is compared
//! with the set, so that a flushed table is filled again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use broker_api::{Client, Outcome, Request};
use serde_json::{Value, json};
use telemetry::Clock;
use tracing::{info, warn};

use crate::limits::{BROKER_BANS, BROKER_PAUSES, BROKER_RESYNC, BROKER_WAIT, LOGIN_BANS_KEPT};
use crate::source::source_text;

/// The way to the thread. Dropping it ends the thread; the filter's bans run out by themselves.
pub(crate) struct Enforcer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    socket: PathBuf,
    clock: Clock,
    wanted: Mutex<Wanted>,
    wake: Condvar,
    reached: AtomicBool,
}

#[derive(Default)]
struct Wanted {
    /// Until when, on the monotonic clock.
    bans: BTreeMap<IpAddr, Duration>,
    /// To be taken out, although another process of the gate may have put them in.
    free: BTreeSet<IpAddr>,
    changed: bool,
    over: bool,
}

impl Enforcer {
    /// Tells the broker at `socket`.
    pub(super) fn start(socket: PathBuf, clock: &Clock) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            socket,
            clock: clock.clone(),
            wanted: Mutex::default(),
            wake: Condvar::new(),
            reached: AtomicBool::new(false),
        });
        let working = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("gate-bans".to_owned());
        let thread = Some(thread.spawn(move || working.run())?);
        Ok(Self { shared, thread })
    }

    /// Shuts a source out until then, on the monotonic clock.
    pub(super) fn ban(&self, source: IpAddr, until: Duration) {
        let mut wanted = self.shared.wanted();
        if wanted.bans.len() < LOGIN_BANS_KEPT || wanted.bans.contains_key(&source) {
            wanted.free.remove(&source);
            wanted.bans.insert(source, until);
            wanted.changed = true;
            self.shared.wake.notify_one();
        }
    }

    /// Lets a source in again.
    pub(super) fn free(&self, source: IpAddr) {
        let mut wanted = self.shared.wanted();
        wanted.bans.remove(&source);
        if wanted.free.len() < LOGIN_BANS_KEPT {
            wanted.free.insert(source);
        }
        wanted.changed = true;
        self.shared.wake.notify_one();
    }

    /// Whether the broker has taken everything over when it was last asked.
    pub(super) fn reached(&self) -> bool {
        self.shared.reached.load(Ordering::Relaxed)
    }
}

impl Drop for Enforcer {
    fn drop(&mut self) {
        self.shared.wanted().over = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        // Failed tries in a row.
        let mut failed: u32 = 0;
        loop {
            let Some((bans, free)) = self.due(failed) else { return };
            match self.reconcile(&bans, &free) {
                Ok(()) => {
                    if !self.reached.swap(true, Ordering::Relaxed) {
                        info!("the packet filter holds the gate's bans");
                    }
                    failed = 0;
                }
                Err(why) => {
                    if self.reached.swap(false, Ordering::Relaxed) || failed == 0 {
                        warn!(
                            why,
                            "the packet filter does not hold the gate's bans; the gate does"
                        );
                    }
                    failed = failed.saturating_add(1);
                    let mut wanted = self.wanted();
                    let again: Vec<IpAddr> =
                        free.into_iter().filter(|one| !wanted.bans.contains_key(one)).collect();
                    wanted.free.extend(again);
                }
            }
        }
    }

    /// Waits until something changes or a comparison is due; after a failure, for a pause that
    /// grows. `None` at the end.
    fn due(&self, failed: u32) -> Option<(BTreeMap<IpAddr, Duration>, BTreeSet<IpAddr>)> {
        let pause = match failed {
            0 => BROKER_RESYNC,
            n => BROKER_PAUSES
                .1
                .min(BROKER_PAUSES.0.saturating_mul(1 << n.min(10).saturating_sub(1))),
        };
        let idle = |wanted: &mut Wanted| !wanted.over && (failed > 0 || !wanted.changed);
        let waited = self.wake.wait_timeout_while(self.wanted(), pause, idle);
        let (mut wanted, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if wanted.over {
            return None;
        }
        wanted.changed = false;
        let now = self.clock.monotonic();
        wanted.bans.retain(|_, until| *until > now);
        let free = std::mem::take(&mut wanted.free);
        Some((wanted.bans.clone(), free))
    }

    /// Puts in what is missing, takes out what was freed.
    fn reconcile(
        &self,
        bans: &BTreeMap<IpAddr, Duration>,
        free: &BTreeSet<IpAddr>,
    ) -> Result<(), String> {
        if bans.is_empty() && free.is_empty() {
            return Ok(());
        }
        let failed = |error: broker_api::ClientError| error.to_string();
        let mut client = Client::connect(&self.socket, BROKER_WAIT).map_err(failed)?;
        let mut call = |request: Request| {
            let answer = client.call(request, |_| {}).map_err(failed)?;
            match answer.outcome {
                Outcome::Done { result, .. } => Ok(result),
                Outcome::Refused { message, .. } => Err(message),
            }
        };
        let list = call(Request::new("ban.list"))?;
        let rows = list.get("bans").and_then(Value::as_array).into_iter().flatten();
        let there: BTreeSet<&str> =
            rows.filter_map(|row| row.get("address").and_then(Value::as_str)).collect();
        let freed: Vec<String> =
            free.iter().map(|one| source_text(*one)).filter(|one| there.contains(&**one)).collect();
        for some in freed.chunks(BROKER_BANS) {
            call(Request::new("ban.apply").with("remove", json!(some)))?;
        }
        let now = self.clock.monotonic();
        let mut missing: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (source, until) in bans {
            let text = source_text(*source);
            if !there.contains(&*text) {
                let left = rounded(until.saturating_sub(now).as_secs().max(1));
                missing.entry(left).or_default().push(text);
            }
        }
        for (seconds, sources) in missing {
            for some in sources.chunks(BROKER_BANS) {
                let request = Request::new("ban.apply").with("add", json!(some));
                call(request.with("seconds", seconds))?;
            }
        }
        Ok(())
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Down to one of eight steps in each doubling, so that many bans need few calls. One that runs
/// out early is put in again with the next comparison.
fn rounded(seconds: u64) -> u64 {
    let digits = u64::BITS - seconds.leading_zeros();
    let drop = digits.saturating_sub(4);
    seconds >> drop << drop
}

#[cfg(test)]
mod tests {
    use super::{Enforcer, rounded};
    use broker_api::frame;
    use serde_json::{Value, json};
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;
    use telemetry::Clock;

    /// Stands for the broker: one connection, requests as they come; `list` is what is there.
    fn broker(socket: &Path, list: Value, connections: usize) -> Receiver<Value> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let (sender, seen) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(connections) {
                serve(stream.unwrap(), &list, &sender);
            }
        });
        seen
    }

    fn serve(mut stream: std::os::unix::net::UnixStream, list: &Value, seen: &Sender<Value>) {
        let (mut bytes, mut part) = (Vec::new(), [0; 65536]);
        loop {
            while let Some((body, used)) = frame::request(&bytes).unwrap() {
                let request: Value = serde_json::from_slice(body).unwrap();
                let result = if request["verb"] == "ban.list" {
                    json!({ "bans": list })
                } else {
                    seen.send(request["params"].clone()).unwrap();
                    json!({})
                };
                let text = json!({"v": 1, "correlation_id": "abcd1234", "seq": 1, "id": request["id"], "result": result});
                let mut out = Vec::new();
                frame::push(&mut out, text.to_string().as_bytes()).unwrap();
                stream.write_all(&out).unwrap();
                bytes.drain(..used);
            }
            match stream.read(&mut part).unwrap() {
                0 => return,
                read => bytes.extend_from_slice(&part[..read]),
            }
        }
    }

    const WAIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_ban_is_told_although_the_broker_comes_later_and_an_unban_too() {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("broker.sock");
        let clock = Clock::system();
        let enforcer = Enforcer::start(socket.clone(), &clock).unwrap();
        let until = clock.monotonic() + Duration::from_secs(600);
        enforcer.ban("192.0.2.1".parse().unwrap(), until);
        enforcer.ban("2001:db8:0:1::".parse().unwrap(), until);
        enforcer.ban("192.0.2.9".parse().unwrap(), until);
        let there = json!([{"address": "192.0.2.9"}, {"address": "198.51.100.1"}]);
        let seen = broker(&socket, there, 2);
        let told = seen.recv_timeout(WAIT).unwrap();
        let mut added: Vec<_> =
            told["add"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        added.sort_unstable();
        assert_eq!(added, ["192.0.2.1", "2001:db8:0:1::/64"], "only what is missing");
        assert!((500..=600).contains(&told["seconds"].as_u64().unwrap()), "{told}");
        enforcer.free("192.0.2.9".parse().unwrap());
        let told = seen.recv_timeout(WAIT).unwrap();
        assert_eq!(told, json!({"remove": ["192.0.2.9"]}), "others' bans are not touched");
    }

    #[test]
    fn times_are_rounded_down_to_few() {
        for (seconds, expected) in [(1, 1), (15, 15), (17, 16), (600, 576), (86_400, 81_920)] {
            assert_eq!(rounded(seconds), expected);
        }
    }
}
