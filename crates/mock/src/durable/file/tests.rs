use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::seed::Seed;

/// Switches for what a healthy disk does not do.
#[derive(Debug, Clone, Default)]
pub(in crate::durable) struct Fails {
    pub(in crate::durable) write: Arc<AtomicBool>,
    pub(in crate::durable) sync: Arc<AtomicBool>,
}

impl Fails {
    pub(super) fn fail(&self, switch: &AtomicBool) -> io::Result<()> {
        if switch.load(Ordering::SeqCst) { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}

fn seeded() -> State {
    let at = Duration::from_secs(1_795_000_000);
    let mut state = State::new(Seed::small(), Release::V9, at, None).unwrap();
    state.track();
    state
}

fn open(path: &Path) -> Result<Opened, StartError> {
    StateFile::open(path, Release::V9, "seed".to_owned())
}

fn said(opened: Result<Opened, StartError>) -> String {
    opened.err().map(|error| error.to_string()).unwrap_or_default()
}

/// A file with everything and two lines of changes; where each of them starts.
fn written(path: &Path) -> [u64; 2] {
    let mut file = open(path).unwrap().file;
    let mut state = seeded();
    let contents = file.contents(&mut state).unwrap();
    file.replace(&contents).unwrap();
    ["Europe/Vienna", "Asia/Tokyo"].map(|zone| {
        let at = file.size().0;
        state.nodes.get_mut("pve1").unwrap().timezone = zone.to_owned();
        let mut records = Vec::new();
        state.changes(&mut |record| push(&mut records, &record)).unwrap();
        file.append(&bracketed(&records)).unwrap();
        at
    })
}

fn zone(opened: &Opened) -> &str {
    &opened.state.as_ref().unwrap().nodes["pve1"].timezone
}

#[test]
fn what_was_appended_is_read_again() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    written(&path);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let opened = open(&path).unwrap();
    assert_eq!(zone(&opened), "Asia/Tokyo");
    assert!(opened.notes.is_empty());
    assert!(said(open(&path)).contains("another mock"), "the lock is held");
    drop(opened);
    let other = StateFile::open(&path, Release::V9, "other".to_owned()).unwrap();
    assert!(other.notes[0].contains("another seed"), "{:?}", other.notes);
    drop(other);
    let release = said(StateFile::open(&path, Release::V8, "seed".to_owned()));
    assert!(release.contains("--schema 9"), "{release}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn the_lock_holds_while_the_file_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let mut file = open(&path).unwrap().file;
    std::fs::write(place.path().join("state.new"), "left by a killed process").unwrap();
    let contents = file.contents(&mut seeded()).unwrap();
    for _ in 0..3 {
        file.replace(&contents).unwrap();
        assert!(said(open(&path)).contains("another mock"));
    }
}

#[test]
fn a_torn_end_is_cut_off_and_said() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let [_, last] = written(&path);
    let whole = std::fs::read(&path).unwrap();
    for length in [usize::try_from(last).unwrap() + 1, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let opened = open(&path).unwrap();
        assert_eq!(zone(&opened), "Europe/Vienna");
        assert!(opened.notes[0].contains("never completely written"), "{:?}", opened.notes);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), last);
    }
}

#[test]
fn damage_is_refused_with_its_place_and_the_remedy_works() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let [first, last] = written(&path);
    let whole = std::fs::read(&path).unwrap();
    for at in [first, last] {
        let mut bytes = whole.clone();
        bytes[usize::try_from(at).unwrap() + 30] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let remedy = format!("truncate -s {at} {}", path.display());
        let text = said(open(&path));
        assert!(text.contains(&format!("at byte {at}")) && text.ends_with(&remedy), "{text}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file is not touched");
        File::options().write(true).open(&path).unwrap().set_len(at).unwrap();
        let wanted = if at == first { "UTC" } else { "Europe/Vienna" };
        assert_eq!(zone(&open(&path).unwrap()), wanted);
    }
}

#[test]
fn other_files_are_refused_and_not_touched() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    File::create(&path).unwrap().write_all(b"user:root@pam:1:0:::::\n").unwrap();
    let open_to_all = said(open(&path));
    assert!(open_to_all.contains("chmod 600"), "{open_to_all}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(said(open(&path)).contains("no state file"));
    assert_eq!(std::fs::read(&path).unwrap(), b"user:root@pam:1:0:::::\n");
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(said(open(&link)).contains("symbolic link"));
    assert!(said(open(place.path())).contains("not a regular file"));
    assert!(said(open(&place.path().join("none/state"))).contains("can not open"));
    let mut chain = Chain::default();
    let mut later = Vec::new();
    chain.write(&mut later, br#"{"proxward_mock_state":2,"release":9,"seed":""}"#);
    std::fs::write(&path, later).unwrap();
    assert!(said(open(&path)).contains("format 2"));
}

#[test]
fn a_failed_write_leaves_the_file_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    written(&path);
    let before = std::fs::read(&path).unwrap();
    let mut file = open(&path).unwrap().file;
    file.fails.write.store(true, Ordering::SeqCst);
    assert!(file.append(b"[]").is_err() && !file.is_suspect());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    file.fails.write.store(false, Ordering::SeqCst);
    file.append(b"[]").unwrap();
    file.fails.sync.store(true, Ordering::SeqCst);
    assert!(file.append(b"[]").is_err() && file.is_suspect(), "the disk may hold anything now");
    let contents = file.contents(&mut seeded()).unwrap();
    file.replace(&contents).unwrap();
    assert!(!file.is_suspect());
    drop(file);
    assert_eq!(zone(&open(&path).unwrap()), "UTC");
}
