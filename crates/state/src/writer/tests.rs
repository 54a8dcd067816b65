use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::Writer;
use crate::limits::{KEY_BYTES, RETRY_AFTER};
use crate::{Change, Entry, Memory, Store, StoreError, Table};

fn put(key: &str, value: &str) -> Change {
    let entry = Entry { key: key.into(), value: value.into(), expires: Duration::MAX };
    Change::Put { table: Table::Sessions, entry }
}

fn delete(key: &str) -> Change {
    Change::Delete { table: Table::Sessions, key: key.into() }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn values(store: &mut dyn Store) -> Vec<(String, String)> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let entries = store.load(Table::Sessions).unwrap();
    let mut values: Vec<_> = entries.into_iter().map(|e| (text(e.key), text(e.value))).collect();
    values.sort();
    values
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Notes the size of each commit, waits for leave before it, and fails when told to.
struct Script {
    store: Memory,
    sizes: Arc<Mutex<Vec<usize>>>,
    leave: mpsc::Receiver<bool>,
}

impl Store for Script {
    fn load(&mut self, table: Table) -> Result<Vec<Entry>, StoreError> {
        self.store.load(table)
    }

    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.store.find(table, key)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.sizes.lock().unwrap().push(changes.len());
        // Without anybody to give leave, there is leave.
        if self.leave.recv().unwrap_or(true) {
            return self.store.commit(changes);
        }
        Err(StoreError::Full {
            path: "disk".into(),
            cause: Arc::new(std::io::ErrorKind::StorageFull.into()),
        })
    }
}

type Scripted = (Writer, mpsc::Sender<bool>, Arc<Mutex<Vec<usize>>>);

fn scripted() -> Scripted {
    let (leave, waiting) = mpsc::channel();
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let script = Script { store: Memory::new(), sizes: Arc::clone(&sizes), leave: waiting };
    (Writer::start(Box::new(script)).unwrap(), leave, sizes)
}

#[test]
fn what_waits_is_written_at_the_end_and_later_changes_of_a_key_are_one() {
    let (writer, leave, sizes) = scripted();
    for number in 0..100 {
        writer.later(put("a", &number.to_string()));
    }
    writer.later(put("b", "1"));
    writer.later(delete("b"));
    drop(leave);
    let mut store = writer.shutdown().unwrap();
    assert_eq!(values(&mut *store), pairs(&[("a", "99")]));
    assert_eq!(*sizes.lock().unwrap(), [2]);
    assert!(writer.shutdown().is_none());
    writer.later(put("c", "1"));
    assert_eq!(writer.dropped(), 1);
    assert!(matches!(block_on(writer.durable(vec![put("c", "1")])), Err(StoreError::Closed)));
}

#[test]
fn calls_at_the_same_time_share_a_commit() {
    let (writer, leave, sizes) = scripted();
    let calls: Vec<_> = ["a", "b", "c", "d"].map(|key| writer.submit(vec![put(key, "1")])).into();
    drop(leave);
    for call in calls {
        call.unwrap().blocking_recv().unwrap().unwrap();
    }
    let sizes = sizes.lock().unwrap();
    // The first may have gone alone; the others queued up behind it.
    assert!(sizes.len() <= 2 && sizes.iter().sum::<usize>() == 4, "{sizes:?}");
}

#[test]
fn the_order_of_calls_is_the_order_of_changes_to_a_key() {
    let (writer, leave, _) = scripted();
    // Holds the thread in a commit while the rest is queued.
    let first = writer.submit(vec![put("held", "1")]).unwrap();
    writer.later(put("revoked", "old"));
    let revoke = writer.submit(vec![delete("revoked")]).unwrap();
    let create = writer.submit(vec![put("used", "1")]).unwrap();
    writer.later(put("used", "2"));
    drop(leave);
    for call in [first, revoke, create] {
        call.blocking_recv().unwrap().unwrap();
    }
    let mut store = writer.shutdown().unwrap();
    assert_eq!(values(&mut *store), pairs(&[("held", "1"), ("used", "2")]));
}

