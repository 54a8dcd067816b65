use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use telemetry::Clock;
use telemetry::audit::{AuditError, Event, Expected, Log, Reason, SyncPolicy, Verdict, verify};
use telemetry::limits::{AUDIT_LINE, AUDIT_TEXT};

fn open(path: &Path) -> Result<Log, AuditError> {
    Log::open(path, Clock::manual(Duration::from_secs(1)).0, SyncPolicy::Each)
}

fn intact(path: &Path) -> u64 {
    match verify(BufReader::new(File::open(path).unwrap()), &Expected::default()).unwrap() {
        Verdict::Intact { records, .. } => records,
        broken => panic!("{broken:?}"),
    }
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_reopened_log_continues_its_chain() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    for start in 0..3 {
        let log = open(&path).unwrap();
        assert_eq!(log.head().seq, start * 2);
        log.append(Event::new("a")).unwrap();
        assert_eq!(log.append(Event::new("b")).unwrap(), log.head());
    }
    assert_eq!(intact(&path), 6);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_torn_last_line_is_kept_as_a_record_of_its_own() {
    for whole in [0, 2] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let log = open(&path).unwrap();
        for _ in 0..whole {
            log.append(Event::new("whole")).unwrap();
        }
        drop(log);
        let torn = b"{\"seq\":3,\"time\":\"2026\0\xff";
        OpenOptions::new().append(true).open(&path).unwrap().write_all(torn).unwrap();
        let log = open(&path).unwrap();
        log.append(Event::new("after")).unwrap();
        drop(log);
        assert_eq!(intact(&path), whole + 2);
        let record = &records(&path)[usize::try_from(whole).unwrap()];
        assert_eq!(record["kind"], "log.torn");
        assert_eq!(record["bytes"], torn.len());
        assert!(record["text"].as_str().unwrap().starts_with("{\"seq\":3,\"time\":\"2026\0"));
    }
}

#[test]
fn what_is_not_a_private_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let why = |name: &str| match open(&path(name)) {
        Err(AuditError::NotPrivate { why, .. }) => why,
        other => panic!("{name}: {other:?}"),
    };
    drop(open(&path("good")).unwrap());
    symlink(path("good"), path("link")).unwrap();
    assert!(why("link").contains("symbolic"));
    fs::hard_link(path("good"), path("twin")).unwrap();
    assert!(why("twin").contains("hard link"));
    fs::write(path("open"), "").unwrap();
    fs::set_permissions(path("open"), Permissions::from_mode(0o640)).unwrap();
    assert!(why("open").contains("chmod 600"));
    assert!(matches!(open(directory.path()), Err(AuditError::Open { .. })));
    assert!(matches!(open(&path("no/such")), Err(AuditError::Open { .. })));
}

#[test]
fn a_second_writer_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(AuditError::InUse { .. })));
    drop(first);
    assert!(open(&path).is_ok());
}

#[test]
fn a_damaged_end_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    open(&path).unwrap().append(Event::new("a")).unwrap();
    let good = fs::read(&path).unwrap();
    let long = vec![b'x'; AUDIT_LINE];
    let cases: [(&[u8], Reason); 3] = [
        (b"no record\n", Reason::Malformed),
        (&long, Reason::TooLong),
        (&good[20..], Reason::Malformed),
    ];
    for (more, expected) in cases {
        fs::write(&path, [&good, more].concat()).unwrap();
        match open(&path) {
            Err(AuditError::Damaged { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rotated_log_is_one_chain_over_two_files() {
    let directory = tempfile::tempdir().unwrap();
    let (path, old) = (directory.path().join("audit.jsonl"), directory.path().join("audit.1"));
    let log = open(&path).unwrap();
    log.append(Event::new("a")).unwrap();
    log.reopen().unwrap();
    assert_eq!(log.head().seq, 1, "nothing was renamed");
    fs::rename(&path, &old).unwrap();
    log.append(Event::new("between")).unwrap();
    log.reopen().unwrap();
    log.append(Event::new("b")).unwrap();
    drop(log);

    assert_eq!(intact(&old), 2);
    let both = [fs::read(&old).unwrap(), fs::read(&path).unwrap()].concat();
    let verdict = verify(&*both, &Expected::default()).unwrap();
    let Verdict::Intact { records: 4, .. } = verdict else { panic!("{verdict:?}") };
    let Verdict::Intact { head, .. } =
        verify(&*fs::read(&old).unwrap(), &Expected::default()).unwrap()
    else {
        panic!("checked above")
    };
    let second = fs::read(&path).unwrap();
    let alone = verify(&*second, &Expected::default()).unwrap();
    let missing = Reason::HeadMissing { expected: 1, found: 3 };
    assert_eq!(alone, Verdict::Broken { line: 1, reason: missing });
    let after = verify(&*second, &Expected { after: head, head: None }).unwrap();
    assert!(matches!(after, Verdict::Intact { records: 2, .. }), "{after:?}");
    assert_eq!(open(&path).unwrap().head().seq, 4);
}

#[test]
fn a_rotation_onto_another_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("a"), directory.path().join("b"));
    let log = open(&path).unwrap();
    open(&other).unwrap().append(Event::new("foreign")).unwrap();
    fs::rename(&other, &path).unwrap();
    assert!(matches!(log.reopen(), Err(AuditError::Foreign { .. })));
    assert_eq!(intact(&path), 1);
}

#[test]
fn fields_are_masked_limited_and_can_not_forge() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let log = open(&path).unwrap();
    let deep = (0..100).fold(Value::from(1), |inner, _| Value::from(vec![inner]));
    let event = Event::new("login")
        .field("password", "hunter2")
        .field("body", serde_json::json!({"a": [{"password": "hunter2"}]}))
        .field("note", "password=hunter2")
        .field("hash", "mine")
        .field("agent", "x\"}\n{\u{202e}")
        .field("long", "é".repeat(AUDIT_TEXT))
        .field("deep", deep);
    log.append(event).unwrap();
    log.append(Event::new("big").field("list", vec!["x".repeat(4000); 20])).unwrap();
    drop(log);
    assert_eq!(intact(&path), 2);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hunter2") && !text.contains('\u{202e}'), "{text}");
    let records = records(&path);
    assert_eq!(records[0]["hash_"], "mine");
    assert_eq!(records[0]["agent"], "x\"}\n{\u{202e}");
    assert!(records[0]["long"].as_str().unwrap().ends_with("é[4096 bytes more]"));
    assert!(records[0]["deep"].to_string().contains("[\"***\"]"));
    assert!(records[1]["oversized"].as_u64().unwrap() > 80_000);
    assert_eq!(records[1].get("list"), None);
}
