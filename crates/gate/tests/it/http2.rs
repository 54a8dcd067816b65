//! HTTP/2, which has no reason phrase and no websockets.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::runtime;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    _connection: JoinSet<()>,
}

impl Client {
    fn connect(gate: &Gate) -> Self {
        Self::try_connect(gate).unwrap()
    }

    fn try_connect(gate: &Gate) -> std::io::Result<Self> {
        let runtime = runtime();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(gate.authority.as_bytes()).unwrap()).unwrap();
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut connection = JoinSet::new();
        let sender = runtime.block_on(async {
            let tcp = TcpStream::connect(gate.address).await.unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
            let (sender, driver) =
                handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
            connection.spawn(async { driver.await.unwrap() });
            std::io::Result::Ok(sender)
        })?;
        Ok(Self { runtime, sender, _connection: connection })
    }

    fn ask(&mut self, request: Request<Full<Bytes>>) -> (Response<()>, String) {
        let sender = &mut self.sender;
        self.runtime.block_on(async {
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.version(), Version::HTTP_2);
            let (head, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (Response::from_parts(head, ()), String::from_utf8(body.to_vec()).unwrap())
        })
    }

    fn get(&mut self, path: &str) -> (Response<()>, String) {
        self.ask(request("GET", path, ""))
    }
}

fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(format!("https://pve1:8006{path}"));
    request.body(Full::from(body)).unwrap()
}

#[test]
fn requests_arrive_as_http1_with_host_and_one_cookie_line() {
    let pve = Pve::start(&[("/a", &ok("{\"data\":1}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    let mut request = request("PUT", "/a?b", "c=d");
    for cookie in ["x=1", "PVEAuthCookie=2", "PVELangCookie=de", "PVEAuthCookie=3"] {
        request.headers_mut().append("cookie", cookie.parse().unwrap());
    }
    let (head, body) = client.ask(request);
    assert_eq!((head.status().as_u16(), body.as_str()), (200, "{\"data\":1}"));
    assert_eq!(head.headers()["server"], "pve-api-daemon/3.0");
    assert!(!head.headers().contains_key("proxward-reason"));
    let seen = &pve.seen()[0];
    assert_eq!(seen.line, "PUT /a?b HTTP/1.1");
    assert_eq!(seen.header("host"), Some("pve1:8006"));
    assert_eq!(seen.header("cookie"), Some("PVEAuthCookie=2; PVELangCookie=de"));
    assert_eq!(seen.body, b"c=d");
}

#[test]
fn phrases_survive_where_no_body_says_them() {
    let json = "HTTP/1.1 403 Permission check failed (/, Sys.Audit)\r\nContent-Length: 33\r\n\
        Content-Type: application/json;charset=UTF-8\r\n\r\n{\"data\":null,\"message\":\"refused\"}";
    let pve = Pve::start(&[
        ("/empty", "HTTP/1.1 401 No ticket\r\nConnection: close\r\n\r\n", Then::Close),
        ("/text", "HTTP/1.1 500 no such file '/x'\r\nContent-Length: 4\r\n\r\ntext", Then::Stay),
        ("/json", json, Then::Stay),
    ]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    let (head, body) = client.get("/empty");
    assert_eq!(head.status(), 401);
    assert_eq!(head.headers()["proxward-reason"], "No ticket");
    assert_eq!(body, "{\"data\":null,\"message\":\"No ticket\"}");
    let (head, body) = client.get("/text");
    assert_eq!(head.headers()["proxward-reason"], "no such file '/x'");
    assert_eq!(body, "text");
    let (head, body) = client.get("/json");
    assert!(!head.headers().contains_key("proxward-reason"));
    assert_eq!(body, "{\"data\":null,\"message\":\"refused\"}");
}

#[test]
fn the_rules_are_those_of_http1() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    let (head, body) = client.ask(request("PATCH", "/", ""));
    assert_eq!(head.status(), 501);
    assert_eq!(head.headers()["proxward-reason"], "method 'PATCH' not available");
    assert_eq!(body, "{\"data\":null,\"message\":\"method 'PATCH' not available\"}");
    let (head, body) = client.ask(request("HEAD", "/", ""));
    assert_eq!((head.status().as_u16(), body.as_str()), (501, ""));
    let (head, _) = client.ask(request("DELETE", "/", "a=b"));
    assert_eq!(head.headers()["proxward-reason"], "Unexpected content for method 'DELETE'");
    let mut foreign = request("GET", "/", "");
    foreign.headers_mut().insert("host", "evil".parse().unwrap());
    assert_eq!(client.ask(foreign).0.status(), 400);
    let (head, _) = client.get("/%00");
    assert_eq!(head.status(), 400);
    assert_eq!(pve.seen(), []);
    assert_eq!(client.get("/").0.status(), 200);
}

#[test]
fn many_streams_share_one_connection() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let client = Client::connect(&gate);
    client.runtime.block_on(async {
        let mut all = JoinSet::new();
        for _ in 0..50 {
            let mut sender = client.sender.clone();
            all.spawn(async move {
                sender.ready().await.unwrap();
                sender.send_request(request("GET", "/", "")).await.unwrap().status()
            });
        }
        for status in all.join_all().await {
            assert_eq!(status, 200);
        }
    });
    assert_eq!(pve.seen().len(), 50);
}

#[test]
fn http2_can_be_left_out() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::with(pve.address, |config| config.http2 = false);
    assert!(Client::try_connect(&gate).is_err(), "no protocol in common");
}
