//! What is true of a shared server beside what every store promises.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use secrets::SecretString;
use state::limits::BATCH_CHANGES;
use state::{Change, Entry, Feed, Following, News, Redis, Store, StoreError, Table};

use crate::server::{DURABLE, FORGETFUL, Server, options};

const WAIT: Duration = Duration::from_secs(20);

fn entry(key: &str, value: &str) -> Entry {
    Entry { key: key.into(), value: value.into(), expires: Duration::from_secs(9) }
}

fn put(table: Table, key: &str, value: &str) -> Change {
    Change::Put { table, entry: entry(key, value) }
}

fn delete(table: Table, key: &str) -> Change {
    Change::Delete { table, key: key.into() }
}

fn open(server: &Server) -> Redis {
    Redis::open(options(&server.socket())).unwrap()
}

fn follow(feed: &Feed) -> (Following, Receiver<News>) {
    let (sender, news) = channel();
    (feed.follow(move |one| drop(sender.send(one))).unwrap(), news)
}

/// What is told up to the first that is looked for.
fn until(news: &Receiver<News>, wanted: impl Fn(&News) -> bool) -> Vec<News> {
    let mut told = Vec::new();
    loop {
        told.push(news.recv_timeout(WAIT).unwrap());
        if told.last().is_some_and(&wanted) {
            return told;
        }
    }
}

fn is_loss(news: &News) -> bool {
    matches!(news, News::All { lost: true, .. })
}

fn keys(store: &mut Redis, table: Table) -> Vec<String> {
    let entries = store.load(table).unwrap();
    let mut keys: Vec<_> =
        entries.into_iter().map(|entry| String::from_utf8(entry.key).unwrap()).collect();
    keys.sort();
    keys
}

#[test]
fn each_change_is_told_to_the_others_as_it_is_by_then() {
    let Some(server) = Server::start(FORGETFUL) else { return };
    let (mut one, mut other) = (open(&server), open(&server));
    one.commit(&[put(Table::Bans, "before", "")]).unwrap();
    let (_following, news) = follow(&other.feed());
    let (table, expires, own) = (Table::Sessions, Duration::from_secs(77), false);
    one.commit(&[put(table, "a", "1"), put(table, "b", "1"), delete(table, "b")]).unwrap();
    one.commit(&[Change::Extend { table, key: b"a".to_vec(), expires }]).unwrap();
    let extended = News::Extended { table, key: b"a".to_vec(), expires, own };
    let told = until(&news, |one| *one == extended);
    let gone = News::Gone { table, key: b"b".to_vec() };
    // The feed of `other` began when it was opened. An entry that is gone again when it is looked
    // at is told as gone.
    assert_eq!(told[0], News::Set { table: Table::Bans, entry: entry("before", ""), own });
    assert!(told.contains(&gone), "{told:?}");
    other.commit(&[Change::Update { table, entry: entry("a", "2") }]).unwrap();
    one.commit(&[delete(table, "a"), Change::Prune { table, now: expires }]).unwrap();
    until(&news, |one| matches!(one, News::Gone { key, .. } if key == b"a"));
    assert_eq!(keys(&mut one, table), Vec::<String>::new());
}

#[test]
fn what_another_process_deleted_does_not_come_back() {
    let Some(server) = Server::start(FORGETFUL) else { return };
    let (mut one, mut other) = (open(&server), open(&server));
    let table = Table::Sessions;
    one.commit(&[put(table, "revoked", "1"), put(table, "used", "1")]).unwrap();
    one.commit(&[delete(table, "revoked")]).unwrap();
    let later = [
        Change::Update { table, entry: entry("revoked", "2") },
        Change::Extend { table, key: b"revoked".to_vec(), expires: Duration::MAX },
        Change::Update { table, entry: entry("used", "2") },
    ];
    other.commit(&later).unwrap();
    assert_eq!(keys(&mut one, table), ["used"]);
    assert_eq!(one.find(table, b"used").unwrap().unwrap().value, b"2");
}

#[test]
fn who_has_missed_something_is_told_everything() {
    let Some(server) = Server::start(FORGETFUL) else { return };
    let (mut one, other) = (open(&server), open(&server));
    let table = Table::Tokens;
    let (_following, news) = follow(&other.feed());
    // Too much for a record.
    let key = |number: usize| format!("{number:0>400}");
    let many: Vec<Change> = (0..BATCH_CHANGES / 8).map(|n| put(table, &key(n), "")).collect();
    one.commit(&many).unwrap();
    let all = |one: &News| matches!(one, News::All { table: Table::Tokens, .. });
    let Some(News::All { entries, lost, .. }) = until(&news, all).pop() else { panic!() };
    assert_eq!((entries.len(), lost), (many.len(), false));
    one.commit(&[put(table, "next", "")]).unwrap();
    let next = News::Set { table, entry: entry("next", ""), own: false };
    until(&news, |one| *one == next);
}

