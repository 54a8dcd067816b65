//! What the gate tells about itself, and to whom.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;

use gate::MetricsAddress;

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn observed(pve: &Pve) -> (Gate, SocketAddr) {
    let gate = Gate::with(pve.address, |config| {
        config.traffic.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    });
    let Some(MetricsAddress::Tcp(address)) = gate.metrics_address() else { panic!() };
    (gate, address)
}

#[test]
fn metrics_are_read_on_their_own_socket() {
    let path = "/api2/json/cluster/resources";
    let pve = Pve::start(&[
        (path, &ok("{}"), Then::Stay),
        ("/metrics", "HTTP/1.1 404 Not found\r\nContent-Length: 0\r\n\r\n", Then::Stay),
    ]);
    let (gate, address) = observed(&pve);
    let mut client = Client::connect(&gate);
    assert_eq!(client.get(path).status(), "200");
    assert_eq!(client.get("/metrics?x").status(), "404", "not where clients are");
    gate.counts("proxward_gate_requests_in_flight{}", 0);
    let metrics = |request: &str| ask(TcpStream::connect(address).unwrap(), request);
    let answer = metrics("GET /metrics HTTP/1.1\r\nHost: localhost:9108\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for line in [
        "proxward_gate_endpoint_requests_total{endpoint=\"poll\",class=\"2xx\"} 1\n",
        "proxward_gate_request_seconds_count{endpoint=\"poll\"} 1\n",
        "proxward_gate_endpoint_requests_total{endpoint=\"page\",class=\"4xx\"} 1\n",
        "proxward_gate_upstream_idle_connections{} 1\n",
        "proxward_gate_limits_total{limit=\"head\"} 0\n",
        "proxward_gate_standing{of=\"sessions\"} 0\n",
        "proxward_gate_standing{of=\"bans\"} 0\n",
        "# EOF\n",
    ] {
        assert!(answer.contains(line), "{line}{answer}");
    }
    for (request, status) in [
        ("GET /health HTTP/1.1\r\nHost: [::1]\r\n\r\n", "200"),
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "404"),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
    ] {
        let answer = metrics(request);
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request}: {answer}");
    }
    // Bytes without end, and none at all, are not waited for by others.
    let _silent = TcpStream::connect(address).unwrap();
    assert_eq!(metrics(&format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(9000))), "");
    assert!(metrics("GET /metrics HTTP/1.1\r\n\r\n").contains("# EOF"));
}

#[test]
fn a_unix_socket_comes_and_goes_with_the_gate() {
    let pve = Pve::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    let at = |config: &mut gate::Config| {
        config.traffic.metrics_listen = Some(path.to_str().unwrap().parse().unwrap());
    };
    for _ in 0..2 {
        let gate = Gate::with(pve.address, at);
        let answer = ask(UnixStream::connect(&path).unwrap(), "GET /metrics HTTP/1.0\r\n\r\n");
        assert!(answer.contains("# EOF"));
        gate.stop();
        gate.join();
        assert!(!path.exists());
    }
    // What a gate has left behind is taken away, another's file is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(Gate::with(pve.address, at));
    std::fs::write(&path, "").unwrap();
    assert!(Gate::try_with(pve.address, at).is_err());
}

#[test]
fn health_is_for_this_machine_alone() {
    let pve = Pve::start(&[]);
    let gate = Gate::with(pve.address, |config| {
        config.proxy_protocol_from = netpolicy::AddressSet::strict("127.0.0.2").unwrap();
    });
    let answer = Client::connect(&gate).get("/proxward/health");
    assert_eq!(answer.status(), "200");
    assert_eq!(
        answer.body,
        r#"{"draining":false,"live":true,"ready":true,"store":true,"successor_wanted":false,"upstream":true}"#
    );
    let forwarded = "GET /proxward/health HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ::1\r\n\r\n";
    assert_eq!(Client::connect(&gate).ask(forwarded).status(), "404");
    let elsewhere = "PROXY TCP4 192.0.2.9 192.0.2.1 5000 8006\r\n";
    let mut client =
        Client::from_after(&gate, ([127, 0, 0, 2], 0).into(), elsewhere.as_bytes()).unwrap();
    assert_eq!(client.get("/proxward/health").status(), "404");
    assert_eq!(pve.seen(), []);
}
