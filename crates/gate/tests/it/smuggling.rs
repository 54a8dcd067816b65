//! Requests that two parsers could read as different ones, over HTTP/1: each is refused once, and
//! nothing of it reaches Proxmox VE. Accepted, the hidden second request would be answered too.

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

/// What stands behind every case, and must never become a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// What two parsers could differ about, and the bytes.
#[rustfmt::skip]
const CORPUS: &[(&str, &str)] = &[
    // Where the message ends.
    ("CL.TE", "POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.CL", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
    ("TE.0", "OPTIONS / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE of a GET", "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.TE", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
    ("TE list", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("TE list the other way", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("TE identity", "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n"),
    ("TE empty", "POST / HTTP/1.1\r\nTransfer-Encoding:\r\nContent-Length: 0\r\n\r\n"),
    ("TE quoted", "POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("TE obfuscated", "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("TE in capitals", "POST / HTTP/1.1\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n"),
    ("TE tab", "POST / HTTP/1.1\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n"),
    ("TE vertical tab", "POST / HTTP/1.1\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n"),
    ("TE space", "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("TE behind a blank", "POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE folded", "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("TE behind a bare CR", "POST / HTTP/1.1\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE behind a bare LF", "POST / HTTP/1.1\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE behind a NUL", "POST / HTTP/1.1\r\nX: y\0Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE named by Connection", "POST / HTTP/1.1\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("CL.CL", "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello"),
    ("CL.CL same", "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("CL.CL in other letters", "POST / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 0\r\n\r\nhello"),
    ("CL list", "POST / HTTP/1.1\r\nContent-Length: 3, 5\r\n\r\nhello"),
    ("CL list of the same", "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello"),
    ("CL empty", "POST / HTTP/1.1\r\nContent-Length:\r\n\r\nhello"),
    ("CL sign", "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello"),
    ("CL negative", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
    ("CL negative zero", "POST / HTTP/1.1\r\nContent-Length: -0\r\n\r\n"),
    ("CL hex", "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\nhello"),
    ("CL decimal", "POST / HTTP/1.1\r\nContent-Length: 5.0\r\n\r\nhello"),
    ("CL exponent", "POST / HTTP/1.1\r\nContent-Length: 5e0\r\n\r\nhello"),
    ("CL separator", "POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\nhellohello"),
    ("CL two words", "POST / HTTP/1.1\r\nContent-Length: 5 5\r\n\r\nhello"),
    ("CL form feed", "POST / HTTP/1.1\r\nContent-Length: 5\u{c}\r\n\r\nhello"),
    ("CL other digits", "POST / HTTP/1.1\r\nContent-Length: \u{665}\r\n\r\nhello"),
    ("CL space", "POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\nhello"),
    ("CL underscore", "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent_Length: 0\r\n\r\nhello"),
    ("CL huge", "POST / HTTP/1.1\r\nContent-Length: 18446744073709551621\r\n\r\nhello"),
    ("CL of a GET", "GET / HTTP/1.1\r\nContent-Length: 33\r\n\r\n"),
    ("CL of a DELETE", "DELETE / HTTP/1.1\r\nContent-Length: 33\r\n\r\n"),
    ("no CL of a POST to an upload", "POST /api2/json/nodes/a/storage/b/upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    // Where a line and the head end.
    ("bare LF", "GET / HTTP/1.1\nHost: a\n\n"),
    ("one bare LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
    ("bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ("bare CR", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    ("two CR", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    ("bare CR at the end", "GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n"),
    ("folded", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"),
    ("folded by a tab", "GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n"),
    ("folded first", "GET / HTTP/1.1\r\n X: b\r\n\r\n"),
    ("NUL", "GET / HTTP/1.1\r\nX: a\0b\r\n\r\n"),
    ("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nX: a\0b\r\n\r\n"),
    // What a line is called.
    ("no name", "GET / HTTP/1.1\r\n: b\r\n\r\n"),
    ("no colon", "GET / HTTP/1.1\r\nHost a\r\n\r\n"),
    ("a space in the name", "GET / HTTP/1.1\r\nX Y: b\r\n\r\n"),
    ("a name beyond ASCII", "GET / HTTP/1.1\r\nH\u{f6}st: b\r\n\r\n"),
    ("a control character in the name", "GET / HTTP/1.1\r\nX\u{1}: b\r\n\r\n"),
    ("a name in brackets", "GET / HTTP/1.1\r\n(Host): b\r\n\r\n"),
    // For whom it is.
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("two hosts the same", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
    ("a list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"),
    ("a host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("another host in the target", "GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a user in the target", "GET https://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n"),
    // The request line.
    ("two spaces", "GET  / HTTP/1.1\r\n\r\n"),
    ("a tab", "GET\t/\tHTTP/1.1\r\n\r\n"),
    ("a space first", " GET / HTTP/1.1\r\n\r\n"),
    ("a space last", "GET / HTTP/1.1 \r\n\r\n"),
    ("four words", "GET / / HTTP/1.1\r\n\r\n"),
    ("no version", "GET /\r\n\r\n"),
    ("no method", "/ HTTP/1.1\r\n\r\n"),
    ("a version in small letters", "GET / http/1.1\r\n\r\n"),
    ("a version with a leading zero", "GET / HTTP/01.1\r\n\r\n"),
    ("a version that is none", "GET / HTTP/1.2\r\n\r\n"),
    ("HTTP/2 in clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a method with a colon", "GET: / HTTP/1.1\r\n\r\n"),
    ("a method in small letters", "get / HTTP/1.1\r\n\r\n"),
    ("a tunnel", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    ("everything", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("fragment", "GET /#x HTTP/1.1\r\n\r\n"),
    ("a target beyond ASCII", "GET /\u{f6} HTTP/1.1\r\n\r\n"),
    ("a NUL in the target", "GET /\0 HTTP/1.1\r\n\r\n"),
    // What the target decodes to.
    ("an encoded NUL", "GET /%00 HTTP/1.1\r\n\r\n"),
    ("an encoded line end", "GET /%0d%0aX:%20b HTTP/1.1\r\n\r\n"),
    ("no UTF-8", "GET /%c0%af HTTP/1.1\r\n\r\n"),
    // What belongs to the connection.
    ("an upgrade to h2c", "POST / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("an expectation nobody knows", "POST / HTTP/1.1\r\nExpect: 200-ok\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\na=b"),
];

#[test]
fn none_of_the_corpus_is_accepted() {
    assert!(CORPUS.len() >= 60, "{}", CORPUS.len());
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay), ("/hidden", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    for (name, request) in CORPUS {
        let mut client = Client::connect(&gate);
        client.send(format!("{request}{HIDDEN}"));
        let all = String::from_utf8(client.rest()).unwrap();
        let (line, _) = all.split_once("\r\n").unwrap_or_default();
        let status: u16 = line.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
        assert!((400..=599).contains(&status), "{name}: {all:?}");
        assert_eq!(all.matches("HTTP/1.").count(), 1, "{name}: {all:?}");
        assert_eq!(pve.seen(), [], "{name}");
    }
    // The same client with a lawful request gets both answers: the corpus could have failed.
    let mut client = Client::connect(&gate);
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{HIDDEN}"));
    assert_eq!([client.answer().status(), client.answer().status()], ["200", "200"]);
    assert_eq!(pve.seen().len(), 2);
}

/// What has one lawful meaning that lenient parsers miss: a request within a body stays a body.
#[test]
fn what_looks_like_a_request_in_a_body_is_its_body() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    for lines in [
        format!("Content-Length: {}\r\n", HIDDEN.len()),
        format!("content-length:\t{}  \r\n", HIDDEN.len()),
        format!("Content-Length: 000{}\r\n", HIDDEN.len()),
        format!("Content_Length: 0\r\nContent-Length: {}\r\n", HIDDEN.len()),
        format!("Content-Length: {}\r\nConnection: close, Content-Length\r\n", HIDDEN.len()),
    ] {
        let before = pve.seen().len();
        let mut client = Client::connect(&gate);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{HIDDEN}"));
        let answer = client.answer();
        let seen = pve.seen().split_off(before);
        if answer.status() == "200" {
            assert_eq!(seen.len(), 1, "{lines:?}");
            assert_eq!(seen[0].body, HIDDEN.as_bytes(), "{lines:?}");
            assert_eq!(seen[0].header("content-length"), Some(&*HIDDEN.len().to_string()));
            assert_eq!(seen[0].header("content_length"), None);
        } else {
            assert_eq!(seen, [], "{lines:?}");
            assert_eq!(client.rest(), b"", "{lines:?}");
        }
    }
    assert!(!pve.seen().is_empty());
}
