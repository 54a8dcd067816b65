use super::*;
use state::Memory;

pub(super) const NOW: u64 = 1_795_215_443;

pub(super) fn login(user: &str, client: &str) -> Login {
    Login {
        user: user.to_owned(),
        label: user.to_owned(),
        browser: true,
        client: client.parse().unwrap(),
        second_factor: false,
        vault: Vault::new("genuine", "c".into(), NOW),
    }
}

pub(super) fn sealer(directory: &tempfile::TempDir) -> Sealer {
    Sealer::load(&directory.path().join("key"), true).unwrap()
}

fn keeper(directory: &tempfile::TempDir, store: Box<dyn state::Store>) -> (Keeper, Arc<Writer>) {
    let writer = Arc::new(Writer::start(store).unwrap());
    (
        Keeper { writer: Arc::clone(&writer), sealer: Arc::new(sealer(directory)), shared: false },
        writer,
    )
}

fn memory_only() -> Sessions {
    Sessions::new(SessionConfig::default(), None, Vec::new(), NOW)
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn found_by_its_value_until_it_ends() {
    let sessions = memory_only();
    let (_, value) = sessions.open(login("a@pve", "192.0.2.1"), NOW).unwrap();
    let session = sessions.find(&value, NOW + 10).unwrap();
    assert_eq!((session.user.as_str(), session.used()), ("a@pve", NOW + 10));
    assert!(sessions.find(&Value::draw(NOW).unwrap().0, NOW).is_none());
    block_on(sessions.end(session.id)).unwrap();
    assert!(sessions.find(&value, NOW).is_none());
}

#[test]
fn idle_lifetime_and_ticket_end_it() {
    let config = SessionConfig { idle: 600, lifetime: 9000, ..SessionConfig::default() };
    let sessions = Sessions::new(config, None, Vec::new(), NOW);
    let (_, value) = sessions.open(login("a@pve", "192.0.2.1"), NOW).unwrap();
    assert!(sessions.find(&value, NOW + 599).is_some());
    assert!(sessions.find(&value, NOW + 599 + 600).is_none());
    assert!(sessions.find(&value, NOW).is_none(), "what has ended stays so");
    let (_, value) = sessions.open(login("a@pve", "192.0.2.1"), NOW).unwrap();
    for minute in 0..119 {
        assert!(sessions.find(&value, NOW + minute * 60).is_some());
    }
    let session = sessions.find(&value, NOW + 7199).unwrap();
    let vault = Vault::new("fresh", "c".into(), NOW + 7199);
    sessions.renew(&session, vault);
    assert!(sessions.find(&value, NOW + 7500).is_some());
    assert!(sessions.find(&value, NOW + 8000).is_some());
    assert!(sessions.find(&value, NOW + 8500).is_some());
    assert!(sessions.find(&value, NOW + 9000).is_none());
}

#[test]
fn the_interface_logs_out_by_deleting_its_ticket() {
    let sessions = memory_only();
    let (_, value) = sessions.open(login("a@pve", "192.0.2.1"), NOW).unwrap();
    let session = sessions.find(&value, NOW).unwrap();
    assert!(sessions.accompanied(&session, false), "not seen yet: a page of another kind");
    assert!(sessions.accompanied(&session, true));
    assert!(!sessions.accompanied(&session, false));
}

#[test]
fn ended_by_id_user_or_all() {
    let sessions = memory_only();
    for user in ["a@pve", "a@pve", "b@pve", "c@pve"] {
        sessions.open(login(user, "192.0.2.1"), NOW).unwrap();
    }
    let first = sessions.list(NOW).remove(0);
    let revoke = |which: Selection<'_>| block_on(sessions.revoke(&which, NOW)).unwrap();
    assert_eq!(revoke(Selection::Id("")), 0);
    assert_eq!(revoke(Selection::Id(&first.id)), 1);
    assert_eq!(revoke(Selection::User("b@pve")), usize::from(first.user != "b@pve"));
    assert_eq!(revoke(Selection::All), sessions_left(&first.user));
    assert!(sessions.list(NOW).is_empty());
}

fn sessions_left(first: &str) -> usize {
    if first == "b@pve" { 3 } else { 2 }
}

#[test]
fn stored_sessions_come_back_and_hold_no_readable_ticket() {
    let directory = tempfile::tempdir().unwrap();
    let (keeper, writer) = keeper(&directory, Box::new(Memory::default()));
    let sessions = Sessions::new(SessionConfig::default(), Some(keeper), Vec::new(), NOW);
    let (_, kept) = sessions.open(login("a@pve", "192.0.2.1"), NOW).unwrap();
    let (_, ended) = sessions.open(login("b@pve", "192.0.2.1"), NOW).unwrap();
    block_on(sessions.end(ended.id())).unwrap();
    drop(sessions);
    let mut store = writer.shutdown().unwrap();
    let stored = store.load(Place::Sessions).unwrap();
    assert_eq!(stored.len(), 1);
    for secret in ["genuine", "a@pve", kept.expose()] {
        let found = stored[0].value.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    let (keeper, _writer) = self::keeper(&directory, store);
    let again = Sessions::new(SessionConfig::default(), Some(keeper), stored, NOW + 60);
    assert_eq!(again.find(&kept, NOW + 60).unwrap().vault().ticket(), "genuine");
    assert!(again.find(&ended, NOW + 60).is_none());
}

#[test]
fn another_key_and_another_id_open_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let sealer = sealer(&directory);
    let session = Session::begin(Id([1; 32]), login("a@pve", "192.0.2.1"), "o".into(), NOW);
    let value = sealer.seal(&session.id, session.to_bytes()).unwrap();
    let entry = |id: u8| Entry { key: vec![id; 32], value: value.clone(), expires: Duration::MAX };
    let other = tempfile::tempdir().unwrap();
    for (directory, id, expected) in [(&directory, 1, 1), (&directory, 2, 0), (&other, 1, 0)] {
        let (keeper, _writer) = keeper(directory, Box::new(Memory::default()));
        let sessions = Sessions::new(SessionConfig::default(), Some(keeper), vec![entry(id)], NOW);
        assert_eq!(sessions.list(NOW).len(), expected);
    }
}
