//! Login, second factor, renewal, refusals.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pve_client::{
    Client, ClientError, Credentials, Params, SecondFactor, TICKET_LIFETIME, TICKET_RENEWAL,
};
use tokio::task::JoinSet;

use crate::secret;
use crate::server::{Answer, Seen, Server, data, json};

const LOGIN: &str = "/api2/json/access/ticket";
const CHALLENGE: &str = r#"PVE:!tfa!{\"totp\"%3Atrue,\"recovery\"%3A[0,1]}:6B00CF36::sig=="#;

/// As recorded: no body, no length, the end is the close.
fn refused(reason: &str) -> Answer {
    Answer::Close(format!("HTTP/1.1 401 {reason}\r\nConnection: close\r\n\r\n"))
}

fn ticket(number: usize) -> Answer {
    data(&format!(
        r#"{{"ticket":"PVE:root@pam:6B00CE44::s+/{number}==","CSRFPreventionToken":"6B00CE44:c{number}","username":"root@pam","clustername":"lab","cap":{{"vms":{{"VM.Audit":1}}}}}}"#
    ))
}

fn is_login(seen: &Seen) -> bool {
    seen.line.starts_with(&format!("POST {LOGIN} "))
}

fn password(second_factor: Option<SecondFactor>) -> Credentials {
    Credentials::Password {
        user: "root@pam".parse().unwrap(),
        password: secret("pass word&=+"),
        second_factor,
    }
}

fn client(server: &Server, credentials: Credentials) -> Client {
    Client::new(server.endpoint(), None, credentials).unwrap()
}

async fn get(client: &Client, path: &str) -> Result<(), ClientError> {
    client.get(path, &Params::new()).await.map(|_| ())
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Gives tickets 1, 2, … and lets in whoever holds the newest of at least `valid_from`.
fn tickets(valid_from: usize) -> impl Fn(&Seen) -> Answer + Send + Sync {
    let given = AtomicUsize::new(0);
    move |seen| {
        if is_login(seen) {
            return ticket(given.fetch_add(1, Ordering::SeqCst) + 1);
        }
        let newest = given.load(Ordering::SeqCst);
        let cookie =
            format!("PVEAuthCookie=PVE%3Aroot%40pam%3A6B00CE44%3A%3As%2B%2F{newest}%3D%3D");
        if newest >= valid_from && seen.header("cookie") == Some(&cookie) {
            data("1")
        } else {
            refused("invalid PVE ticket")
        }
    }
}

#[tokio::test]
async fn many_first_calls_log_in_once_and_carry_cookie_and_csrf_token() {
    let server = Server::start(tickets(1)).await;
    let client = client(&server, password(None));
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        calls.spawn(async move { get(&client, "/x").await });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap().unwrap();
    }
    client.create("/x", &Params::new()).await.unwrap();
    client.delete("/x", &Params::new()).await.unwrap();

    let seen = server.seen();
    assert_eq!(seen[0].body, "username=root%40pam&password=pass%20word%26%3D%2B");
    assert_eq!(server.count(LOGIN), 1);
    for seen in seen.iter().filter(|seen| !is_login(seen)) {
        let expected = (!seen.line.starts_with("GET")).then_some("6B00CE44:c1");
        assert_eq!(seen.header("csrfpreventiontoken"), expected, "{}", seen.line);
        assert_eq!(seen.header("authorization"), None);
    }
}

#[tokio::test]
async fn many_refused_calls_log_in_once_more() {
    let server = Server::start(tickets(2)).await;
    let client = client(&server, password(None));
    let first = client.login().await.unwrap();
    assert_eq!((first.user.as_str(), first.cluster.as_deref()), ("root@pam", Some("lab")));
    assert_eq!(first.capabilities["vms"]["VM.Audit"], 1);
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        calls.spawn(async move { client.create("/x", &Params::new()).await });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(server.count(LOGIN), 2);
}

