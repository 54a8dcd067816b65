//! Console tickets: once, for whom they were handed to.

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const TICKET: &str = "PVEVNC:6B00CF1B::KVnf0xGqFppnc2Qf";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: upgrade\r\n\
    \r\n";

fn pve() -> Pve {
    let handed_out = format!("{{\"data\":{{\"ticket\":\"{TICKET}\",\"port\":5900}}}}");
    Pve::start(&[
        ("/api2/json/nodes/a/qemu/100/vncproxy", &ok(&handed_out), Then::Stay),
        ("/api2/json/nodes/a/qemu/100/vncwebsocket", SWITCHED, Then::Echo),
    ])
}

fn hand_out(client: &mut Client, user: &str) {
    let answer = client.ask(format!(
        "POST /api2/json/nodes/a/qemu/100/vncproxy HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\
         Cookie: PVEAuthCookie=PVE:{user}:6B00CE46::AA\r\nContent-Length: 0\r\n\r\n"
    ));
    assert!(answer.body.contains(TICKET), "{answer:?}");
}

fn open(gate: &Gate, user: &str, ticket: &str) -> Answer {
    open_from(&mut Client::connect(gate), user, ticket)
}

fn open_from(client: &mut Client, user: &str, ticket: &str) -> Answer {
    let ticket = ticket.replace(':', "%3A");
    client.ask(format!(
        "GET /api2/json/nodes/a/qemu/100/vncwebsocket?port=5900&{ticket} HTTP/1.1\r\nHost: a\r\n\
         Cookie: PVEAuthCookie=PVE:{user}:6B00CE46::AA\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ))
}

const REFUSED: &str = "HTTP/1.1 401 permission denied - invalid PVEVNC ticket";

#[test]
fn a_replayed_ticket_opens_nothing() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    hand_out(&mut client, "a@pve");
    assert_eq!(pve.seen()[0].header("accept-encoding"), None);
    let ticket = format!("vncticket={TICKET}");
    assert_eq!(open(&gate, "a@pve", &ticket).status(), "101");
    assert_eq!(open(&gate, "a@pve", &ticket).line, REFUSED);
    // Handed out once more, it is good once more.
    hand_out(&mut client, "a@pve");
    assert_eq!(open(&gate, "a@pve", &ticket).status(), "101");
}

#[test]
fn another_user_and_another_address_get_nothing() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    let ticket = format!("vncticket={TICKET}");
    hand_out(&mut client, "a@pve");
    assert_eq!(open(&gate, "b@pve", &ticket).line, REFUSED);
    hand_out(&mut client, "a@pve");
    let mut elsewhere = Client::from(&gate, "127.0.0.9:0".parse().unwrap()).unwrap();
    assert_eq!(open_from(&mut elsewhere, "a@pve", &ticket).line, REFUSED);
    // Shown by somebody else, it is used up for its owner too.
    assert_eq!(open(&gate, "a@pve", &ticket).line, REFUSED);
}

#[test]
fn unknown_and_doubled_tickets_are_refused() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    for query in [
        "vncticket=PVEVNC:6B00CF1B::other",
        "",
        "vncticket",
        &format!("vncticket={TICKET}&vncticket={TICKET}"),
    ] {
        hand_out(&mut Client::connect(&gate), "a@pve");
        assert_eq!(open(&gate, "a@pve", query).line, REFUSED, "{query}");
    }
    assert!(pve.seen().iter().all(|seen| seen.line.contains("vncproxy")));
}
