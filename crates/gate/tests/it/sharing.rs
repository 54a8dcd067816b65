//! Open interfaces that poll the same: one question for all that may see the same, and nobody sees
//! what another one may.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::client::{Answer, Client};
use crate::gate::Gate;

const LIST: &str = "/api2/json/cluster/resources";
const TASKS: &str = "/api2/json/cluster/tasks";
const BROWSER: &str = "Origin: https://pve1:8006\r\nSec-Fetch-Site: same-origin\r\n";

/// Who may see what: `ann` and `bob` the same, `eve` something else, `dan` nothing.
fn privileges(user: &str) -> &'static str {
    match user {
        "ann" => r#"{"/":{"VM.Audit":1,"Sys.Audit":1}}"#,
        // The same in another order.
        "bob" => r#"{"/":{"Sys.Audit":1,"VM.Audit":1}}"#,
        _ => r#"{"/vms/100":{"VM.Audit":0}}"#,
    }
}

/// A Proxmox VE that answers each user with what that one may see, and counts.
#[derive(Clone)]
struct Cluster {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<(String, String), usize>>>,
}

impl Cluster {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cluster = Self { address, asked: Arc::default() };
        let serving = cluster.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&stream));
            }
        });
        cluster
    }

    fn serve(&self, stream: &TcpStream) {
        let (mut reader, mut writer) = (BufReader::new(stream), stream);
        loop {
            let (mut path, mut user, mut length) = (String::new(), String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or_default() == 0 {
                    return;
                }
                let line = line.trim_end();
                if path.is_empty() {
                    path = line.split(' ').nth(1).unwrap().to_owned();
                } else if let Some(cookie) = line.strip_prefix("Cookie: PVEAuthCookie=PVE") {
                    let cookie = cookie.trim_start_matches("%3A").trim_start_matches(':');
                    user = cookie.split('@').next().unwrap().to_owned();
                } else if let Some(text) = line.strip_prefix("Content-Length: ") {
                    length = text.parse().unwrap();
                } else if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = self.answer(&path, &user, &String::from_utf8_lossy(&body));
            writer.write_all(answer.as_bytes()).unwrap();
        }
    }

    fn answer(&self, path: &str, user: &str, body: &str) -> String {
        let mut asked = self.asked.lock().unwrap();
        *asked.entry((path.to_owned(), user.to_owned())).or_default() += 1;
        drop(asked);
        let (line, data) = match path {
            "/api2/json/access/ticket" => {
                let user = body.split("username=").nth(1).unwrap().split("%40").next().unwrap();
                let ticket = format!("PVE:{user}@pve:6B00CE46::JOxkx+DqOfuSHjN7nfLMlmStVUfGN");
                let token = "6B00CE46:X9QWCK7VU8UUrK1c2M4ywi1vqHfjQOP0n/7QiT7e+rE";
                let data = format!(
                    "{{\"username\":\"{user}@pve\",\"CSRFPreventionToken\":\"{token}\",\
                     \"ticket\":\"{ticket}\",\"cap\":{{}}}}"
                );
                ("200 OK", data)
            }
            "/api2/json/access/permissions" => ("200 OK", privileges(user).to_owned()),
            _ if user == "dan" => ("403 Permission check failed", "null".to_owned()),
            TASKS => ("200 OK", format!("[\"tasks of {user}\"]")),
            _ => {
                // Slow enough for others to come meanwhile.
                thread::sleep(Duration::from_millis(100));
                ("200 OK", format!("[\"as with {}\"]", privileges(user).len()))
            }
        };
        let body = format!("{{\"data\":{data}}}");
        format!(
            "HTTP/1.1 {line}\r\nConnection: Keep-Alive\r\nContent-Length: {}\r\n\
             Content-Type: application/json;charset=UTF-8\r\n\r\n{body}",
            body.len()
        )
    }

    /// How often these users have asked for a path.
    fn asked(&self, path: &str, users: &[&str]) -> usize {
        let asked = self.asked.lock().unwrap();
        let of = |user: &&str| asked.get(&(path.to_owned(), (*user).to_owned()));
        users.iter().filter_map(of).sum()
    }
}

