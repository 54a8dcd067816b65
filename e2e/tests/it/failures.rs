//! The failures a newcomer meets: one line with the remedy, and the contract's exit code.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::home::Home;
use crate::program::{Ended, finish};

/// A command that fails. In `words`, `$NAME` stands for what [`Stage`] has prepared.
struct Failure {
    words: &'static str,
    code: i32,
    /// What the line must hold: the place of the fault and what to do.
    says: &'static [&'static str],
}

#[rustfmt::skip]
const FAILURES: &[Failure] = &[
    // what was typed
    Failure { words: "nonsense", code: 2, says: &["nonsense", "--help"] },
    Failure { words: "demo --nonsense", code: 2, says: &["--nonsense", "--help"] },
    Failure { words: "demo --sed small", code: 2, says: &["--sed", "--seed"] },
    Failure { words: "demo --seed galaxy", code: 2, says: &["--seed", "galaxy", "small", "cluster"] },
    Failure { words: "demo --format xml", code: 2, says: &["--format", "xml", "text", "json"] },
    Failure { words: "demo --listen 8006", code: 2, says: &["--listen", "8006"] },
    Failure { words: "demo --listen", code: 2, says: &["--listen", "--help"] },
    Failure { words: "demo --log =nonsense=", code: 2, says: &["log filter"] },
    Failure { words: "api get", code: 2, says: &["PATH"] },
    Failure { words: "mock --cert $ABSENT", code: 2, says: &["--key"] },
    Failure { words: "mock --time-scale -1", code: 2, says: &["--time-scale"] },
    // the port
    Failure { words: "demo --listen $TAKEN", code: 2, says: &["$TAKEN", "in use", "--listen"] },
    Failure { words: "mock --clock yesterday", code: 2, says: &["--clock", "2026-07-01T12:00:00Z"] },
    Failure { words: "mock --clock-runs", code: 2, says: &["--clock"] },
    Failure { words: "mock --control 0.0.0.0:0", code: 2, says: &["0.0.0.0:0", "loopback"] },
    Failure { words: "mock --state /", code: 2, says: &["state file /", "regular file"] },
    Failure { words: "mock --listen $TAKEN", code: 2, says: &["$TAKEN", "in use", "--listen"] },
    // the state
    Failure { words: "demo --listen 127.0.0.1:0 --state $GARBAGE", code: 2, says: &["$GARBAGE", "directory"] },
    Failure { words: "demo --listen 127.0.0.1:0 --state $GARBAGE/below", code: 2, says: &["$GARBAGE/below"] },
    Failure { words: "demo --listen 127.0.0.1:0 --state $OPEN", code: 2, says: &["$OPEN", "chmod"] },
    // nobody may make directories there, root included
    Failure { words: "demo --listen 127.0.0.1:0 --state /sys/proxward", code: 3, says: &["/sys/proxward", "name a place"] },
    // the configuration
    Failure { words: "gate bans list --state $DIRECTORY", code: 4, says: &["$DIRECTORY/control.sock", "--state"] },
    Failure { words: "gate bans remove 192.0.2.1 --config $ABSENT", code: 2, says: &["$ABSENT"] },
    Failure { words: "gate bans", code: 2, says: &["--help"] },
    Failure { words: "gate --config $ABSENT", code: 2, says: &["$ABSENT", "name another"] },
    Failure { words: "gate --config $GARBAGE", code: 2, says: &["$GARBAGE:1"] },
    Failure { words: "gate --config $DIRECTORY", code: 2, says: &["$DIRECTORY"] },
    Failure { words: "gate --config $TYPO", code: 2, says: &["$TYPO:2", "gate.lisen", "listen"] },
    Failure { words: "config check --config $ABSENT", code: 2, says: &["$ABSENT"] },
    Failure { words: "gate --listen 127.0.0.1:0 --upstream http://192.0.2.1", code: 2, says: &["upstream", "http"] },
    Failure { words: "gate --listen 127.0.0.1:0 --upstream https://127.0.0.1 --upstream-ca $GARBAGE", code: 2,
        says: &["BEGIN CERTIFICATE"] },
    Failure { words: "gate --listen 127.0.0.1:0 --upstream http://127.0.0.1 --cert $ABSENT --key $ABSENT", code: 2,
        says: &["$ABSENT"] },
    // files given to the mock
    Failure { words: "mock --schema $ABSENT", code: 2, says: &["$ABSENT"] },
    Failure { words: "mock --schema $GARBAGE", code: 2, says: &["schema"] },
    Failure { words: "mock --verify-key $GARBAGE", code: 2, says: &["key"] },
    Failure { words: "mock --password-file $READABLE", code: 2, says: &["$READABLE", "chmod"] },
    // calls
    Failure { words: "api get /nodes --url $NOBODY", code: 2, says: &["--ca", "--fingerprint"] },
    Failure { words: "api get /nodes --url nonsense://x", code: 2, says: &["nonsense", "https://"] },
    Failure { words: "api get /nodes --url $NOBODY --ca $ABSENT", code: 2, says: &["$ABSENT"] },
    Failure { words: "api get /nodes --url $NOBODY --ca $GARBAGE", code: 2, says: &["BEGIN CERTIFICATE"] },
    Failure { words: "api get /nodes --url $NOBODY --fingerprint AA:BB", code: 2, says: &["fingerprint"] },
    Failure { words: "api get /nodes --url $NOBODY $TRUST --user root@pam", code: 2,
        says: &["--password-file", "PROXWARD_PASSWORD"] },
    Failure { words: "api get /nodes --url $NOBODY $TRUST --user root --password-file $SECRET", code: 2,
        says: &["root", "realm"] },
    Failure { words: "api get /nodes --url $NOBODY $TRUST --user root@pam --password-file $ABSENT", code: 2,
        says: &["$ABSENT"] },
    Failure { words: "api get /nodes --url $NOBODY $TRUST --user root@pam --password-file $READABLE", code: 2,
        says: &["$READABLE", "chmod"] },
    Failure { words: "api get /nodes --url $NOBODY $TRUST --token-file $SECRET", code: 2,
        says: &["API token", "user@realm!name="] },
    Failure { words: "api get /nodes --url $NOBODY $TRUST -d type", code: 2, says: &["-d", "KEY=VALUE"] },
    Failure { words: "api get /nodes --url $NOBODY $TRUST", code: 4, says: &["no connection", "--url"] },
    // logs
    Failure { words: "log verify $ABSENT", code: 2, says: &["$ABSENT"] },
    Failure { words: "log verify $GARBAGE", code: 1, says: &["$GARBAGE:1"] },
];