#[test]
fn what_is_acknowledged_survives_a_kill_of_the_server() {
    let Some(mut server) = Server::start(DURABLE) else { return };
    let (mut one, mut other) = (open(&server), open(&server));
    assert_eq!(one.doubts().unwrap(), Vec::<String>::new());
    let feed = other.feed();
    let (_following, news) = follow(&feed);
    for number in 0..50 {
        one.commit(&[put(Table::Bans, &format!("{number:02}"), "")]).unwrap();
    }
    server.kill();
    let error = one.commit(&[put(Table::Bans, "no", "")]).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }) && error.may_retry(), "{error}");
    assert!(other.find(Table::Bans, b"00").is_err());
    server.again();
    // Between two tries to reach it, who asks is refused at once.
    while one.commit(&[put(Table::Bans, "yes", "")]).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let kept = keys(&mut one, Table::Bans);
    assert_eq!(kept.len(), 51, "{kept:?}");
    let yes = News::Set { table: Table::Bans, entry: entry("yes", ""), own: false };
    until(&news, |one| *one == yes);
    assert_eq!(feed.losses(), 0);
}

#[test]
fn a_server_that_lost_what_it_acknowledged_ends_all_sessions_and_says_so() {
    let Some(mut server) = Server::start(FORGETFUL) else { return };
    let (mut one, other) = (open(&server), open(&server));
    let feed = other.feed();
    let (_following, news) = follow(&feed);
    let doubts = one.doubts().unwrap();
    assert!(doubts.iter().any(|doubt| doubt.contains("appendonly")), "{doubts:?}");
    one.commit(&[put(Table::Sessions, "a", "")]).unwrap();
    until(&news, |one| matches!(one, News::Set { .. }));
    server.kill();
    let hidden = server.directory.path().join("hidden");
    server.again_at(&hidden);
    // A copy from before the revocation, put back by hand: as it would come from an old file.
    let mut restored = Redis::open(options(&hidden)).unwrap();
    for _ in 0..3 {
        restored.commit(&[put(Table::Sessions, "revoked", "")]).unwrap();
    }
    std::fs::rename(hidden, server.socket()).unwrap();
    let lost = until(&news, is_loss).pop();
    let Some(News::All { table: Table::Sessions, entries, .. }) = lost else { panic!() };
    assert_eq!(entries, []);
    assert!(feed.losses() > 0);
    assert_eq!(keys(&mut restored, Table::Sessions), Vec::<String>::new());
}

#[test]
fn a_server_that_is_emptied_while_it_runs_is_noticed() {
    let Some(server) = Server::start(FORGETFUL) else { return };
    let (mut one, other) = (open(&server), open(&server));
    let (_following, news) = follow(&other.feed());
    one.commit(&[put(Table::Bans, "a", "")]).unwrap();
    let mut stream = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
    stream.write_all(b"FLUSHALL\r\n").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    one.commit(&[put(Table::Bans, "b", "")]).unwrap();
    until(&news, is_loss);
}

#[test]
fn a_password_is_asked_for_and_never_told() {
    let Some(server) = Server::start(&["--requirepass", "correct"]) else { return };
    let with = |password: Option<&str>| {
        let password = password.map(SecretString::from);
        Redis::open(state::RedisOptions { password, ..options(&server.socket()) })
    };
    assert!(with(Some("correct")).is_ok());
    for wrong in [None, Some("wr0ng")] {
        let error = with(wrong).unwrap_err();
        assert!(matches!(error, StoreError::Declined { .. }), "{error}");
        assert!(!error.to_string().contains("wr0ng"), "{error}");
    }
}

#[test]
fn another_layout_is_refused_in_words() {
    let Some(server) = Server::start(FORGETFUL) else { return };
    let mut stream = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
    stream.write_all(b"SET test:format 99\r\n").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    let error = Redis::open(options(&server.socket())).unwrap_err();
    assert!(matches!(error, StoreError::Layout { .. }), "{error}");
    assert!(error.to_string().contains("99"));
}

#[test]
fn what_is_no_server_is_an_error_and_no_harm() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", "$99999999999\r\n", "*1\r\n:7\r\n", ""] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let error = Redis::open(options(&path)).unwrap_err();
        assert!(matches!(error, StoreError::Unreachable { .. }), "{answer:?}: {error}");
        serving.join().unwrap();
    }
}