/// The lines of a session: a browser's, or a tool's.
fn login(gate: &Gate, user: &str, lines: &str) -> String {
    let body = format!("username={user}%40pve&password=x");
    let answer = Client::connect(gate).ask(format!(
        "POST /api2/json/access/ticket HTTP/1.1\r\nHost: pve1:8006\r\n{lines}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(answer.status(), "200", "{answer:?}");
    let data: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let text = |name: &str| data["data"][name].as_str().unwrap().to_owned();
    let ticket = text("ticket").replace(':', "%3A");
    let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    let cookie = cookie.map(|cookie| format!("{cookie}; ")).unwrap_or_default();
    let token = text("CSRFPreventionToken");
    format!("Cookie: {cookie}PVEAuthCookie={ticket}\r\nCSRFPreventionToken: {token}\r\n")
}

fn get(gate: &Gate, path: &str, session: &str) -> Answer {
    Client::connect(gate).ask(format!("GET {path} HTTP/1.1\r\nHost: pve1:8006\r\n{session}\r\n"))
}

/// Everybody at once, several times; each answer has to be that of the one who asked.
fn poll(gate: &Gate, path: &str, sessions: &[(&str, String)], rounds: usize) {
    thread::scope(|scope| {
        for (user, session) in sessions {
            scope.spawn(move || {
                for _ in 0..rounds {
                    let answer = get(gate, path, session);
                    let expected = match path {
                        TASKS => format!("{{\"data\":[\"tasks of {user}\"]}}"),
                        _ => format!("{{\"data\":[\"as with {}\"]}}", privileges(user).len()),
                    };
                    assert_eq!((answer.status(), &*answer.body), ("200", &*expected), "{user}");
                }
            });
        }
    });
}

#[test]
fn one_question_for_the_same_permissions_and_its_own_for_others() {
    let cluster = Cluster::start();
    let gate = Gate::start(cluster.address);
    let mut sessions: Vec<_> =
        ["ann", "bob", "eve"].map(|user| (user, login(&gate, user, BROWSER))).into();
    sessions.extend((0..3).map(|_| ("ann", login(&gate, "ann", BROWSER))));
    sessions.extend((0..3).map(|_| ("bob", login(&gate, "bob", BROWSER))));
    poll(&gate, LIST, &sessions, 10);
    // Eighty questions of the two in far less time than eighty answers take.
    let asked = cluster.asked(LIST, &["ann", "bob"]);
    assert!(asked < 60, "{asked} questions for 80");
    assert!(cluster.asked(LIST, &["eve"]) > 0);
    // Each of the nine sessions has shown what it may see, at most every ten seconds.
    let shown = cluster.asked("/api2/json/access/permissions", &["ann", "bob", "eve"]);
    assert!((3..=18).contains(&shown), "{shown}");
    poll(&gate, TASKS, &sessions, 3);
}

#[test]
fn a_write_by_anybody_ends_what_was_asked_before_it() {
    let cluster = Cluster::start();
    let gate = Gate::start(cluster.address);
    let ann = login(&gate, "ann", BROWSER);
    let bob = login(&gate, "bob", BROWSER);
    for _ in 0..5 {
        get(&gate, LIST, &ann);
        let before = cluster.asked(LIST, &["ann"]);
        let put = format!(
            "PUT /api2/json/nodes/a/config HTTP/1.1\r\nHost: pve1:8006\r\n{bob}{BROWSER}\
             Content-Length: 0\r\n\r\n"
        );
        assert_eq!(Client::connect(&gate).ask(put).status(), "200");
        get(&gate, LIST, &ann);
        assert_eq!(cluster.asked(LIST, &["ann"]), before + 1);
    }
}

#[test]
fn refusals_and_tools_are_asked_for_each_time_and_all_where_it_is_off() {
    let cluster = Cluster::start();
    let gate = Gate::start(cluster.address);
    let off = Gate::with(cluster.address, |config| config.traffic.share_polls = false);
    let cases =
        [(&gate, "dan", BROWSER, "403"), (&gate, "ann", "", "200"), (&off, "bob", BROWSER, "200")];
    for (gate, user, lines, status) in cases {
        let session = login(gate, user, lines);
        for _ in 0..4 {
            assert_eq!(get(gate, LIST, &session).status(), status, "{user}");
        }
        assert_eq!(cluster.asked(LIST, &[user]), 4, "{user}");
        // What is no poll is asked for each time as well.
        if user == "bob" {
            continue;
        }
        for _ in 0..2 {
            get(gate, "/api2/json/nodes/a/config", &session);
        }
        assert_eq!(cluster.asked("/api2/json/nodes/a/config", &[user]), 2, "{user}");
    }
}
