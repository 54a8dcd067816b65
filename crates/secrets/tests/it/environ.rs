//! Each test starts this test binary again with [`role`] as its only test: a program that
//! calls `take` first, says what it got, and waits for the end of its standard input.

use secrets::environ::{EnvironError, MARKER, TOTAL_MAX_BYTES, take};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Lines, Read};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, ChildStdout, Command, Stdio};

const NAMES: [&str; 2] = ["PROXWARD_IT_PASSWORD", "PROXWARD_IT_TOKEN"];
const CANARY: &str = "canary with blanks, = and\nlines";
const SAY: &str = "role says: ";

#[test]
#[ignore = "started by the other tests"]
fn role() {
    let answer = match take(&NAMES) {
        Ok(taken) => {
            let right = taken.values().all(|value| value.same_as(CANARY) || value.same_as(""));
            format!("{:?} {right}", taken.keys().collect::<Vec<_>>())
        }
        Err(error) => format!("error: {error}"),
    };
    println!("\n{SAY}{answer}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A running role and what it said.
struct Role {
    child: Child,
    /// Kept open, or the role could not write its end.
    lines: Lines<BufReader<ChildStdout>>,
    answer: String,
}

impl Role {
    /// `marker` may hold `$$`: a shell sets it and then becomes the role, with the same id.
    fn start(environment: &[(&str, &OsStr)], marker: Option<&str>, stdin: Stdio) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut command = Command::new("sh");
        let set =
            marker.map_or(String::new(), |value| format!("{MARKER}={value}; export {MARKER}; "));
        command.arg("-c").arg(format!("{set}exec \"$0\" \"$@\"")).arg(own);
        command.args(["--ignored", "--exact", "environ::role", "--nocapture", "--test-threads=1"]);
        for name in NAMES.iter().chain([&MARKER]) {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = |line: String| line.strip_prefix(SAY).map(str::to_owned);
        let answer = lines.by_ref().map_while(Result::ok).find_map(said).unwrap_or_default();
        Self { child, lines, answer }
    }

    fn proc(&self, file: &str) -> String {
        let bytes = std::fs::read(format!("/proc/{}/{file}", self.child.id())).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.lines.by_ref().for_each(drop);
        let _ = self.child.wait();
    }
}

fn os(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn credentials_are_taken_and_no_longer_shown() {
    let given = [(NAMES[0], os(CANARY)), (NAMES[1], os("")), ("PROXWARD_IT_OTHER", os("stays"))];
    let role = Role::start(&given, None, Stdio::piped());
    assert_eq!(role.answer, r#"["PROXWARD_IT_PASSWORD", "PROXWARD_IT_TOKEN"] true"#);
    let environment = role.proc("environ");
    assert!(!environment.contains("canary"), "{environment}");
    assert!(!environment.contains(NAMES[0]) && !environment.contains(NAMES[1]), "{environment}");
    assert!(environment.contains("PROXWARD_IT_OTHER=stays"), "{environment}");
    assert!(environment.contains(&format!("{MARKER}={}:", role.child.id())), "{environment}");
    assert!(!role.proc("cmdline").contains("canary"));
    // The name is set for the calling thread: in a program the main one, here a test's.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", role.child.id())).unwrap();
    let names: Vec<_> = tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("it-")), "{names:?}");
}

#[test]
fn without_credentials_nothing_is_started_again() {
    let role = Role::start(&[], None, Stdio::piped());
    assert_eq!(role.answer, "[] true");
    assert!(!role.proc("environ").contains(MARKER));
}

#[test]
fn the_marker_of_another_process_is_ignored() {
    let role = Role::start(&[(NAMES[0], os(CANARY))], Some("1:0"), Stdio::piped());
    assert_eq!(role.answer, r#"["PROXWARD_IT_PASSWORD"] true"#);
    assert!(!role.proc("environ").contains("canary"));
    assert_eq!(Role::start(&[], Some("1:0"), Stdio::piped()).answer, "[] true");
}

#[test]
fn a_forged_marker_is_an_error_and_never_waits() {
    let file = || Stdio::from(std::fs::File::open("/proc/self/status").unwrap());
    for (marker, stdin, reason) in [
        ("garbage", Stdio::piped(), "not of the form"),
        ("$$:00", Stdio::piped(), "not of the form"),
        ("$$:999", Stdio::piped(), "not open"),
        ("$$:0", Stdio::piped(), "another writer"),
        ("$$:0", Stdio::null(), "not a pipe"),
        ("$$:0", file(), "not a pipe"),
    ] {
        let answer = Role::start(&[], Some(marker), stdin).answer.clone();
        assert!(answer.starts_with("error: ") && answer.contains(reason), "{marker}: {answer}");
        assert!(answer.contains(MARKER), "{answer}");
    }
}

#[test]
fn a_forged_marker_beside_credentials_does_not_loop() {
    let role = Role::start(&[(NAMES[0], os(CANARY))], Some("$$:0"), Stdio::piped());
    assert!(role.answer.contains("beside the credentials"), "{}", role.answer);
}

#[test]
fn what_can_not_be_handed_over_is_an_error_without_the_value() {
    let binary = OsString::from_vec(b"canary\xff".to_vec());
    let role = Role::start(&[(NAMES[1], &binary)], None, Stdio::piped());
    assert!(role.answer.contains(NAMES[1]) && !role.answer.contains("canary"), "{}", role.answer);

    let large = "x".repeat(TOTAL_MAX_BYTES);
    let role = Role::start(&[(NAMES[0], os(&large))], None, Stdio::piped());
    assert_eq!(role.answer, format!("error: {}", EnvironError::TooLarge));
}
