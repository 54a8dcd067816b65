use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use netpolicy::AddressSet;
use state::{Memory, Table, Writer};
use telemetry::metrics::Registry;
use telemetry::{Clock, ManualClock};

use super::{Begun, Logins, Permit};
use crate::login::attempt::Outcome;
use crate::login::{Attempt, Channel, Journal, LoginRules};
use crate::metrics::Metrics;

const ATTACKER: &str = "192.0.2.9";

fn rules() -> LoginRules {
    LoginRules {
        lock_after: 2,
        ban_after: 4,
        attempts_per_address: 3,
        waiting: 2,
        never_ban: "10.0.0.0/8".parse().unwrap(),
        ..LoginRules::default()
    }
}

struct Bench {
    logins: Logins,
    state: Arc<Writer>,
    clock: Clock,
    hands: ManualClock,
}

fn bench_with(state: Writer, kept: &[state::Entry], clock: (Clock, ManualClock)) -> Bench {
    let (clock, hands) = clock;
    let state = Arc::new(state);
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let journal = Arc::new(Journal::start(None, &rules(), &clock).unwrap());
    let proxies = ["172.16.0.1".parse().unwrap(), AddressSet::default()];
    let logins =
        Logins::new(&rules(), proxies, kept, (&clock, &metrics), (Arc::clone(&state), journal));
    Bench { logins, state, clock, hands }
}

fn bench() -> Bench {
    let state = Writer::start(Box::new(Memory::new())).unwrap();
    bench_with(state, &[], Clock::manual(Duration::from_secs(1_000_000)))
}

fn attempt(client: &str, user: &str) -> Attempt {
    Attempt::new(Channel::Json, client.parse().unwrap(), Some(user))
}

/// Time passes by itself while everything waits.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

impl Bench {
    fn pass(&self, attempt: &Attempt) -> Permit {
        match self.logins.begin(attempt) {
            Begun::Pass(permit) => permit,
            Begun::Refused(refused) => panic!("{}", refused.why),
        }
    }

    fn why(&self, attempt: &Attempt) -> &'static str {
        match self.logins.begin(attempt) {
            Begun::Pass(_) => "",
            Begun::Refused(refused) => refused.why,
        }
    }

    /// One failure; how long its answer took.
    async fn fail(&self, client: &str, user: &str) -> Duration {
        let attempt = attempt(client, user);
        let begun = tokio::time::Instant::now();
        match self.logins.begin(&attempt) {
            Begun::Pass(permit) => self.logins.end(permit, &attempt, Outcome::Failure).await,
            Begun::Refused(refused) => self.logins.refuse(&attempt, refused).await,
        }
        begun.elapsed()
    }

    fn banned(&self, client: &str) -> bool {
        self.logins.banned(client.parse::<IpAddr>().unwrap())
    }
}

#[test]
fn locked_and_banned_wait_as_long_as_a_wrong_password() {
    let bench = bench();
    block_on(async {
        let mut took = Vec::new();
        for _ in 0..6 {
            took.push(bench.fail(ATTACKER, "a@pve").await.as_secs());
        }
        // Asked twice, then locked, then banned.
        assert_eq!(took, [3, 3, 3, 24, 24, 24]);
        assert_eq!(bench.why(&attempt(ATTACKER, "a@pve")), "banned");
        assert!(bench.banned(ATTACKER) && !bench.banned("192.0.2.10"));
        bench.hands.advance(Duration::from_secs(600));
        assert!(!bench.banned(ATTACKER));
    });
}

#[test]
fn the_time_that_proxmox_took_is_within_the_delay() {
    let bench = bench();
    block_on(async {
        let attempt = attempt(ATTACKER, "a@pve");
        let permit = bench.pass(&attempt);
        bench.hands.advance(Duration::from_millis(2900));
        let begun = tokio::time::Instant::now();
        bench.logins.end(permit, &attempt, Outcome::Failure).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(100));
        let permit = bench.pass(&attempt);
        bench.hands.advance(Duration::from_millis(3100));
        let begun = tokio::time::Instant::now();
        bench.logins.end(permit, &attempt, Outcome::Failure).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    });
}

#[test]
fn success_and_what_is_undecided_neither_wait_nor_count() {
    let bench = bench();
    block_on(async {
        let attempt = attempt(ATTACKER, "a@pve");
        let begun = tokio::time::Instant::now();
        for outcome in [Outcome::Success, Outcome::Undecided].repeat(20) {
            bench.logins.end(bench.pass(&attempt), &attempt, outcome).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert_eq!(bench.why(&attempt), "");
    });
}

#[test]
fn a_source_has_its_own_places_and_takes_nobody_elses() {
    let bench = bench();
    let permits: Vec<_> =
        (0..3).map(|n| bench.pass(&attempt(ATTACKER, &format!("u{n}@pve")))).collect();
    assert_eq!(bench.why(&attempt(ATTACKER, "other@pve")), "busy");
    assert_eq!(bench.why(&attempt("192.0.2.10", "other@pve")), "");
    drop(permits);
    assert_eq!(bench.why(&attempt(ATTACKER, "other@pve")), "");
}

#[test]
fn beyond_the_most_that_wait_a_failure_is_answered_at_once_and_counted() {
    let bench = bench();
    block_on(async {
        let fail = |client| bench.fail(client, "a@pve");
        let (one, two, three) =
            tokio::join!(fail("192.0.2.1"), fail("192.0.2.2"), fail("192.0.2.3"));
        assert_eq!([one.as_secs(), two.as_secs(), three.as_secs()], [3, 3, 0]);
        assert_eq!(bench.logins.status()["waiting"], 0);
        bench.fail("192.0.2.3", "a@pve").await;
        assert_eq!(bench.why(&attempt("192.0.2.3", "a@pve")), "locked");
    });
}

#[test]
fn loopback_proxies_and_the_named_are_never_banned() {
    let bench = bench();
    block_on(async {
        for client in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "172.16.0.1"] {
            for _ in 0..10 {
                bench.fail(client, "a@pve").await;
            }
            assert!(!bench.banned(client), "{client}");
            assert_eq!(bench.why(&attempt(client, "a@pve")), "", "{client}");
        }
    });
}

#[test]
fn a_ban_is_kept_over_a_restart_and_removed_for_good() {
    let bench = bench();
    block_on(async {
        for _ in 0..4 {
            bench.fail("2001:db8::1", "a@pve").await;
        }
        assert!(bench.banned("2001:db8::ffff"), "the /64");
    });
    let now = bench.clock.unix();
    let mut store = bench.state.shutdown().unwrap();
    drop(bench);

    let kept = store.load(Table::Bans).unwrap();
    assert_eq!(kept.len(), 1);
    let bench = bench_with(Writer::start(store).unwrap(), &kept, Clock::manual(now));
    assert!(bench.banned("2001:db8::2"));
    let list = bench.logins.list();
    assert_eq!(list["bans"][0]["address"], "2001:db8::/64");
    assert_eq!(list["bans"][0]["step"], 1);
    block_on(async {
        assert!(bench.logins.pardon("2001:db8::77").await.is_ok());
        assert!(!bench.banned("2001:db8::2"));
        assert!(bench.logins.pardon("2001:db8::77").await.is_err());
    });
    assert_eq!(bench.state.shutdown().unwrap().load(Table::Bans).unwrap(), []);
}
