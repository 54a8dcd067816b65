use std::time::Duration;

use pve_access::ticket::{issue, issue_challenge, issue_vnc};
use pve_access::{DatedKey, SigningKey};
use telemetry::metrics::Registry;

use http::uri::PathAndQuery;
use secrets::SecretString;

use super::*;
use crate::credential::Carrier;

const NOW: u64 = 1_795_215_443;

fn tickets() -> Tickets {
    let (clock, hands) = Clock::manual(Duration::from_secs(NOW));
    // After the first look, which the tests date to zero.
    hands.advance(Duration::from_secs(1));
    Tickets::new("not looked", &clock, &Metrics::register(&Registry::new()).unwrap())
}

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

fn keys(current: &SigningKey) -> Result<Arc<ClusterKeys>, String> {
    let key = current.verify_key().unwrap();
    Ok(Arc::new(ClusterKeys::new(DatedKey { key, changed: NOW - 90_000 }, None)))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// Whether a ticket is passed on; looks that come meanwhile find `next`.
fn passes(tickets: &Tickets, text: &str, next: &Result<Arc<ClusterKeys>, String>) -> bool {
    block_on(async {
        let text = text.as_bytes().to_vec().into();
        let caller = Caller::OwnTicket(Credential::Ticket { text, by: Carrier::Cookie });
        let looks = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            tickets.found(next.clone(), Duration::MAX);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            judged = tickets.judged(caller, NOW) => matches!(judged, Caller::OwnTicket(_)),
            () = looks => unreachable!("looks do not end"),
        }
    })
}

#[test]
fn without_a_key_proxmox_ve_decides() {
    let tickets = tickets();
    let none = Err("gone".to_owned());
    assert!(passes(&tickets, "PVE:a@pve:6B00D053::AAAA", &none));
    assert_eq!(tickets.status(), json!({ "verified_by": "upstream", "why": "not looked" }));
    assert_eq!(tickets.keys(), 0);
    let key = key();
    tickets.found(keys(&key), Duration::ZERO);
    assert_eq!(tickets.status(), json!({ "verified_by": "gate", "keys": 1 }));
    assert!(!passes(&tickets, "PVE:a@pve:6B00D053::AAAA", &keys(&key)));
    // The files are gone meanwhile.
    tickets.found(keys(&key), Duration::ZERO);
    assert!(passes(&tickets, "PVE:a@pve:6B00D053::AAAA", &none));
}

#[test]
fn genuine_ones_pass_and_all_others_are_refused() {
    let (tickets, key) = (tickets(), key());
    let same = keys(&key);
    tickets.found(same.clone(), Duration::ZERO);
    let ticket = |payload, now| issue(&key, payload, None, now).unwrap().expose().clone();
    let user = "a@pve".parse().unwrap();
    let challenge = issue_challenge(&key, &user, "{}", NOW).unwrap();
    let console = issue_vnc(&key, "a@pve", "/vms/1", None, NOW).unwrap();
    let forged = issue(&SigningKey::generate().unwrap(), "a@pve", None, NOW).unwrap();
    for (text, pass) in [
        (ticket("a@pve", NOW).as_str(), true),
        (ticket("a@pve", NOW - 7199).as_str(), true),
        // Signed, and no name: Proxmox VE says what it is.
        (ticket("a", NOW).as_str(), true),
        (ticket("a@pve", NOW - 7200).as_str(), false),
        (ticket("a@pve", NOW + 300).as_str(), false),
        (ticket("!tfa!{}", NOW).as_str(), false),
        (challenge.expose(), false),
        (console.expose(), false),
        (forged.expose(), false),
        ("nothing", false),
    ] {
        assert_eq!(passes(&tickets, text, &same), pass, "{text}");
        assert_eq!(passes(&tickets, text, &same), pass, "once more: {text}");
    }
}

#[test]
fn a_ticket_of_a_key_that_has_just_changed_is_judged_by_the_next_look() {
    let (tickets, before, after) = (tickets(), key(), key());
    tickets.found(keys(&before), Duration::ZERO);
    let ticket = issue(&after, "a@pve", None, NOW).unwrap();
    assert!(passes(&tickets, ticket.expose(), &keys(&after)));
}

#[test]
fn where_no_look_is_made_in_time_proxmox_ve_decides() {
    let (tickets, before, after) = (tickets(), key(), key());
    tickets.found(keys(&before), Duration::ZERO);
    let ticket = issue(&after, "a@pve", None, NOW).unwrap();
    let text = ticket.expose().as_bytes().to_vec().into();
    let caller = Caller::OwnTicket(Credential::Ticket { text, by: Carrier::Cookie });
    let judged = block_on(tickets.judged(caller, NOW));
    assert!(matches!(judged, Caller::OwnTicket(_)));
}

#[test]
fn consoles_open_for_their_user_path_and_port() {
    let (tickets, key) = (tickets(), key());
    let same = keys(&key);
    tickets.found(same.clone(), Duration::MAX);
    let open = |ticket: &SecretString, user, below, target: &'static str| {
        let target = PathAndQuery::from_static(target);
        let asked = (user, below, &target);
        block_on(tickets.may_open(ticket.expose().as_bytes(), asked, NOW + 100))
    };
    let guest = "/nodes/a/qemu/100/vncwebsocket";
    let with_port = issue_vnc(&key, "a@pve", "/vms/100", Some(5900), NOW).unwrap();
    assert!(open(&with_port, "a@pve", guest, "/x?port=5900"));
    assert!(!open(&with_port, "b@pve", guest, "/x?port=5900"));
    assert!(!open(&with_port, "a@pve", guest, "/x?port=5901"));
    assert!(!open(&with_port, "a@pve", "/nodes/a/vncwebsocket", "/x?port=5900"));
    assert!(open(&with_port, "b@pve", "/nodes/a/qemu/100/mtunnelwebsocket", "/x"));
    let without = issue_vnc(&key, "a@pve", "/nodes/a", None, NOW).unwrap();
    assert!(open(&without, "a@pve", "/nodes/a/vncwebsocket", "/x?port=5900"));
}
