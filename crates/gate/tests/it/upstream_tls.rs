//! Proxmox VE over TLS: its certificate, and its way of hanging up.

use std::net::SocketAddr;
use std::thread;

use gate::Destination;
use telemetry::Clock;
use tls::{Acceptor, Alpn, Authority, Fingerprint, Trust};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::client::{Client, runtime};
use crate::gate::Gate;

const NO_TICKET: &[u8] = b"HTTP/1.1 401 No ticket\r\nConnection: close\r\n\r\n";
const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";

/// Answers every connection with these bytes and closes it without a TLS goodbye, as
/// pveproxy does.
fn pveproxy(answer: &'static [u8]) -> (SocketAddr, Fingerprint) {
    let unix = Clock::system().unix();
    let authority = Authority::generate("node", unix).unwrap();
    let identity = authority.issue(&["127.0.0.1"], unix).unwrap();
    let acceptor = Acceptor::new(&identity, Alpn::Http1).unwrap();
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                // A gate that does not trust the certificate hangs up.
                let Ok(mut stream) = acceptor.accept(tcp).await else {
                    continue;
                };
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                stream.write_all(answer).await.unwrap();
                stream.flush().await.unwrap();
            }
        });
    });
    (address, identity.fingerprint())
}

fn pinned(address: SocketAddr, fingerprint: Fingerprint) -> Gate {
    Gate::with(address, |config| {
        let trust = Trust::Pin(fingerprint);
        let url = format!("https://{address}");
        config.destination = Destination::new(&url, Some(&trust)).unwrap();
    })
}

#[test]
fn an_answer_that_ends_with_the_connection_needs_no_goodbye() {
    let (address, fingerprint) = pveproxy(NO_TICKET);
    let gate = pinned(address, fingerprint);
    let mut client = Client::connect(&gate);
    for _ in 0..3 {
        assert_eq!(client.get("/").line, "HTTP/1.1 401 No ticket");
    }
}

#[test]
fn an_answer_with_a_length_that_is_cut_does_not_look_whole() {
    let (address, fingerprint) = pveproxy(CUT);
    let gate = pinned(address, fingerprint);
    let mut client = Client::connect(&gate);
    client.send("GET / HTTP/1.1\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    let body = all.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(body.len() < 10, "{all}");
}

#[test]
fn another_certificate_than_the_pinned_one_gets_no_request() {
    let (address, _) = pveproxy(NO_TICKET);
    let gate = pinned(address, Fingerprint::of(b"another"));
    let answer = Client::connect(&gate).get("/");
    assert_eq!(answer.line, "HTTP/1.1 502 no connection to Proxmox VE");
}