#[tokio::test]
async fn a_call_that_stays_refused_ends_after_one_new_login() {
    let server = Server::start(tickets(usize::MAX)).await;
    let error = get(&client(&server, password(None)), "/x").await.unwrap_err();
    assert_eq!(error.to_string(), "authentication refused: invalid PVE ticket");
    assert_eq!((server.count(LOGIN), server.count("/api2/json/x")), (2, 2));
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_again_on_request_only() {
    let server = Server::start(|_| {
        Answer::Close(json("401 authentication failure", r#"{"data":null,"message":"x\n"}"#))
    })
    .await;
    let client = client(&server, password(None));
    for _ in 0..3 {
        let error = get(&client, "/x").await.unwrap_err();
        assert_eq!(error.to_string(), "authentication refused: authentication failure");
    }
    assert_eq!(server.seen().len(), 1);
    client.login().await.unwrap_err();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_refused_login_call_is_not_repeated() {
    let server =
        Server::start(
            |seen| {
                if seen.body.contains("username=root") { ticket(1) } else { refused("no") }
            },
        )
        .await;
    let client = client(&server, password(None));
    let params = Params::new().with("username", "other@pve").with("password", "guess");
    client.create("/access/ticket", &params).await.unwrap_err();
    assert_eq!(server.seen().iter().filter(|seen| seen.body.contains("guess")).count(), 1);
}

/// Challenges the password, takes one code once.
fn second_factor(code: &'static str) -> impl Fn(&Seen) -> Answer + Send + Sync {
    let taken = AtomicUsize::new(0);
    move |seen| {
        if !is_login(seen) {
            return if taken.load(Ordering::SeqCst) == 1 { data("1") } else { refused("expired") };
        }
        if !seen.body.contains("tfa-challenge=") {
            return data(&format!(
                r#"{{"NeedTFA":1,"ticket":"{CHALLENGE}","CSRFPreventionToken":"6B00CF36:c","username":"root@pam"}}"#
            ));
        }
        let expected = format!(
            "username=root%40pam&tfa-challenge=PVE%3A%21tfa%21%7B%22totp%22%253Atrue%2C\
             %22recovery%22%253A%5B0%2C1%5D%7D%3A6B00CF36%3A%3Asig%3D%3D&password={code}"
        );
        if seen.body == expected && taken.fetch_add(1, Ordering::SeqCst) == 0 {
            ticket(1)
        } else {
            refused("authentication failure")
        }
    }
}

#[tokio::test]
async fn the_challenge_is_answered_with_the_code_given() {
    for (factor, sent) in [
        (SecondFactor::Totp(secret("296650\n")), "totp%3A296650"),
        (SecondFactor::Recovery(secret("ab12-cd34")), "recovery%3Aab12-cd34"),
    ] {
        let server = Server::start(second_factor(sent)).await;
        let client = client(&server, password(Some(factor)));
        get(&client, "/x").await.unwrap();
        assert_eq!(server.count(LOGIN), 2);
    }
}

#[tokio::test]
async fn without_a_code_the_error_names_what_the_account_has() {
    let server = Server::start(second_factor("totp%3A1")).await;
    let error = get(&client(&server, password(None)), "/x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a second factor is needed (the account has: recovery, totp); \
         give one for the login, or use an API token"
    );
    assert_eq!(server.count(LOGIN), 1);
}

#[tokio::test]
async fn a_code_is_not_sent_twice() {
    let server = Server::start(move |seen| {
        if !is_login(seen) {
            return refused("expired");
        }
        if seen.body.contains("tfa-challenge=") {
            return ticket(1);
        }
        data(&format!(r#"{{"NeedTFA":"1","ticket":"{CHALLENGE}","username":"root@pam"}}"#))
    })
    .await;
    let client = client(&server, password(Some(SecondFactor::Totp(secret("296650")))));
    let error = get(&client, "/x").await.unwrap_err();
    assert!(error.to_string().contains("has served for a login already"), "{error}");
    let codes = server.seen().iter().filter(|seen| seen.body.contains("296650")).count();
    assert_eq!(codes, 1);
}

#[tokio::test]
async fn a_ticket_is_renewed_with_itself_at_half_its_life() {
    let server = Server::start(tickets(1)).await;
    let client = client(&server, password(None));
    get(&client, "/x").await.unwrap();
    pass(TICKET_RENEWAL - Duration::from_secs(1)).await;
    get(&client, "/x").await.unwrap();
    assert_eq!(server.count(LOGIN), 1);
    pass(Duration::from_secs(1)).await;
    get(&client, "/x").await.unwrap();
    let logins: Vec<Seen> = server.seen().into_iter().filter(is_login).collect();
    assert_eq!(logins.len(), 2);
    assert_eq!(
        logins[1].body,
        "username=root%40pam&password=PVE%3Aroot%40pam%3A6B00CE44%3A%3As%2B%2F1%3D%3D"
    );
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_ticket_and_a_refused_one_asks_the_password() {
    let server = Server::start(|seen| match seen.body.as_str() {
        body if body.contains("password=PVE") && body.contains("s%2B%2F1") => {
            Answer::Close(json("500 busy", r#"{"data":null}"#))
        }
        body if body.contains("password=PVE") => refused("authentication failure"),
        _ if is_login(seen) => ticket(1),
        _ => data("1"),
    })
    .await;
    let client = client(&server, password(None));
    get(&client, "/x").await.unwrap();
    pass(TICKET_RENEWAL).await;
    get(&client, "/x").await.unwrap();
    assert_eq!(server.count(LOGIN), 2, "login, failed renewal");
    pass(TICKET_LIFETIME - TICKET_RENEWAL).await;
    get(&client, "/x").await.unwrap();
    assert_eq!(server.count(LOGIN), 4, "another failed renewal, login");
}

#[tokio::test]
async fn a_ticket_given_is_used_renewed_and_never_replaced_by_a_login() {
    let server = Server::start(tickets(0)).await;
    let credentials = Credentials::Ticket {
        ticket: secret("PVE:root@pam:6B00CE44::s+/0=="),
        csrf: secret("6B00CE44:c0"),
    };
    let client = client(&server, credentials);
    get(&client, "/x").await.unwrap();
    assert_eq!(server.count(LOGIN), 0);
    pass(TICKET_RENEWAL).await;
    get(&client, "/x").await.unwrap();
    assert_eq!(server.count(LOGIN), 1);
    assert!(matches!(client.login().await, Err(ClientError::Usage(_))));

    let refusing = Server::start(|_| refused("invalid PVE ticket")).await;
    let credentials = Credentials::Ticket { ticket: secret("PVE:a@pve:1::s"), csrf: secret("c") };
    let error = get(&self::client(&refusing, credentials), "/x").await.unwrap_err();
    assert!(matches!(error, ClientError::Auth { .. }), "{error:?}");
    assert_eq!(refusing.seen().len(), 1);
}

#[tokio::test]
async fn secrets_that_no_header_can_hold_are_refused_before_sending() {
    let server = Server::start(|_| data("1")).await;
    let token = Credentials::Token { id: "a@pve!ci".parse().unwrap(), secret: secret("a\r\nb: c") };
    let error = get(&client(&server, token), "/x").await.unwrap_err();
    assert!(matches!(&error, ClientError::Usage(text) if !text.contains("b: c")), "{error:?}");
    assert!(server.seen().is_empty());
}
