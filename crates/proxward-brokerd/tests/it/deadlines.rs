use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use broker_api::{Request, frame};

use crate::harness::{Broker, as_user, done, is_root, pulse_as};

const SHORT: &str = "limits = { first_byte_ms = 300, request_ms = 300, idle_ms = 300, write_ms = 300, burst = 100000, per_second = 100000.0 }";

fn metric(broker: &Broker, name: &str) -> String {
    let mut stream =
        std::os::unix::net::UnixStream::connect(broker.dir.path().join("metrics")).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
}

fn with_metrics(dir: &std::path::Path) -> String {
    format!("{SHORT}\nmetrics = '{}/metrics'\npulse_metrics = true", dir.display())
}

#[test]
fn fix_3_a_silent_peer_and_a_dribbling_one_are_answered_and_closed() {
    let dir = crate::harness::open_dir();
    let more = with_metrics(dir.path());
    let broker = Broker::start_in(dir, &more);
    let began = Instant::now();
    let mut silent = broker.connect();
    let mut text = String::new();
    silent.read_to_string(&mut text).unwrap();
    assert!(text.contains("read timeout"), "{text}");
    assert!(began.elapsed() >= Duration::from_millis(300), "not before its time");

    let mut dribbling = broker.connect();
    let began = Instant::now();
    dribbling.set_read_timeout(Some(Duration::from_millis(40))).unwrap();
    let mut answer = Vec::new();
    let mut sent = 0;
    // A byte now and then keeps nothing open: the time is that of the whole request.
    loop {
        let _ = dribbling.write_all(b" ");
        sent += 1;
        match dribbling.read_to_end(&mut answer) {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 500, "still open after {:?}", began.elapsed());
    }
    assert!(String::from_utf8(answer).unwrap().contains("read timeout"));
    assert_eq!(
        metric(&broker, "pulse_proxy_read_timeouts_total"),
        "pulse_proxy_read_timeouts_total{} 2"
    );

    let mut whole = broker.connect();
    whole.write_all(&[0, 0, 0, 9, b'{']).unwrap();
    let mut answer = Vec::new();
    whole.read_to_end(&mut answer).unwrap();
    let (body, _) = frame::answer(&answer).unwrap().unwrap();
    assert!(std::str::from_utf8(body).unwrap().contains("\"code\":32"));
}

#[test]
fn fix_3_a_peer_that_does_not_read_is_cut() {
    let dir = crate::harness::open_dir();
    let more = with_metrics(dir.path());
    let broker = Broker::start_in(dir, &more);
    let mut deaf = broker.connect();
    deaf.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut bytes = Vec::new();
    for _ in 0..200 {
        frame::push(&mut bytes, Request::new("broker.describe").to_json().as_bytes()).unwrap();
    }
    // Written until the broker gives up on the answers nobody takes.
    while deaf.write_all(&bytes).is_ok() {}
    assert!(metric(&broker, "proxward_broker_write_timeouts_total").ends_with(" 1"));
    done(&broker.call(Request::new("broker.status")));
}

#[test]
fn an_idle_flood_of_many_users_takes_nobodys_place() {
    if !is_root() {
        return;
    }
    let rules = "limits = { connections = 40, connections_per_peer = 20 }\n\
        allow = [{ peer = ['uid:0'], may = ['read'] }, { peer = ['gid:4242'], may = ['read'] }]";
    let broker = Broker::start(rules);
    let own: Vec<_> = (0..20).map(|_| broker.connect()).collect();
    let script = "import os,socket,sys,time\nfor n in range(60):\n  p=os.fork()\n  if p==0:\n    os.setgroups([]);os.setgid(4242);os.setuid(50000+n)\n    s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n    sys.stdout.write('x');sys.stdout.flush();time.sleep(60);os._exit(0)\ntime.sleep(60)";
    let mut flood = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(broker.socket())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut all = [0; 60];
    flood.stdout.as_mut().unwrap().read_exact(&mut all).unwrap();
    for _ in 0..5 {
        done(&broker.call(Request::new("broker.status")));
    }
    let pid = flood.id().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let mut kill = std::process::Command::new("kill");
    kill.arg("-KILL").args(children.split_whitespace()).arg(&pid).status().unwrap();
    flood.wait().unwrap();
    drop(own);
}

#[test]
fn strangers_are_told_why_and_do_not_fill_the_log() {
    if !is_root() {
        return;
    }
    let broker = Broker::start("");
    let line = r#"{"method":"get_status","correlation_id":"stranger-1234"}"#;
    for _ in 0..5 {
        let answer = pulse_as(&broker.socket(), 4711, 4711, false, line);
        assert_eq!(
            (&answer["error"], &answer["correlation_id"]),
            (&"unauthorized".into(), &"stranger-1234".into())
        );
    }
    let silent = as_user(&broker.socket(), 4711, 4711, false, b"");
    assert!(String::from_utf8_lossy(&silent).contains("unauthorized"));
    let lines =
        broker.audit_with("uid:4711").lines().filter(|line| line.contains("uid:4711")).count();
    assert_eq!(lines, 1, "{}", broker.audit());
    let dir = broker.end();
    let text = std::fs::read_to_string(dir.path().join("log/audit.jsonl")).unwrap();
    assert!(text.contains("\"kind\":\"broker.refused_again\",\"count\":5"), "{text}");
}
