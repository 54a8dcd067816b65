//! The same over HTTP/2, by frames that no well-behaved client writes: what could mean something
//! else once it is HTTP/1 again never reaches Proxmox VE.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::runtime;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status` 200 of the static table (RFC 7541 appendix A): what an accepted request is answered
/// with here.
const OK: u8 = 0x88;

type Field = (&'static str, &'static str);

const METHOD: Field = (":method", "GET");
const POST: Field = (":method", "POST");
const SCHEME: Field = (":scheme", "https");
const PATH: Field = (":path", "/");
const AUTHORITY: Field = (":authority", "pve1:8006");

/// What is wrong, the fields of the head, and the body with its end; no body ends with the head.
#[rustfmt::skip]
const CORPUS: &[(&str, &[Field], Option<&str>)] = &[
    // Pseudo headers (RFC 9113 §8.3).
    ("no method", &[SCHEME, PATH, AUTHORITY], None),
    ("no path", &[METHOD, SCHEME, AUTHORITY], None),
    ("no scheme", &[METHOD, PATH, AUTHORITY], None),
    ("two methods", &[METHOD, POST, SCHEME, PATH, AUTHORITY], None),
    ("two paths", &[METHOD, SCHEME, PATH, (":path", "/hidden"), AUTHORITY], None),
    ("two schemes", &[METHOD, SCHEME, SCHEME, PATH, AUTHORITY], None),
    ("two authorities", &[METHOD, SCHEME, PATH, AUTHORITY, (":authority", "b")], None),
    ("a path behind a header", &[METHOD, SCHEME, AUTHORITY, ("accept", "a"), PATH], None),
    ("a pseudo header nobody knows", &[METHOD, SCHEME, PATH, AUTHORITY, (":hidden", "a")], None),
    ("a status", &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")], None),
    ("an empty path", &[METHOD, SCHEME, (":path", ""), AUTHORITY], None),
    ("a path without a slash", &[METHOD, SCHEME, (":path", "hidden"), AUTHORITY], None),
    ("a path that is a URL", &[METHOD, SCHEME, (":path", "https://b/hidden"), AUTHORITY], None),
    ("a path with a space", &[METHOD, SCHEME, (":path", "/ HTTP/1.1"), AUTHORITY], None),
    ("a request in the path", &[METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nX: y\r\n\r\nGET /hidden"), AUTHORITY], None),
    ("a NUL in the path", &[METHOD, SCHEME, (":path", "/\0"), AUTHORITY], None),
    ("a path beyond ASCII", &[METHOD, SCHEME, (":path", "/\u{f6}"), AUTHORITY], None),
    ("an encoded line end in the path", &[METHOD, SCHEME, (":path", "/%0d%0a"), AUTHORITY], None),
    ("a method with a space", &[(":method", "GET /hidden"), SCHEME, PATH, AUTHORITY], None),
    ("a request in the method", &[(":method", "GET /hidden HTTP/1.1\r\nX: y\r\n\r\nGET"), SCHEME, PATH, AUTHORITY], None),
    ("an empty method", &[(":method", ""), SCHEME, PATH, AUTHORITY], None),
    ("everything", &[(":method", "OPTIONS"), SCHEME, (":path", "*"), AUTHORITY], None),
    ("a tunnel", &[(":method", "CONNECT"), AUTHORITY], None),
    ("a websocket", &[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, PATH, AUTHORITY], None),
    ("a line end in the authority", &[METHOD, SCHEME, PATH, (":authority", "a\r\nX: y")], None),
    ("a user in the authority", &[METHOD, SCHEME, PATH, (":authority", "a@b")], None),
    ("a path in the authority", &[METHOD, SCHEME, PATH, (":authority", "a/hidden")], None),
    ("a request in the scheme", &[METHOD, (":scheme", "https://a/ HTTP/1.1\r\nX: y"), PATH, AUTHORITY], None),
    // For whom it is.
    ("another host", &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "b")], None),
    ("two hosts", &[METHOD, SCHEME, PATH, ("host", "a"), ("host", "b")], None),
    // Names (§8.2.1).
    ("a name in capitals", &[METHOD, SCHEME, PATH, AUTHORITY, ("X-Name", "a")], None),
    ("an empty name", &[METHOD, SCHEME, PATH, AUTHORITY, ("", "a")], None),
    ("a name with a space", &[METHOD, SCHEME, PATH, AUTHORITY, ("x y", "a")], None),
    ("a name with a colon", &[METHOD, SCHEME, PATH, AUTHORITY, ("x:y", "a")], None),
    ("a header in the name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x: y\r\ntransfer-encoding", "chunked")], None),
    ("a NUL in the name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x\0", "a")], None),
    // Values (§8.2.1).
    ("a line end in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("accept", "a\r\nx: y")], None),
    ("a request in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("accept", "a\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n")], None),
    ("a bare LF in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("accept", "a\nx: y")], None),
    ("a bare CR in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("accept", "a\rx: y")], None),
    ("a NUL in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("accept", "a\0b")], None),
    ("a line end in a cookie", &[METHOD, SCHEME, PATH, AUTHORITY, ("cookie", "a=b\r\nx: y")], None),
    // Headers of a connection (§8.2.2).
    ("TE chunked", &[POST, SCHEME, PATH, AUTHORITY, ("transfer-encoding", "chunked")], Some("0\r\n\r\n")),
    ("connection", &[METHOD, SCHEME, PATH, AUTHORITY, ("connection", "close")], None),
    ("connection names a header", &[METHOD, SCHEME, PATH, AUTHORITY, ("connection", "cookie")], None),
    ("keep-alive", &[METHOD, SCHEME, PATH, AUTHORITY, ("keep-alive", "timeout=5")], None),
    ("proxy-connection", &[METHOD, SCHEME, PATH, AUTHORITY, ("proxy-connection", "keep-alive")], None),
    ("upgrade", &[METHOD, SCHEME, PATH, AUTHORITY, ("upgrade", "websocket")], None),
    ("te", &[METHOD, SCHEME, PATH, AUTHORITY, ("te", "chunked")], None),
    // Where the message ends (§8.1.1).
    ("a length beyond the body", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "40")], Some("a=b")),
    ("a length within the body", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "1")], Some("a=b")),
    ("a length of nothing", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "0")], Some("a=b")),
    ("a length without a body", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "3")], None),
    ("two lengths", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "3"), ("content-length", "0")], Some("a=b")),
    ("a length with a sign", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "+3")], Some("a=b")),
    ("a list of lengths", &[POST, SCHEME, PATH, AUTHORITY, ("content-length", "3, 3")], Some("a=b")),
    ("a body of a GET", &[METHOD, SCHEME, PATH, AUTHORITY], Some("GET /hidden HTTP/1.1\r\n\r\n")),
];

