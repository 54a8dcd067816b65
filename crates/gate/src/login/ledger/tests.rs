use std::net::IpAddr;
use std::time::Duration;

use super::{Judged, Ledger, Standing};
use crate::login::attempt::UserText;
use crate::login::{Attempt, Channel, LoginRules};

const ASKED: (bool, bool) = (true, false);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn attempt(source: IpAddr, user: &str) -> Attempt {
    Attempt::new(Channel::Json, source, Some(user))
}

fn rules() -> LoginRules {
    LoginRules { lock_after: 3, ban_after: 6, slow_after: 4, ..LoginRules::default() }
}

struct Bench {
    ledger: Ledger,
    now: Duration,
}

impl Bench {
    fn new() -> Self {
        Self { ledger: Ledger::new(&rules()), now: secs(1000) }
    }

    fn fail(&mut self, source: &str, user: &str) -> Judged {
        let source = source.parse().unwrap();
        self.ledger.failure(source, &attempt(source, user), self.now, ASKED)
    }

    fn standing(&self, source: &str, user: &str) -> Standing {
        let source = source.parse().unwrap();
        self.ledger.standing(source, &attempt(source, user), self.now)
    }
}

#[test]
fn delay_then_lock_then_ban() {
    let mut bench = Bench::new();
    let mut seen = Vec::new();
    for user in ["a@pve", "a@pve", "a@pve", "b@pve", "c@pve", "d@pve"] {
        let judged = bench.fail("192.0.2.1", user);
        seen.push((judged.delay.as_secs(), judged.lock.is_some(), judged.ban.is_some()));
    }
    let expected = [
        (3, false, false),
        (3, false, false),
        (3, true, false),
        (6, false, false),
        (12, false, false),
        (24, false, true),
    ];
    assert_eq!(seen, expected);
    assert_eq!(bench.standing("192.0.2.1", "z@pve"), Standing::Banned);
    assert_eq!(bench.standing("192.0.2.2", "a@pve"), Standing::Free);
    bench.now += secs(600);
    assert_eq!(bench.standing("192.0.2.1", "a@pve"), Standing::Free);
}

#[test]
fn nobody_locks_an_account_from_everywhere() {
    let mut bench = Bench::new();
    for host in 1..=200 {
        for _ in 0..4 {
            bench.fail(&format!("203.0.113.{host}"), "root@pam");
        }
        assert_eq!(bench.standing(&format!("203.0.113.{host}"), "root@pam"), Standing::Locked);
    }
    assert_eq!(bench.standing("192.0.2.1", "root@pam"), Standing::Free);
    // A failure of the account is slow from everywhere, and that is all.
    assert_eq!(bench.fail("192.0.2.1", "root@pam").delay, secs(24));
    assert_eq!(bench.standing("192.0.2.1", "root@pam"), Standing::Free);
    assert_eq!(bench.fail("192.0.2.2", "other@pam").delay, secs(24), "its realm is slow too");
    bench.now += secs(2000);
    assert_eq!(bench.fail("192.0.2.1", "root@pam").delay, secs(3));
}

#[test]
fn bans_and_locks_double() {
    let mut bench = Bench::new();
    let mut bans = Vec::new();
    for _ in 0..3 {
        let ban = (0..6).find_map(|n| bench.fail("192.0.2.1", &format!("u{n}@pve")).ban).unwrap();
        bans.push((ban.until - bench.now).as_secs());
        bench.now = ban.until;
    }
    assert_eq!(bans, [600, 1200, 2400]);
}

#[test]
fn tries_while_locked_lead_to_a_ban_and_do_not_prolong_the_lock() {
    let mut bench = Bench::new();
    let source = "192.0.2.1".parse().unwrap();
    let until = (0..3).find_map(|_| bench.fail("192.0.2.1", "a@pve").lock).unwrap().until;
    let refused = attempt(source, "a@pve");
    let banned =
        (0..3).find_map(|_| bench.ledger.failure(source, &refused, bench.now, (false, false)).ban);
    assert!(banned.is_some());
    let locks: Vec<_> = bench.ledger.locks(bench.now).map(|(_, lock)| lock.until).collect();
    assert_eq!(locks, [until]);
}

