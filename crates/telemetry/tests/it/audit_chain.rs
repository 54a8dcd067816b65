use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use telemetry::Clock;
use telemetry::audit::{
    AuditError, Event, Expected, Head, Key, Log, Reason, SyncPolicy, Verdict, verify, verify_keyed,
};

/// The lines of a log of `records` records, without their line feeds.
fn written(records: u32) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let (clock, by_hand) = Clock::manual(Duration::from_millis(1_782_907_200_123));
    let log = Log::open(&path, clock, SyncPolicy::Interval(Duration::MAX)).unwrap();
    for i in 0..records {
        log.append(Event::new("login.refused").field("user", "root@pam").field("n", i)).unwrap();
        by_hand.advance(Duration::from_millis(1));
    }
    std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect()
}

fn judged(lines: &[String], expected: &Expected) -> Verdict {
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    verify(text.as_bytes(), expected).unwrap()
}

fn broken(lines: &[String]) -> (u64, Reason) {
    match judged(lines, &Expected::default()) {
        Verdict::Broken { line, reason } => (line, reason),
        intact => panic!("{intact:?}"),
    }
}

fn head_of(lines: &[String]) -> Head {
    match judged(lines, &Expected::default()) {
        Verdict::Intact { head, .. } => head,
        broken => panic!("{broken:?}"),
    }
}

#[test]
fn a_record_has_the_documented_form() {
    let lines = written(2);
    let zeros = "0".repeat(64);
    let start = r#"{"seq":1,"time":"2026-07-01T12:00:00.123Z","kind":"login.refused","n":0,"user":"root@pam","prev":""#;
    assert!(lines[0].starts_with(&format!("{start}{zeros}\",\"hash\":\"")), "{}", lines[0]);
    let head = head_of(&lines[..1]);
    assert!(lines[1].contains(&format!("\"prev\":\"{}\"", head.hash)));
    assert_eq!(head.to_string().parse(), Ok(head));
}

