//! Keep-alive, stale connections, TLS.

use std::time::Duration;

use pve_client::{Client, ClientError, Credentials, IDLE_TIMEOUT, Params};
use tls::{Acceptor, Alpn, Authority, Distrust, HandshakeError, Trust};

use crate::anonymous;
use crate::server::{Answer, Server, data, json};

fn connections(server: &Server) -> Vec<usize> {
    server.seen().iter().map(|seen| seen.connection).collect()
}

/// Moves the clock without waiting.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn one_connection_serves_calls_in_a_row_until_it_is_old() {
    let server = Server::start(|_| data("1")).await;
    let client = anonymous(&server);
    for _ in 0..3 {
        client.get("/x", &Params::new()).await.unwrap();
    }
    pass(IDLE_TIMEOUT).await;
    client.create("/x", &Params::new()).await.unwrap();
    assert_eq!(connections(&server), [0, 0, 0, 1]);
}

#[tokio::test]
async fn two_connection_headers_are_read_as_pve_means_them_or_stricter() {
    // As relayed from pvedaemon.
    let server = Server::start(|_| {
        let answer = json("200 OK", r#"{"data":1}"#);
        let both = "OK\r\nConnection: close\r\nConnection: Keep-Alive\r\n";
        Answer::Keep(answer.replacen("OK\r\n", both, 1))
    })
    .await;
    let client = anonymous(&server);
    for _ in 0..3 {
        assert_eq!(client.create("/x", &Params::new()).await.unwrap().data, 1);
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_noticed_before_anything_is_sent() {
    let server = Server::start(|_| Answer::Close(json("200 OK", r#"{"data":1}"#))).await;
    let client = anonymous(&server);
    for _ in 0..3 {
        // Not even a POST, which is never repeated, is hurt.
        client.create("/x", &Params::new()).await.unwrap();
    }
    assert_eq!(connections(&server), [0, 1, 2]);
}

/// As in a program that works between calls without giving the runtime a turn.
#[tokio::test]
async fn a_close_the_runtime_has_not_collected_yet_is_noticed_too() {
    use std::io::{BufRead as _, BufReader, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (closed, wait) = std::sync::mpsc::channel();
    let (answered, go_on) = std::sync::mpsc::channel::<()>();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let reader = BufReader::new(stream.try_clone().unwrap());
            let head = reader.lines().take_while(|line| !line.as_ref().unwrap().is_empty());
            assert!(head.count() > 1);
            stream.write_all(json("200 OK", r#"{"data":1}"#).as_bytes()).unwrap();
            let _ = go_on.recv();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let client = Client::new(endpoint, None, Credentials::None).unwrap();
    client.create("/x", &Params::new()).await.unwrap();
    answered.send(()).unwrap();
    wait.recv().unwrap();
    client.create("/x", &Params::new()).await.unwrap();
    drop(answered);
    server.join().unwrap();
}

#[tokio::test]
async fn only_a_get_is_repeated_when_a_kept_connection_breaks_and_only_once() {
    let server = Server::start(|seen| match (seen.connection, seen.line.split(' ').next()) {
        (0, _) if seen.line.contains("first") => data("1"),
        (1, Some("GET")) => data("2"),
        (1, _) if seen.line.contains("first") => data("3"),
        _ => Answer::Close(String::new()),
    })
    .await;
    let client = anonymous(&server);
    let get = async |path| client.get(path, &Params::new()).await;
    assert_eq!(get("/first").await.unwrap().data, 1);
    assert_eq!(get("/then").await.unwrap().data, 2);
    assert_eq!(connections(&server), [0, 0, 1]);

    let error = client.create("/then", &Params::new()).await.unwrap_err();
    assert!(error.to_string().contains("may have been executed"), "{error}");
    assert_eq!(connections(&server), [0, 0, 1, 1]);

    // A fresh connection that breaks is not a stale one.
    let error = get("/then").await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
    assert_eq!(connections(&server), [0, 0, 1, 1, 2]);
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = format!("http://{address}").parse().unwrap();
    let client = Client::new(endpoint, None, Credentials::None).unwrap();
    match client.get("/x", &Params::new()).await.unwrap_err() {
        ClientError::Connect { addr, .. } => assert_eq!(addr, address.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tls_by_authority_or_pin_and_never_without() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let authority = Authority::generate("Test", now).unwrap();
    let identity = authority.issue(&["127.0.0.1"], now).unwrap();
    let acceptor = Acceptor::new(&identity, Alpn::Http1).unwrap();
    let server = Server::with_tls(Some(acceptor), |_| data("1")).await;
    let client = |trust: Option<&Trust>| Client::new(server.endpoint(), trust, Credentials::None);

    let by_authority = Trust::Authority(authority.certificate_pem().into());
    for trust in [by_authority, Trust::Pin(identity.fingerprint())] {
        client(Some(&trust)).unwrap().get("/x", &Params::new()).await.unwrap();
    }
    let other = Authority::generate("Other", now).unwrap();
    let other = Trust::Authority(other.certificate_pem().into());
    let error = client(Some(&other)).unwrap().get("/x", &Params::new()).await.unwrap_err();
    match error {
        ClientError::Tls(HandshakeError::Untrusted { reason, seen, .. }) => {
            assert_eq!((reason, seen), (Distrust::UnknownIssuer, identity.fingerprint()));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(client(None), Err(ClientError::Usage(_))));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_cut_under_tls_spoils_data_and_not_an_error() {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let authority = Authority::generate("Test", now).unwrap();
    let identity = authority.issue(&["127.0.0.1"], now).unwrap();
    let acceptor = Acceptor::new(&identity, Alpn::Http1).unwrap();
    let server = Server::with_tls(Some(acceptor), |seen| {
        let status = if seen.line.contains("data") { "200 OK" } else { "500 it broke" };
        let kind = "Content-Type: application/json";
        Answer::Cut(format!("HTTP/1.1 {status}\r\n{kind}\r\n\r\n{{\"data\":1}}"))
    })
    .await;
    let trust = Trust::Pin(identity.fingerprint());
    let client = Client::new(server.endpoint(), Some(&trust), Credentials::None).unwrap();
    let error = client.get("/data", &Params::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
    let error = client.get("/error", &Params::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "the API answered 500 it broke");
}
