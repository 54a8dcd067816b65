//! What goes out compressed, what never does, and what is kept of it.

use std::io::Read;

use flate2::read::{GzDecoder, ZlibDecoder};

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

/// An answer whose body is bytes.
struct Raw {
    head: String,
    body: Vec<u8>,
}

impl Raw {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    fn plain(&self) -> String {
        let mut plain = Vec::new();
        match self.header("content-encoding") {
            Some("zstd") => {
                plain.reserve(1 << 20);
                zstd_safe::decompress(&mut plain, &self.body[..]).unwrap();
            }
            Some("gzip") => drop(GzDecoder::new(&self.body[..]).read_to_end(&mut plain).unwrap()),
            Some("deflate") => {
                ZlibDecoder::new(&self.body[..]).read_to_end(&mut plain).unwrap();
            }
            other => {
                assert_eq!(other, None);
                plain = self.body.clone();
            }
        }
        String::from_utf8(plain).unwrap()
    }
}

fn get(gate: &Gate, path: &str, lines: &str) -> Raw {
    let mut client = Client::connect(gate);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n"));
    raw(&client.rest())
}

fn raw(bytes: &[u8]) -> Raw {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut answer = Raw { head, body: bytes[end..].to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body).expect("every chunk and the last");
    }
    answer
}

/// None for a body whose last chunk is missing.
fn unchunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        let chunk = rest.get(end + 2..end + 2 + size)?;
        if size == 0 {
            return Some(body);
        }
        body.extend(chunk);
        rest = rest.get(end + 4 + size..)?;
    }
}

fn list(rows: usize) -> String {
    let row = |row| format!("{{\"id\":\"qemu/{row}\",\"status\":\"running\",\"maxmem\":{row}}}");
    format!("{{\"data\":[{}]}}", (100..100 + rows).map(row).collect::<Vec<_>>().join(","))
}

const LIST: &str = "/api2/json/cluster/resources";

#[test]
fn a_list_comes_in_the_coding_the_client_likes_best() {
    let list = list(4000);
    let pve = Pve::start(&[(LIST, &ok(&list), Then::Stay)]);
    let gate = Gate::start(pve.address);
    for (accepted, coding) in [
        ("gzip, deflate, br, zstd", Some("zstd")),
        ("gzip, deflate", Some("gzip")),
        ("deflate", Some("deflate")),
        ("br", None),
        ("gzip;q=0", None),
    ] {
        let answer = get(&gate, LIST, &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!(answer.header("content-encoding"), coding, "{accepted}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"), "{accepted}");
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
        assert!(answer.plain() == list, "{accepted}");
        assert!(coding.is_none() || answer.body.len() * 5 < list.len(), "{accepted}");
    }
    assert!(get(&gate, LIST, "").plain() == list);
    // Upstream is never asked for anything but the plain answer.
    assert!(pve.seen().iter().all(|seen| seen.header("accept-encoding").is_none()));
}

#[test]
fn small_answers_secrets_and_old_clients_get_plain_ones() {
    let page = format!("<html>{}</html>", "x".repeat(5000));
    let html = ok(&page).replace("application/json", "text/html");
    let secret = ok(&list(100));
    let pve = Pve::start(&[
        ("/api2/json/version", &ok("{\"data\":1}"), Then::Stay),
        ("/", &html, Then::Stay),
        ("/api2/json/access/tfa", &secret, Then::Stay),
        (LIST, &secret, Then::Stay),
    ]);
    let gate = Gate::start(pve.address);
    for path in ["/api2/json/version", "/", "/api2/json/access/tfa"] {
        let answer = get(&gate, path, "Accept-Encoding: zstd, gzip\r\n");
        assert_eq!(answer.header("content-encoding"), None, "{path}");
        assert_eq!(answer.header("vary"), None, "{path}");
    }
    let mut client = Client::connect(&gate);
    client.send(format!("GET {LIST} HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n"));
    assert_eq!(raw(&client.rest()).header("content-encoding"), None);

    let off = Gate::with(pve.address, |config| config.traffic.compression = false);
    let answer = get(&off, LIST, "Accept-Encoding: zstd, gzip\r\n");
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None));
}

