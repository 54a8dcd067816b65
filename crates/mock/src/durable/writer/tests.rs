use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::durable::file::Fails;
use crate::seed::Seed;

struct Kept {
    journal: Journal,
    state: Arc<Mutex<State>>,
    fails: Fails,
}

impl Kept {
    fn open(path: &Path) -> Self {
        let opened = StateFile::open(path, Release::V9, String::new()).unwrap();
        let at = Duration::from_secs(1_795_000_000);
        let seeded = || State::new(Seed::small(), Release::V9, at, None).unwrap();
        let mut state = opened.state.unwrap_or_else(seeded);
        state.track();
        let state = Arc::new(Mutex::new(state));
        let fails = opened.file.fails.clone();
        let journal = Journal::start(opened.file, Arc::clone(&state), Release::V9).unwrap();
        journal.submit_all().block().unwrap();
        Self { journal, state, fails }
    }

    /// Hands a change over without waiting.
    fn set(&self, hosts: &str) -> Option<Receipt> {
        let mut state = lock(&self.state);
        state.nodes.get_mut("pve1").unwrap().hosts = hosts.to_owned();
        self.journal.submit(&mut state)
    }

    fn look(&self) -> (String, Option<Receipt>) {
        let mut state = lock(&self.state);
        (state.nodes["pve1"].hosts.clone(), self.journal.submit(&mut state))
    }
}

#[test]
fn changes_that_wait_together_are_all_kept() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let kept = Kept::open(&path);
    let receipts: Vec<Receipt> = (0..100).map(|at| kept.set(&format!("{at}")).unwrap()).collect();
    for receipt in receipts {
        receipt.block().unwrap();
    }
    drop(kept);
    assert_eq!(Kept::open(&path).look().0, "99");
}

#[test]
fn what_is_not_kept_is_undone_for_all_who_saw_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let kept = Kept::open(&path);
    kept.set("kept").unwrap().block().unwrap();
    for fails in [&kept.fails.write, &kept.fails.sync] {
        fails.store(true, Ordering::SeqCst);
        let refused = kept.set("lost").unwrap();
        // A reader that comes before the write has failed must not be told of it either.
        let (seen, receipt) = kept.look();
        assert!(seen == "kept" || receipt.unwrap().block().is_err());
        let text = refused.block().unwrap_err().to_string();
        assert!(text.contains("No space left") && text.contains("state"), "{text}");
        assert_eq!(kept.look().0, "kept");
        fails.store(false, Ordering::SeqCst);
        kept.set("kept").unwrap().block().unwrap();
    }
    drop(kept);
    assert_eq!(Kept::open(&path).look().0, "kept");
}

#[test]
fn the_file_does_not_grow_without_end() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let kept = Kept::open(&path);
    let large = "x".repeat(500_000);
    for at in 0..40 {
        kept.set(&format!("{at} {large}")).unwrap().block().unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size < COMPACT_BYTES + 3 * 600_000, "{size} bytes");
    }
    drop(kept);
    assert_eq!(Kept::open(&path).look().0, format!("39 {large}"));
}

#[test]
fn a_file_that_can_not_be_read_back_ends_all_answers() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("state");
    let kept = Kept::open(&path);
    kept.set("kept").unwrap().block().unwrap();
    kept.fails.write.store(true, Ordering::SeqCst);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"damage", 200).unwrap();
    assert!(kept.set("lost").unwrap().block().is_err());
    kept.fails.write.store(false, Ordering::SeqCst);
    let text = kept.look().1.unwrap().block().unwrap_err().to_string();
    assert!(text.contains("restart the mock"), "{text}");
    assert!(kept.set("lost").unwrap().block().is_err());
}
