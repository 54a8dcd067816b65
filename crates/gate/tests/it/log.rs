//! One line per request, and what must not be in it.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

/// The access lines of all tests of this process, as `field=value` text.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collect;

impl Subscriber for Collect {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "gate::access"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

/// The lines that hold `mark`, once there are `count` of them.
fn lines(mark: &str, count: usize) -> Vec<String> {
    for _ in 0..1000 {
        let lines = LINES.lock().unwrap();
        let found: Vec<_> = lines.iter().filter(|line| line.contains(mark)).cloned().collect();
        drop(lines);
        if found.len() >= count {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no {count} lines with {mark}: {:?}", LINES.lock().unwrap());
}

#[test]
fn one_line_per_request_without_its_query() {
    tracing::subscriber::set_global_default(Collect).unwrap();
    let pve = Pve::start(&[("/log/%61", &ok("12345"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    client.ask("GET /log/%61?vncticket=PVEVNC:canary HTTP/1.1\r\nCookie: canary\r\n\r\n");
    client.ask("PATCH /log/b?canary HTTP/1.1\r\n\r\n");
    let served = lines("path=/log/a ", 1);
    assert_eq!(served.len(), 1);
    for field in [
        "client=127.0.0.1:",
        "http=HTTP/1.1",
        "method=\"GET\"",
        "status=200",
        "bytes=5",
        "us=",
        "id=",
    ] {
        assert!(served[0].contains(field), "{field} in {served:?}");
    }
    let refused = lines("rule=\"method\"", 1);
    assert!(refused[0].contains("status=501"), "{refused:?}");
    assert!(refused[0].contains("method=\"PATCH\""), "{refused:?}");

    let mut client = Client::connect(&gate);
    client.ask("GET /log HTTP/1.1\nX: canary\n\n");
    let unread = lines("rule=\"line-ending\"", 1);
    assert!(unread[0].contains("status=400"), "{unread:?}");
    assert_eq!(lines("canary", 0), [""; 0]);
}