#[test]
fn sha256sum_agrees_as_documented() {
    let lines = written(3);
    let spawned = Command::new("sh")
        .args(["-c", r#"sed -E 's/,"hash":"[0-9a-f]{64}"\}$/}/' | tr -d '\n' | sha256sum"#])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = spawned.unwrap();
    child.stdin.take().unwrap().write_all(lines[2].as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let hash = head_of(&lines).hash.to_string();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(&hash));
}

type Change<'a> = &'a dyn Fn(&mut Vec<String>);

#[test]
fn every_kind_of_tampering_is_named() {
    let lines = written(5);
    let with = |change: Change<'_>| {
        let mut lines = lines.clone();
        change(&mut lines);
        broken(&lines)
    };
    let cases: [(Change<'_>, (u64, Reason)); 9] = [
        (&|l| l[2] = l[2].replace("root@pam", "evil@pam"), (3, Reason::Edited)),
        (&|l| drop(l.remove(2)), (3, Reason::Gap { expected: 3, found: 4 })),
        (&|l| l.swap(1, 2), (2, Reason::Gap { expected: 2, found: 3 })),
        (&|l| l.insert(3, l[1].clone()), (4, Reason::Repeated { expected: 4, found: 2 })),
        (&|l| drop(l.remove(0)), (1, Reason::HeadMissing { expected: 1, found: 2 })),
        (&|l| l.insert(1, String::new()), (2, Reason::Malformed)),
        (&|l| l[4].push(' '), (5, Reason::Malformed)),
        (&|l| l[0] = l[0].replacen("\"seq\":1", "\"seq\":01", 1), (1, Reason::Malformed)),
        (&|l| l[3].insert_str(1, &" ".repeat(telemetry::limits::AUDIT_LINE)), (4, Reason::TooLong)),
    ];
    for (i, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(with(change), expected, "case {i}");
    }
    // A record from another chain, intact by itself and with the right number.
    let mut spliced = lines.clone();
    spliced[1..].clone_from_slice(&written_other()[1..5]);
    assert_eq!(broken(&spliced), (2, Reason::Unlinked));
    let torn = lines.join("\n");
    let verdict = verify(torn.as_bytes(), &Expected::default()).unwrap();
    assert_eq!(verdict, Verdict::Broken { line: 5, reason: Reason::Torn });
}

fn written_other() -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let (clock, _) = Clock::manual(Duration::from_secs(5));
    let log = Log::open(&path, clock, SyncPolicy::Interval(Duration::MAX)).unwrap();
    for _ in 0..5 {
        log.append(Event::new("other")).unwrap();
    }
    std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_cut_tail_and_a_new_chain_show_against_a_remembered_head() {
    let lines = written(5);
    let head = head_of(&lines[..3]);
    let expected = Expected { head: Some(head), ..Expected::default() };
    let records = |lines: &[String]| match judged(lines, &expected) {
        Verdict::Intact { records, .. } => Ok(records),
        Verdict::Broken { line, reason } => Err((line, reason)),
    };
    assert_eq!(records(&lines), Ok(5), "it may have grown since");
    assert_eq!(records(&lines[..3]), Ok(3));
    assert_eq!(records(&lines[..2]), Err((3, Reason::TailMissing { remembered: 3 })));
    assert_eq!(records(&[]), Err((1, Reason::TailMissing { remembered: 3 })));
    assert_eq!(records(&written_other()), Err((3, Reason::Rewritten { remembered: 3 })));
}

#[test]
fn an_empty_log_is_intact() {
    assert_eq!(
        judged(&[], &Expected::default()),
        Verdict::Intact { records: 0, head: Head::START }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_byte_can_be_changed(at in 0usize..1000, to: u8) {
        let text = written(3).join("\n") + "\n";
        let mut bytes = text.into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let verdict = verify(&*bytes, &Expected::default()).unwrap();
        prop_assert!(matches!(verdict, Verdict::Broken { .. }), "byte {} to {}", at, to);
    }

    #[test]
    fn any_bytes_are_judged(bytes: Vec<u8>) {
        prop_assert!(verify(&*bytes, &Expected::default()).is_ok());
    }

    #[test]
    fn heads_read_back(text in "[0-9]{0,21}:?[0-9a-fA-F]{60,66}|.*") {
        if let Ok(head) = text.parse::<Head>() {
            let again: Head = head.to_string().parse().unwrap();
            prop_assert_eq!(again, head);
        }
    }
}

#[test]
fn a_keyed_chain_needs_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let key = Key::new(b"0123456789abcdef").unwrap();
    let open = |key| {
        let (clock, _) = Clock::manual(Duration::ZERO);
        Log::open_keyed(&path, clock, SyncPolicy::Each, key)
    };
    let log = open(key.clone()).unwrap();
    let head = log.append_all(["a", "b", "c"].map(Event::new)).unwrap();
    drop(log);
    let text = std::fs::read(&path).unwrap();
    let judged = |bytes: &[u8], head, key: &Key| {
        verify_keyed(bytes, &Expected { head, ..Expected::default() }, key).unwrap()
    };
    assert_eq!(judged(&text, Some(head), &key), Verdict::Intact { records: 3, head });
    let broken = |line, reason| Verdict::Broken { line, reason };
    let other = Key::new(b"0123456789abcdeg").unwrap();
    assert_eq!(judged(&text, None, &other), broken(1, Reason::Edited));
    assert_eq!(verify(&*text, &Expected::default()).unwrap(), broken(1, Reason::Edited));
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    let dropped = [lines[0], lines[2]].concat();
    assert_eq!(judged(&dropped, None, &key), broken(2, Reason::Gap { expected: 2, found: 3 }));
    let cut = [lines[0], lines[1]].concat();
    assert_eq!(judged(&cut, Some(head), &key), broken(3, Reason::TailMissing { remembered: 3 }));
    let mut flipped = text.clone();
    flipped[40] ^= 1;
    assert_eq!(judged(&flipped, None, &key), broken(1, Reason::Edited));
    assert!(matches!(open(other), Err(AuditError::Damaged { .. })));
    assert!(open(key).is_ok(), "the chain goes on over a restart");
}