#[test]
fn every_failure_is_one_line() -> Result<()> {
    let stage = Stage::new()?;
    let mut wrong = Vec::new();
    for failure in FAILURES {
        let words = stage.fill(failure.words);
        let words: Vec<&str> = words.split(' ').collect();
        let says: Vec<String> = failure.says.iter().map(|text| stage.fill(text)).collect();
        let says: Vec<&str> = says.iter().map(String::as_str).collect();
        let ended = finish(&mut stage.home.proxward(&words)?, "");
        if let Err(error) = ended.and_then(|ended| one_line(&ended, failure.code, &says)) {
            wrong.push(format!("proxward {}\n{error}", words.join(" ")));
        }
    }
    let left = stage.home.left()?;
    ensure!(left.is_empty(), "failed commands left behind: {left:?}");
    let count = wrong.len();
    ensure!(wrong.is_empty(), "{count} of {}:\n\n{}", FAILURES.len(), wrong.join("\n\n"));
    Ok(())
}

/// A refused command says why in one line on stderr, prints no result and ends with `code`.
pub(crate) fn one_line(ended: &Ended, code: i32, says: &[&str]) -> Result<()> {
    ensure!(ended.code == Some(code), "expected exit code {code}\n{ended}");
    ensure!(ended.stdout.is_empty(), "a failure has no result\n{ended}");
    let line = ended.stderr.strip_suffix('\n').unwrap_or_default();
    ensure!(!line.is_empty() && !line.contains('\n'), "not one line\n{ended}");
    ensure!(line.starts_with("proxward: "), "the line does not say whose it is\n{ended}");
    for word in ["panicked", "internal error", "backtrace"] {
        ensure!(!line.contains(word), "a bug reached the user\n{ended}");
    }
    for word in says {
        ensure!(line.contains(word), "the line does not say {word:?}\n{ended}");
    }
    Ok(())
}

/// An address nobody listens on.
pub(crate) fn unused_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Files, directories and ports for the table.
struct Stage {
    home: Home,
    names: Vec<(&'static str, String)>,
    _taken: TcpListener,
}

impl Stage {
    fn new() -> Result<Self> {
        let home = Home::new()?;
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let show = |path: &Path| path.display().to_string();
        let authority = tls::Authority::generate("test", telemetry::Clock::system().unix())?;
        let ca = home.private("ca.pem", authority.certificate_pem())?;
        let readable = home.private("readable", "secret\n")?;
        chmod(&readable, 0o644)?;
        let (open, directory) = (home.scratch("open"), home.scratch("directory"));
        for (path, mode) in [(&open, 0o777), (&directory, 0o700)] {
            std::fs::create_dir(path)?;
            chmod(path, mode)?;
        }
        let names = vec![
            ("$ABSENT", show(&home.scratch("absent"))),
            ("$DIRECTORY", show(&directory)),
            ("$GARBAGE", show(&home.private("garbage", "\u{1}\u{2} ]]] = not anything\n")?)),
            ("$NOBODY", format!("https://{}", unused_address()?)),
            ("$OPEN", show(&open)),
            ("$READABLE", show(&readable)),
            ("$SECRET", show(&home.private("secret", "secret\n")?)),
            ("$TAKEN", taken.local_addr()?.to_string()),
            ("$TRUST", format!("--ca {}", show(&ca))),
            ("$TYPO", show(&home.private("typo", "[gate]\nlisen = [\"127.0.0.1:0\"]\n")?)),
        ];
        Ok(Self { home, names, _taken: taken })
    }

    fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

fn chmod(path: &Path, mode: u32) -> Result<()> {
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}