#[test]
fn an_exempt_source_is_only_delayed() {
    let mut bench = Bench::new();
    let source = "127.0.0.1".parse().unwrap();
    for _ in 0..100 {
        let judged =
            bench.ledger.failure(source, &attempt(source, "a@pve"), bench.now, (true, true));
        assert!(judged.lock.is_none() && judged.ban.is_none() && judged.delay >= secs(3));
    }
    assert_eq!(bench.standing("127.0.0.1", "a@pve"), Standing::Free);
}

#[test]
fn the_tab_left_open_over_night_is_one_failure() {
    let mut bench = Bench::new();
    let source = "192.0.2.1".parse().unwrap();
    let mut tab = attempt(source, "a@pve");
    tab.expired = Some(7);
    for _ in 0..50 {
        let judged = bench.ledger.failure(source, &tab, bench.now, ASKED);
        assert!(judged.ban.is_none() && judged.lock.is_none());
    }
    // Different ones are guesses.
    let ban = (0..10).find_map(|mark| {
        tab.expired = Some(100 + mark);
        bench.ledger.failure(source, &tab, bench.now, ASKED).ban
    });
    assert!(ban.is_some());
}

#[test]
fn a_forged_ticket_bans_its_source_and_locks_nobody() {
    let mut bench = Bench::new();
    let source = "192.0.2.1".parse().unwrap();
    let forged = Attempt::new(Channel::Ticket, source, Some("root@pam"));
    for _ in 0..5 {
        assert!(bench.ledger.failure(source, &forged, bench.now, ASKED).lock.is_none());
    }
    assert_eq!(bench.standing("192.0.2.1", "root@pam"), Standing::Free);
    assert!(bench.ledger.failure(source, &forged, bench.now, ASKED).ban.is_some());
}

#[test]
fn a_success_clears_the_pair_and_not_the_source() {
    let mut bench = Bench::new();
    let source = "192.0.2.1".parse().unwrap();
    bench.fail("192.0.2.1", "a@pve");
    bench.fail("192.0.2.1", "a@pve");
    bench.ledger.success(source, &attempt(source, "a@pve"), bench.now);
    assert!(bench.fail("192.0.2.1", "a@pve").lock.is_none());
    bench.fail("192.0.2.1", "b@pve");
    bench.fail("192.0.2.1", "c@pve");
    assert!(bench.fail("192.0.2.1", "d@pve").ban.is_some());
}

#[test]
fn pardon_by_address_and_by_account() {
    let mut bench = Bench::new();
    for n in 0..6 {
        bench.fail("192.0.2.1", if n < 3 { "a@pve" } else { "b@pve" });
        bench.fail("192.0.2.2", "a@pve");
    }
    let user = UserText::new("b@pve");
    assert!(bench.ledger.pardon_account(&user, bench.now));
    assert!(!bench.ledger.pardon_account(&user, bench.now));
    assert!(bench.ledger.pardon_source("192.0.2.1".parse().unwrap(), bench.now));
    assert!(!bench.ledger.pardon_source("192.0.2.1".parse().unwrap(), bench.now));
    assert_eq!(bench.standing("192.0.2.1", "a@pve"), Standing::Free);
    assert_eq!(bench.standing("192.0.2.2", "a@pve"), Standing::Banned);
}

#[test]
fn with_no_delay_set_nothing_is_delayed() {
    let rules = LoginRules { delay: Duration::ZERO, slow_after: 1, ..rules() };
    let mut ledger = Ledger::new(&rules);
    let source = "192.0.2.1".parse().unwrap();
    for _ in 0..10 {
        let judged = ledger.failure(source, &attempt(source, "a@pve"), secs(1), ASKED);
        assert_eq!(judged.delay, Duration::ZERO);
    }
}
