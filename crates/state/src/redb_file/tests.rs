//! A medium that fails at every point in turn, and files damaged in every place.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redb::StorageBackend;

use super::{FILE, Redb, builder, write_format};
use crate::{Change, Entry, Store, StoreError, Table};

fn put(number: u8) -> Change {
    let entry = Entry { key: vec![number], value: vec![number; 3000], expires: Duration::MAX };
    Change::Put { table: Table::Bans, entry }
}

/// Bytes that outlast the store, and how many more writes they take.
#[derive(Debug, Clone)]
struct Medium {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: Arc<AtomicUsize>,
}

impl Medium {
    fn spend(&self) -> io::Result<()> {
        let spent = self
            .room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
        spent.map(drop).map_err(|_| io::ErrorKind::StorageFull.into())
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.bytes.lock().unwrap()[at..at + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.spend()?;
        self.bytes.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.spend()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.spend()?;
        let at = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// A store on a medium, as `Redb::open` makes one on a file.
fn store(medium: &Medium) -> Redb {
    let medium = medium.clone();
    let reopen = Box::new(move || builder().create_with_backend(medium.clone()));
    Redb { path: PathBuf::from("medium"), reopen, database: None, _lock: None }
}

fn keys(store: &mut Redb) -> Vec<u8> {
    let mut keys: Vec<u8> = store.load(Table::Bans).unwrap().iter().map(|e| e.key[0]).collect();
    keys.sort_unstable();
    keys
}

/// Whatever step the medium fails at: what was acknowledged is there afterwards, what was not
/// is whole or absent, the error says why, and the store works again when there is room.
#[test]
fn a_full_medium_loses_nothing_acknowledged_at_any_step() {
    let mut failed = 0;
    for room in 0..80 {
        let medium = Medium { bytes: Arc::default(), room: Arc::new(AtomicUsize::new(1000)) };
        write_format(&builder().create_with_backend(medium.clone()).unwrap()).unwrap();
        let mut store = store(&medium);
        store.commit(&[put(0), put(1)]).unwrap();
        medium.room.store(room, Ordering::Relaxed);
        let mut acknowledged = vec![0, 1];
        let mut tried = vec![0, 1];
        for number in (2..12).step_by(2) {
            match store.commit(&[put(number), put(number + 1)]) {
                Ok(()) => acknowledged.extend([number, number + 1]),
                Err(error) => {
                    assert!(matches!(error, StoreError::Full { .. }), "{room}: {error}");
                    failed += 1;
                }
            }
            tried.extend([number, number + 1]);
        }
        medium.room.store(1000, Ordering::Relaxed);
        let kept = keys(&mut store);
        assert!(acknowledged.iter().all(|key| kept.contains(key)), "{room}: {kept:?}");
        assert!(kept.chunks(2).all(|pair| pair[0] + 1 == pair[1]), "{room}: half of {kept:?}");
        store.commit(&[put(100)]).unwrap();
        assert!(keys(&mut store).contains(&100), "{room}");
    }
    assert!(failed > 50, "the medium never failed: {failed}");
}

fn written(directory: &Path) -> Vec<u8> {
    let mut store = Redb::open(directory).unwrap();
    store.commit(&[put(1), put(2), put(3)]).unwrap();
    drop(store);
    std::fs::read(directory.join(FILE)).unwrap()
}

/// A file with a byte, or a whole page, changed is refused as damaged, or still holds all that
/// was written: never a panic, never an entry that was not written.
#[test]
fn a_damaged_file_is_refused_or_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let good = written(&path);
    let bytes = (0..400).step_by(5).chain((400..good.len()).step_by(good.len() / 80));
    let bytes = bytes.map(|at| (at..at + 1, 0x41));
    let pages = (0..good.len()).step_by(4096).take(40);
    let pages = pages.flat_map(|at| [0x00, 0xff, 0x5a].map(|mask| (at..at + 4096, mask)));
    let mut refused = 0;
    for (place, mask) in bytes.chain(pages) {
        let mut bytes = good.clone();
        let end = place.end.min(bytes.len());
        for byte in &mut bytes[place.start..end] {
            *byte = if place.len() == 1 { *byte ^ mask } else { mask };
        }
        std::fs::write(path.join(FILE), &bytes).unwrap();
        match Redb::open(&path) {
            Ok(mut store) => {
                for entry in store.load(Table::Bans).unwrap() {
                    assert_eq!(entry.value, vec![entry.key[0]; 3000], "{place:?} {mask}");
                }
                assert_eq!(keys(&mut store), [1, 2, 3], "{place:?} {mask}");
            }
            Err(error @ (StoreError::Damaged { .. } | StoreError::Format { .. })) => {
                let text = error.to_string();
                assert!(text.contains(FILE) && !text.contains('\n'), "{text}");
                refused += 1;
            }
            Err(error) => panic!("{place:?} {mask}: {error}"),
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_short_an_empty_and_a_foreign_file_are_refused_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let good = written(&path);
    let cases: [&[u8]; 5] =
        [b"", b"#!/bin/sh\n", &good[..100], &good[..4096], &good[..good.len() / 2]];
    for bytes in cases {
        std::fs::write(path.join(FILE), bytes).unwrap();
        let error = Redb::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{} bytes: {error}", bytes.len());
        assert!(error.to_string().contains("move it away"), "{error}");
    }
    // A database of somebody else is not ours either.
    std::fs::remove_file(path.join(FILE)).unwrap();
    drop(builder().create(path.join(FILE)).unwrap());
    assert!(Redb::open(&path).unwrap_err().to_string().contains("does not say its format"));
}

#[test]
fn expiries_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Redb::open(&directory.path().join("state")).unwrap();
    for (key, expires) in
        [Duration::ZERO, Duration::MAX, Duration::new(7, 999_999_999)].into_iter().enumerate()
    {
        let key = vec![u8::try_from(key).unwrap()];
        let entry = Entry { key, value: vec![], expires };
        store.commit(&[Change::Put { table: Table::Tokens, entry: entry.clone() }]).unwrap();
        assert!(store.load(Table::Tokens).unwrap().contains(&entry));
    }
}
