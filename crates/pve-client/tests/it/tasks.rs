//! Waiting for tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pve_client::{ClientError, POLL_MIN, TaskStatus, Upid};

use crate::anonymous;
use crate::server::{Answer, Server, data, json};

const UPID: &str = "UPID:pve1:0000A3F1:0012AB34:6B00CE44:qmstart:100:root@pam:";

fn upid() -> Upid {
    UPID.parse().unwrap()
}

#[tokio::test]
async fn the_end_is_waited_for_over_transient_failures() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => data(r#"{"status":"running"}"#),
        1 => Answer::Close("HTTP/1.1 596 Broken pipe\r\n\r\n".to_owned()),
        2 => Answer::Close(String::new()),
        _ => data(r#"{"status":"stopped","exitstatus":"WARNINGS: 2"}"#),
    })
    .await;
    let deadline = Duration::from_secs(60);
    let ended = anonymous(&server).wait_task(&upid(), deadline, Duration::ZERO).await.unwrap();
    assert_eq!(ended, TaskStatus::Warnings(2));
    let line = &server.seen()[0].line;
    assert!(line.contains("/nodes/pve1/tasks/UPID%3Apve1%3A0000A3F1%3A"), "{line}");
}

#[tokio::test]
async fn a_deadline_and_a_refusal_end_the_wait() {
    let server = Server::start(|_| data(r#"{"status":"running"}"#)).await;
    let waited = anonymous(&server).wait_task(&upid(), 3 * POLL_MIN, POLL_MIN).await;
    assert!(matches!(waited, Err(ClientError::Timeout { .. })), "{waited:?}");
    assert!((1..=3).contains(&server.seen().len()));

    let server = Server::start(|_| Answer::Close(json("403 Permission check failed", "{}"))).await;
    let waited = anonymous(&server).wait_task(&upid(), Duration::from_secs(60), POLL_MIN).await;
    assert!(matches!(waited, Err(ClientError::Permission { .. })), "{waited:?}");
    assert_eq!(server.seen().len(), 1);
}
