//! What is sent, and how answers are judged.

use std::time::Duration;

use pve_client::{Client, ClientError, Credentials, Limits, Params, path};
use serde_json::json;

use crate::server::{Answer, Server, data, json};
use crate::{anonymous, secret};

fn token(server: &Server) -> Client {
    let credentials =
        Credentials::Token { id: "root@pam!ci".parse().unwrap(), secret: secret("1234-5678") };
    Client::new(server.endpoint(), None, credentials).unwrap()
}

#[tokio::test]
async fn a_token_is_all_a_request_carries_and_parameters_go_where_pve_reads_them() {
    let server = Server::start(|_| data("[1]")).await;
    let client = token(&server);
    let params = Params::new().with("name", "a b&c").flag("full", true);
    let volume = path(["storage", "local", "content", "local:iso/x.iso"]);
    assert_eq!(client.get("/version", &params).await.unwrap().data, json!([1]));
    client.create("/pools", &params).await.unwrap();
    client.set("pools/x", &Params::new()).await.unwrap();
    client.delete(&volume, &params).await.unwrap();

    let seen = server.seen();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /api2/json/version?name=a%20b%26c&full=1 HTTP/1.1",
            "POST /api2/json/pools HTTP/1.1",
            "PUT /api2/json/pools/x HTTP/1.1",
            "DELETE /api2/json/storage/local/content/local%3Aiso%2Fx.iso?name=a%20b%26c&full=1 HTTP/1.1",
        ]
    );
    let bodies: Vec<&str> = seen.iter().map(|seen| seen.body.as_str()).collect();
    assert_eq!(bodies, ["", "name=a%20b%26c&full=1", "", ""]);
    let lengths: Vec<_> = seen.iter().map(|seen| seen.header("content-length")).collect();
    assert_eq!(lengths, [None, Some("21"), Some("0"), None]);
    for seen in &seen {
        assert_eq!(seen.header("authorization"), Some("PVEAPIToken=root@pam!ci=1234-5678"));
        let authority = server.endpoint().to_string();
        let authority = authority.trim_start_matches("http://").split('/').next().unwrap();
        assert_eq!(seen.header("host"), Some(authority));
        for absent in ["cookie", "csrfpreventiontoken", "transfer-encoding"] {
            assert_eq!(seen.header(absent), None, "{absent}");
        }
    }
}

#[tokio::test]
async fn the_reason_phrase_and_the_field_errors_reach_the_caller() {
    let server = Server::start(|seen| {
        let body = r#"{"data":null,"message":"…\n","errors":{"vmid":"type check failed"}}"#;
        match seen.line.split(' ').nth(1).unwrap() {
            "/api2/json/a" => Answer::Close(json(
                "403 Permission check failed (/nodes/pve1, Sys.Audit)",
                r#"{"data":null}"#,
            )),
            "/api2/json/b" => Answer::Close(json("400 Parameter verification failed.", body)),
            "/api2/json/c" => Answer::Close(json("500 no such user ('ghost@pve')", "{}")),
            "/api2/json/d" => Answer::Close("HTTP/1.1 595 Connection refused\r\n\r\n".to_owned()),
            _ => Answer::Close("HTTP/1.1 501 Method 'GET /x' not implemented\r\n\r\n".to_owned()),
        }
    })
    .await;
    let client = anonymous(&server);
    let mut texts = Vec::new();
    for path in ["/a", "/b", "/c", "/d", "/e"] {
        texts.push(client.get(path, &Params::new()).await.unwrap_err().to_string());
    }
    assert_eq!(
        texts,
        [
            "permission denied: Permission check failed (/nodes/pve1, Sys.Audit)",
            "the API answered 400 Parameter verification failed.; vmid: type check failed",
            "the API answered 500 no such user ('ghost@pve')",
            "the API answered 595 Connection refused",
            "the API answered 501 Method 'GET /x' not implemented",
        ]
    );
}

#[tokio::test]
async fn redirects_are_named_and_not_followed_nor_waited_for() {
    // PVE announces neither a length nor a close here, and closes after five idle seconds.
    let server = Server::start(|_| {
        Answer::Hang(
            "HTTP/1.1 301 Moved\r\nConnection: Keep-Alive\r\n\
             Location: https://evil.example/api2/html/access/ticket\r\n\r\n"
                .to_owned(),
        )
    })
    .await;
    let error = anonymous(&server).get("/x", &Params::new()).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Redirect { status: 301, host } if host == "evil.example"),
        "{error:?}"
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn downloads_come_raw() {
    let log = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nlog";
    let server = Server::start(|_| Answer::Keep(log.to_owned())).await;
    let reply = anonymous(&server).get("/x", &Params::new()).await.unwrap();
    assert_eq!(reply.raw.as_deref(), Some(&b"log"[..]));
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    let server = Server::start(|seen| match seen.line.split(' ').nth(1).unwrap() {
        "/api2/json/announced" => {
            Answer::Hang("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n".to_owned())
        }
        "/api2/json/endless" => Answer::Hang(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(101))),
        "/api2/json/silent" => Answer::Hang(String::new()),
        _ => Answer::Hang("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned()),
    })
    .await;
    let limits = Limits { body: 100, response: Duration::from_millis(300), ..Limits::default() };
    let client = Client::with_limits(server.endpoint(), None, Credentials::None, limits).unwrap();
    for path in ["announced", "endless"] {
        let error = client.get(path, &Params::new()).await.unwrap_err();
        assert!(matches!(error, ClientError::TooLarge { limit: 100, .. }), "{path}: {error:?}");
    }
    for path in ["silent", "half"] {
        let error = client.get(path, &Params::new()).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{path}: {error:?}");
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn what_pve_would_drop_without_a_word_is_not_sent() {
    let server = Server::start(|_| data("1")).await;
    let client = anonymous(&server);
    let long = Params::new().with("a", "x".repeat(7000));
    let huge = Params::new().with("a", "x".repeat(600_000));
    let refused = [
        client.get("/x", &long).await.unwrap_err(),
        client.delete("/x", &long).await.unwrap_err(),
        client.create("/x", &huge).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, ClientError::TooLarge { .. }), "{error:?}");
    }
    client.create("/x", &long).await.unwrap();
    assert!(matches!(client.get("/x?y=z", &Params::new()).await, Err(ClientError::Usage(_))));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn what_is_not_http_is_told() {
    let server = Server::start(|_| Answer::Close("SSH-2.0-OpenSSH_9.2\r\n".to_owned())).await;
    let error = anonymous(&server).get("/x", &Params::new()).await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
}