#[test]
fn a_failed_commit_is_told_to_those_who_wait_and_tried_again_for_the_rest() {
    let (writer, leave, _) = scripted();
    leave.send(false).unwrap();
    writer.later(put("later", "1"));
    let error = writer.durable_blocking(vec![put("ban", "1")]).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(writer.failures(), 1);
    leave.send(true).unwrap();
    std::thread::sleep(RETRY_AFTER + Duration::from_millis(200));
    drop(leave);
    let mut store = writer.shutdown().unwrap();
    assert_eq!(values(&mut *store), pairs(&[("later", "1")]));
}

#[test]
fn a_disk_that_stays_full_does_not_keep_the_program_from_ending() {
    let (writer, leave, _) = scripted();
    (0..10).for_each(|_| leave.send(false).unwrap());
    writer.later(put("a", "1"));
    writer.shutdown().unwrap();
    assert_eq!((writer.dropped(), writer.failures()), (1, 1));
}

#[test]
fn a_change_that_no_store_takes_harms_only_its_caller() {
    let (writer, leave, _) = scripted();
    drop(leave);
    let long = "k".repeat(KEY_BYTES + 1);
    assert!(matches!(writer.durable_blocking(vec![delete(&long)]), Err(StoreError::Size)));
    writer.later(put(&long, "1"));
    assert_eq!((writer.dropped(), writer.failures()), (1, 0));
}

#[test]
fn a_caller_that_goes_away_does_not_take_its_change_back() {
    let (writer, leave, _) = scripted();
    drop(writer.submit(vec![put("a", "1")]).unwrap());
    drop(leave);
    assert_eq!(values(&mut *writer.shutdown().unwrap()), pairs(&[("a", "1")]));
}

#[test]
fn what_waits_keeps_its_meaning_when_more_is_said_about_it() {
    let update = |key: &str, value: &str| {
        let entry = Entry { key: key.into(), value: value.into(), expires: Duration::MAX };
        Change::Update { table: Table::Sessions, entry }
    };
    let extend = |key: &str, seconds| {
        let expires = Duration::from_secs(seconds);
        Change::Extend { table: Table::Sessions, key: key.into(), expires }
    };
    let (writer, leave, _) = scripted();
    writer.later(put("made", "1"));
    writer.later(update("made", "2"));
    writer.later(extend("made", 9));
    writer.later(delete("gone"));
    writer.later(update("gone", "1"));
    writer.later(extend("gone", 9));
    writer.later(update("never", "1"));
    writer.later(put("called", "1"));
    // Fails, so that the call waits behind what is put back.
    leave.send(false).unwrap();
    let flush = writer.submit(Vec::new()).unwrap();
    assert!(flush.blocking_recv().unwrap().is_err());
    let call = writer.submit(vec![update("called", "2")]).unwrap();
    drop(leave);
    call.blocking_recv().unwrap().unwrap();
    let find = |key: &str| block_on(writer.find(Table::Sessions, key.into())).unwrap();
    assert_eq!(find("made").map(|entry| entry.expires), Some(Duration::from_secs(9)));
    assert_eq!(find("gone"), None);
    let mut store = writer.shutdown().unwrap();
    assert_eq!(values(&mut *store), pairs(&[("called", "2"), ("made", "2")]));
    assert!(matches!(block_on(writer.load(Table::Sessions)), Err(StoreError::Closed)));
}

#[test]
fn a_store_that_was_given_away_is_taken_up_again() {
    let writer = Writer::start(Box::new(Memory::new())).unwrap();
    writer.later(put("a", "1"));
    let store = writer.shutdown().unwrap();
    assert!(matches!(block_on(writer.durable(vec![put("b", "2")])), Err(StoreError::Closed)));
    writer.resume(store).unwrap();
    block_on(writer.durable(vec![put("c", "3")])).unwrap();
    // One that is at work is not replaced.
    writer.resume(Box::new(Memory::new())).unwrap();
    let mut store = writer.shutdown().unwrap();
    assert_eq!(values(store.as_mut()), pairs(&[("a", "1"), ("c", "3")]));
}
