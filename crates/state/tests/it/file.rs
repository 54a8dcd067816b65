//! The file store as the system treats it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use state::{Change, Entry, Redb, Store, StoreError, Table, Writer};

const DIRECTORY: &str = "PROXWARD_STATE_TEST_DIRECTORY";
const SAY: &str = "acknowledged ";

fn put(number: u32) -> Change {
    let key = number.to_be_bytes().to_vec();
    let entry = Entry { key, value: vec![7; 2000], expires: Duration::MAX };
    Change::Put { table: Table::Bans, entry }
}

fn numbers(store: &mut Redb) -> Vec<u32> {
    let number = |entry: Entry| u32::from_be_bytes(entry.key.try_into().unwrap());
    store.load(Table::Bans).unwrap().into_iter().map(number).collect()
}

/// Commits until it is killed or the disk is full, and says each number once it is acknowledged.
#[test]
#[ignore = "started by the other tests"]
fn role() {
    let directory = std::env::var_os(DIRECTORY).unwrap();
    let store = Redb::open(Path::new(&directory)).unwrap();
    let writer = Writer::start(Box::new(store)).unwrap();
    for number in 0..5000 {
        if let Err(error) = writer.durable_blocking(vec![put(number)]) {
            println!("\n{error}");
            return;
        }
        println!("\n{SAY}{number}");
    }
}

fn command(limit: &str, directory: &Path) -> Command {
    let mut command = Command::new("sh");
    // The signal of a file over its limit would end the program; as an error it is like a
    // full disk.
    command.arg("-c").arg(format!("trap '' XFSZ; {limit} exec \"$0\" \"$@\""));
    command.arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "file::role", "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).stdout(Stdio::piped());
    command
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    for kill_after in [1, 7, 40] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut child = command("", &path).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut acknowledged = Vec::new();
        let mut line = String::new();
        while acknowledged.len() < kill_after {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "ended early");
            acknowledged.extend(line.trim().strip_prefix(SAY).map(|n| n.parse::<u32>().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Those said between the last line read and the kill count too.
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        let complete = rest.rsplit_once('\n').map_or("", |(complete, _)| complete);
        let said = complete.lines().filter_map(|line| line.strip_prefix(SAY));
        acknowledged.extend(said.map(|number| number.parse::<u32>().unwrap()));
        let kept = numbers(&mut Redb::open(&path).unwrap());
        assert!(acknowledged.iter().all(|number| kept.contains(number)), "{acknowledged:?}");
    }
}

#[test]
fn a_file_at_its_limit_is_one_clear_error_and_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    // In blocks of 512 bytes: 3 MiB, which 5000 entries of 2 KB do not fit in.
    let output = command("ulimit -f 6144;", &path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let acknowledged: Vec<u32> = text
        .lines()
        .filter_map(|line| line.strip_prefix(SAY))
        .map(|n| n.parse().unwrap())
        .collect();
    assert!((10..5000).contains(&acknowledged.len()), "{text}");
    let errors: Vec<_> = text.lines().filter(|line| line.contains("no space left")).collect();
    assert!(errors.len() == 1 && errors[0].contains("state.redb"), "{text}");
    let kept = numbers(&mut Redb::open(&path).unwrap());
    assert!(acknowledged.iter().all(|number| kept.contains(number)));
}

#[test]
fn a_second_owner_is_refused_and_the_next_one_finds_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    let mut first = Redb::open(&path).unwrap();
    first.commit(&[put(1)]).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(first);
    assert_eq!(numbers(&mut Redb::open(&path).unwrap()), [1]);
}

#[test]
fn a_directory_that_others_may_enter_is_refused_and_a_new_one_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    drop(Redb::open(&path).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("state.redb"))), (0o700, 0o600));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert!(error.to_string().contains("chmod 700"), "{error}");
}

#[test]
fn a_file_that_is_gone_while_open_does_not_come_back_empty() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state");
    drop(Redb::open(&path).unwrap());
    std::fs::remove_file(path.join("state.redb")).unwrap();
    std::os::unix::fs::symlink("/dev/null", path.join("state.redb")).unwrap();
    let error = Redb::open(&path).unwrap_err();
    assert!(error.to_string().contains("state.redb"), "{error}");
}
