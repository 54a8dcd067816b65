//! What every store promises.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use state::limits::{BATCH_CHANGES, KEY_BYTES, VALUE_BYTES};
use state::{Change, Entry, Memory, Redb, Redis, Store, StoreError, Table};

use crate::server::{FORGETFUL, Server, options};

/// Runs a check on a new store of each kind.
fn each(check: impl Fn(&mut dyn Store)) {
    check(&mut Memory::new());
    let directory = tempfile::tempdir().unwrap();
    check(&mut Redb::open(&directory.path().join("state")).unwrap());
    if let Some(server) = Server::start(FORGETFUL) {
        check(&mut Redis::open(options(&server.socket())).unwrap());
    }
}

fn entry(key: &[u8], value: &[u8], expires: u64) -> Entry {
    let expires = Duration::from_secs(expires);
    Entry { key: key.to_vec(), value: value.to_vec(), expires }
}

fn put(table: Table, entry: &Entry) -> Change {
    Change::Put { table, entry: entry.clone() }
}

fn load(store: &mut dyn Store, table: Table) -> Vec<Entry> {
    let mut entries = store.load(table).unwrap();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    entries
}

#[test]
fn a_new_store_is_empty_and_nothing_changes_nothing() {
    each(|store| {
        for table in Table::ALL {
            assert_eq!(load(store, table), []);
            store.commit(&[Change::Delete { table, key: vec![1] }]).unwrap();
            store.commit(&[Change::Prune { table, now: Duration::MAX }]).unwrap();
        }
        store.commit(&[]).unwrap();
    });
}

#[test]
fn tables_and_keys_are_apart_and_the_last_change_of_a_commit_wins() {
    each(|store| {
        let (one, two) = (entry(b"k", b"1", 5), entry(b"k", b"2", 6));
        let other = entry(b"", b"", 7);
        store
            .commit(&[
                put(Table::Bans, &one),
                put(Table::Bans, &two),
                put(Table::Bans, &other),
                put(Table::Tokens, &one),
                put(Table::Sessions, &one),
                Change::Delete { table: Table::Sessions, key: b"k".to_vec() },
            ])
            .unwrap();
        assert_eq!(load(store, Table::Bans), [other, two]);
        assert_eq!(load(store, Table::Tokens), [one]);
        assert_eq!(load(store, Table::Sessions), []);
    });
}

#[test]
fn prune_removes_what_has_expired_and_nothing_else() {
    each(|store| {
        let entries = [entry(b"a", b"", 9), entry(b"b", b"", 10), entry(b"c", b"", 11)];
        let puts: Vec<_> = entries.iter().map(|entry| put(Table::Bans, entry)).collect();
        store.commit(&puts).unwrap();
        store.commit(&[put(Table::Tokens, &entries[0])]).unwrap();
        let now = Duration::from_secs(10);
        store.commit(&[Change::Prune { table: Table::Bans, now }]).unwrap();
        assert_eq!(load(store, Table::Bans), [entries[2].clone()]);
        assert_eq!(load(store, Table::Tokens), [entries[0].clone()]);
    });
}

#[test]
fn what_is_too_large_is_refused_whole() {
    each(|store| {
        let most = entry(&[7; KEY_BYTES], &vec![7; VALUE_BYTES], 1);
        store.commit(&[put(Table::Bans, &most)]).unwrap();
        let good = put(Table::Tokens, &entry(b"k", b"", 1));
        for bad in [
            put(Table::Tokens, &entry(&[7; KEY_BYTES + 1], b"", 1)),
            put(Table::Tokens, &entry(b"x", &vec![7; VALUE_BYTES + 1], 1)),
            Change::Delete { table: Table::Tokens, key: vec![7; KEY_BYTES + 1] },
        ] {
            assert!(matches!(store.commit(&[good.clone(), bad]), Err(StoreError::Size)));
        }
        let many = vec![good; BATCH_CHANGES + 1];
        assert!(matches!(store.commit(&many), Err(StoreError::Batch)));
        assert_eq!(load(store, Table::Tokens), []);
        assert_eq!(load(store, Table::Bans), [most]);
    });
}

#[test]
fn an_update_and_an_extension_are_of_what_is_there() {
    each(|store| {
        let (old, new) = (entry(b"k", b"old", 5), entry(b"k", b"new", 6));
        let extend = |key: &[u8], expires| Change::Extend {
            table: Table::Sessions,
            key: key.to_vec(),
            expires: Duration::from_secs(expires),
        };
        let update =
            |entry: &Entry| Change::Update { table: Table::Sessions, entry: entry.clone() };
        store.commit(&[update(&new), extend(b"k", 9)]).unwrap();
        assert_eq!(store.find(Table::Sessions, b"k").unwrap(), None);
        store.commit(&[put(Table::Sessions, &old), extend(b"k", 1 << 60)]).unwrap();
        let found = store.find(Table::Sessions, b"k").unwrap().unwrap();
        assert_eq!((found.value, found.expires), (b"old".to_vec(), Duration::from_secs(1 << 60)));
        store.commit(&[Change::Prune { table: Table::Sessions, now: old.expires }]).unwrap();
        store.commit(&[update(&new)]).unwrap();
        assert_eq!(store.find(Table::Sessions, b"k").unwrap(), Some(new.clone()));
        assert_eq!(store.find(Table::Bans, b"k").unwrap(), None);
    });
}

fn change() -> impl Strategy<Value = Change> {
    let table = prop::sample::select(Table::ALL.to_vec());
    let key = prop::collection::vec(0..3u8, 0..3);
    (table, key, any::<Vec<u8>>(), 0..20u64, 0..8u8).prop_map(|(table, key, value, at, kind)| {
        let expires = Duration::from_secs(at);
        match kind {
            0 => Change::Prune { table, now: expires },
            1 => Change::Delete { table, key },
            2 => Change::Extend { table, key, expires },
            3 => Change::Update { table, entry: Entry { key, value, expires } },
            _ => Change::Put { table, entry: Entry { key, value, expires } },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_commits_leave_what_a_map_would_hold(
        commits in prop::collection::vec(prop::collection::vec(change(), 0..8), 1..8),
    ) {
        let mut model: BTreeMap<(Table, Vec<u8>), Entry> = BTreeMap::new();
        for change in commits.iter().flatten().cloned() {
            match change {
                Change::Put { table, entry } => {
                    model.insert((table, entry.key.clone()), entry);
                }
                Change::Update { table, entry } => {
                    model.entry((table, entry.key.clone())).and_modify(|old| *old = entry);
                }
                Change::Extend { table, key, expires } => {
                    model.entry((table, key)).and_modify(|old| old.expires = expires);
                }
                Change::Delete { table, key } => {
                    model.remove(&(table, key));
                }
                Change::Prune { table, now } => {
                    model.retain(|(of, _), entry| *of != table || entry.expires > now);
                }
            }
        }
        each(|store| {
            commits.iter().for_each(|commit| store.commit(commit).unwrap());
            for table in Table::ALL {
                let expected: Vec<Entry> =
                    model.iter().filter(|((of, _), _)| *of == table).map(|(_, e)| e.clone()).collect();
                assert_eq!(load(store, table), expected);
            }
        });
    }
}