#[test]
fn none_of_the_corpus_is_accepted() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay), ("/hidden", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    for (name, fields, body) in CORPUS {
        let outcome = Raw::connect(&gate).ask(fields, *body);
        assert!(!matches!(outcome, Outcome::Answered(OK)), "{name}: {outcome:?}");
        assert_eq!(pve.seen(), [], "{name}: {outcome:?}");
    }
    // The same frames around a lawful head get through: the corpus could have failed.
    let outcome = Raw::connect(&gate).ask(&[METHOD, SCHEME, PATH, AUTHORITY], None);
    assert_eq!(outcome, Outcome::Answered(OK));
    let posted = Raw::connect(&gate).ask(&[POST, SCHEME, PATH, AUTHORITY], Some("a=b"));
    assert_eq!(posted, Outcome::Answered(OK));
    assert_eq!(pve.seen()[1].body, b"a=b");
}

/// What came back to one request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The first byte of the answer's head, an indexed status.
    Answered(u8),
    Reset,
    /// The connection ended.
    Gone,
}

/// A connection on which frames are written as they are.
struct Raw {
    runtime: Runtime,
    stream: TlsStream<TcpStream>,
}

impl Raw {
    fn connect(gate: &Gate) -> Self {
        let runtime = runtime();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(gate.authority.as_bytes()).unwrap()).unwrap();
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = runtime.block_on(async {
            let tcp = TcpStream::connect(gate.address).await.unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
        });
        Self { runtime, stream }
    }

    fn ask(&mut self, fields: &[Field], body: Option<&str>) -> Outcome {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, b""));
        let flags = END_HEADERS | if body.is_none() { END_STREAM } else { 0 };
        bytes.extend(frame(HEADERS, flags, 1, &block(fields)));
        if let Some(body) = body {
            bytes.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
        // Its answer says that everything before it was read.
        bytes.extend(frame(PING, 0, 0, b"finished"));
        let Self { runtime, stream } = self;
        runtime.block_on(async {
            stream.write_all(&bytes).await.unwrap();
            let outcome = tokio::time::timeout(PATIENCE, outcome(stream)).await;
            outcome.expect("an outcome in time")
        })
    }
}

async fn outcome(stream: &mut TlsStream<TcpStream>) -> Outcome {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Outcome::Gone;
        }
        let [high, middle, low, kind, _, _, _, _, _] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return Outcome::Gone;
        }
        match kind {
            // The size of the table may be announced before the status.
            HEADERS => {
                let status = payload.iter().find(|byte| **byte >= 0x40).copied();
                return Outcome::Answered(status.unwrap_or_default());
            }
            RST_STREAM => return Outcome::Reset,
            GOAWAY => return Outcome::Gone,
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![high, middle, low, kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block of literals without indexing (RFC 7541 §6.2.2): every byte as it is.
fn block(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}