#[test]
fn an_answer_cut_short_does_not_look_whole() {
    let short = ok(&list(4000)).replace("]}", "");
    let long = ok(&list(40_000)).replace("]}", "");
    let pve = Pve::start(&[(LIST, &short, Then::Close), ("/api2/json/nodes", &long, Then::Close)]);
    let gate = Gate::start(pve.address);
    for coding in ["zstd", "gzip", "deflate"] {
        let lines = format!("Accept-Encoding: {coding}\r\n");
        // Compressed whole before its head is written, it becomes an error.
        assert_eq!(get(&gate, LIST, &lines).status(), "502");
        let mut client = Client::connect(&gate);
        client.send(format!("GET /api2/json/nodes HTTP/1.1\r\n{lines}\r\n"));
        let all = client.rest();
        let end = all.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 4);
        assert_eq!(unchunked(&all[end..]), None, "{coding}");
    }
}

/// A body of no known length is one that somebody follows: what has come is shown.
#[test]
fn what_has_come_of_an_endless_answer_is_shown() {
    let log = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
        b\r\nfirst line\n\r\n";
    let pve = Pve::start(&[("/api2/json/nodes/a/tasks/x/log", log, Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    client.send("GET /api2/json/nodes/a/tasks/x/log HTTP/1.1\r\nAccept-Encoding: zstd\r\n\r\n");
    let mut all = Vec::new();
    while !all.windows(10).any(|window| window == b"first line") {
        all.extend(client.exactly(1));
    }
    assert!(String::from_utf8_lossy(&all).contains("Content-Encoding: zstd"));
}

const SCRIPT: &str = "/pve2/js/pvemanagerlib.js";
const MODIFIED: &str = "Fri, 20 Nov 2026 22:38:54 GMT";

#[test]
fn a_file_of_the_interface_is_asked_for_and_compressed_once() {
    let script = "Ext.define('PVE.Utils', {});\n".repeat(5000);
    let file = ok(&script)
        .replace("application/json;charset=UTF-8", "application/javascript")
        .replace("Pragma: no-cache", &format!("Last-Modified: {MODIFIED}"));
    let pve = Pve::start(&[(SCRIPT, &file, Then::Stay)]);
    let gate = Gate::start(pve.address);
    let accept = "Accept-Encoding: gzip, zstd\r\n";
    let first = get(&gate, SCRIPT, accept);
    assert_eq!(first.header("content-encoding"), Some("zstd"));
    assert!(first.plain() == script);
    // Whatever is asked for beside the path.
    let second = get(&gate, &format!("{SCRIPT}?ver=9.1"), accept);
    assert_eq!(pve.seen().len(), 1);
    assert_eq!(second.header("content-length"), Some(&*second.body.len().to_string()));
    assert_eq!(second.header("last-modified"), Some(MODIFIED));
    assert_eq!(second.header("vary"), Some("accept-encoding"));
    assert!(second.header("date").is_some() && second.header("x-content-type-options").is_some());
    assert!(second.plain() == script);

    let tag = second.header("etag").unwrap();
    for (condition, status) in [
        (format!("If-None-Match: {tag}\r\n"), "304"),
        (format!("If-None-Match: \"a\", W/{tag}\r\n"), "304"),
        ("If-None-Match: *\r\n".to_owned(), "304"),
        (format!("If-Modified-Since: {MODIFIED}\r\n"), "304"),
        ("If-Modified-Since: Fri, 20 Nov 2026 22:38:53 GMT\r\n".to_owned(), "200"),
        // A tag says more than a date (RFC 9110 §13.1.3).
        (format!("If-None-Match: \"a\"\r\nIf-Modified-Since: {MODIFIED}\r\n"), "200"),
    ] {
        let answer = get(&gate, SCRIPT, &format!("{accept}{condition}"));
        assert_eq!(answer.status(), status, "{condition}");
        assert_eq!(answer.body.is_empty(), status == "304", "{condition}");
    }
    assert_eq!(pve.seen().len(), 1);
    // Who takes no coding, or another, has to wait for a plain one.
    assert!(get(&gate, SCRIPT, "").plain() == script);
    assert!(get(&gate, SCRIPT, "Accept-Encoding: gzip\r\n").plain() == script);
    assert_eq!(pve.seen().len(), 3);
    gate.counts("proxward_gate_cache_total{cache=\"assets\",event=\"hit\"}", 7);
}
