//! The audit log: a changed chain never passes for an intact one, and a remembered head shows
//! a cut one.
//!
//! At the place of the first two bytes, as many bytes of a genuine log as the next two say are
//! replaced by the rest.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use telemetry::Clock;
use telemetry::audit::{Event, Expected, Head, Log, SyncPolicy, Verdict, verify};

static GENUINE: LazyLock<(Vec<u8>, Head)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("audit.jsonl");
    let (clock, _) = Clock::manual(Duration::from_secs(1_795_215_443));
    let policy = SyncPolicy::Interval(Duration::MAX);
    let log = Log::open(&path, clock, policy).expect("a new log");
    for user in ["root@pam", "alice@pve", "bob@pve", "\"}\n"] {
        log.append(Event::new("login.ok").field("user", user)).expect("a record");
    }
    (std::fs::read(&path).expect("the log"), log.head())
});

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (at, removed, bytes) = input;
    let (genuine, head) = &*GENUINE;
    let at = usize::from(at) % (genuine.len() + 1);
    let after = (at + usize::from(removed)).min(genuine.len());
    let changed = [&genuine[..at], bytes, &genuine[after..]].concat();
    for log in [bytes, &changed] {
        if let Verdict::Intact { records, .. } = judge(log, None) {
            assert!(genuine.starts_with(log), "a forged chain passes");
            assert_eq!(records, log.iter().filter(|byte| **byte == b'\n').count() as u64);
        }
        if let Verdict::Intact { .. } = judge(log, Some(*head)) {
            assert_eq!(log, genuine, "the remembered head did not show a change");
        }
    }
});

fn judge(log: &[u8], head: Option<Head>) -> Verdict {
    let expected = Expected { head, ..Expected::default() };
    verify(log, &expected).expect("reading from memory")
}
