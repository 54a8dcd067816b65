//! What others are told of failures: the audit log, and the line that fail2ban's stock filters
//! read. A thread of its own writes both; nobody waits for it.
//!
//! The line is that of pvedaemon, which the filters of fail2ban and of the usual guides expect:
//!
//! ```text
//! 2026-11-21T03:00:00.000Z pve1 pvedaemon[1234]: authentication failure; rhost=203.0.113.9 user=root@pam msg=invalid credentials
//! ```
//!
//! All that comes from a client is the account, in which [`UserText`](super::UserText) has left
//! neither blank nor `=`: no account can put a second `rhost` into the line.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use telemetry::audit::{AuditError, Event, Log, SyncPolicy};
use telemetry::{Clock, Rfc3339};
use tracing::error;

use super::attempt::Attempt;
use super::settings::LoginRules;
use crate::limits::JOURNAL_RECORDS;

/// Facility `auth` (4), severity `err` (3), as pvedaemon logs it (RFC 5424 §6.2.1).
const PRIORITY: u8 = 4 * 8 + 3;

/// How often the audit log is forced to the disk while it is written.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// The way to the writing thread. Dropping it writes what waits.
#[derive(Debug)]
pub(crate) struct Journal {
    records: Option<SyncSender<Record>>,
    /// There is an audit log.
    audits: bool,
    thread: Mutex<Option<JoinHandle<()>>>,
    clock: Clock,
    dropped: AtomicU64,
}

enum Record {
    Event(Event),
    Failure(String),
    /// Another process is to have the audit log. Told when it is closed.
    Close(SyncSender<()>),
    /// It is ours again. Told whether it could be opened.
    Open(SyncSender<Result<(), AuditError>>),
}

struct Sinks {
    /// Where the audit log lies, if there is one.
    place: Option<(PathBuf, Clock)>,
    /// The log while it is ours.
    audit: Option<Log>,
    /// What waits for it to be ours again, at most [`JOURNAL_RECORDS`].
    waiting: Vec<Event>,
    file: Option<PathBuf>,
    syslog: Option<(PathBuf, UnixDatagram)>,
    /// A sink that fails is said once, not for each line.
    failing: bool,
}

impl Journal {
    /// Writes audit records to `audit`, where there is one, and failures to what the rules
    /// name.
    pub(crate) fn start(
        audit: Option<&Path>,
        rules: &LoginRules,
        clock: &Clock,
    ) -> Result<Self, AuditError> {
        let place = audit.map(|path| (path.to_owned(), clock.clone()));
        let audit = place.as_ref().map(open).transpose()?;
        let syslog = rules.failure_syslog.clone().and_then(|path| {
            let socket = UnixDatagram::unbound().ok()?;
            // A logger that does not read must not hold up the records behind it.
            socket.set_nonblocking(true).ok()?;
            Some((path, socket))
        });
        let audits = audit.is_some();
        let (file, waiting) = (rules.failure_log.clone(), Vec::new());
        let sinks = Sinks { place, audit, waiting, file, syslog, failing: false };
        let (records, receiver) = sync_channel(JOURNAL_RECORDS);
        let thread = std::thread::Builder::new().name("gate-journal".to_owned());
        let thread = thread.spawn(move || sinks.run(&receiver)).ok();
        let (clock, dropped) = (clock.clone(), AtomicU64::new(0));
        Ok(Self { records: Some(records), audits, thread: Mutex::new(thread), clock, dropped })
    }

    /// Adds a record to the audit log, if there is one.
    pub(crate) fn audit(&self, event: impl FnOnce() -> Event) {
        if self.audits {
            self.send(Record::Event(event()));
        }
    }

    /// Adds the line of a failure.
    pub(crate) fn failure(&self, attempt: &Attempt) {
        self.send(Record::Failure(line(self.clock.unix(), attempt)));
    }

    /// Writes what waits and closes the audit log, for another process; what comes later waits
    /// for [`Journal::reopen`]. Blocks.
    pub(crate) fn close(&self) {
        self.tell(Record::Close);
    }

    /// Goes on with the audit log where it ends now. Blocks.
    ///
    /// # Errors
    /// Another process has it still, or it can not be read; what comes waits as before.
    pub(crate) fn reopen(&self) -> Result<(), AuditError> {
        self.tell(Record::Open).unwrap_or(Ok(()))
    }

    /// Waits for the thread's answer; None when it has ended.
    fn tell<T>(&self, order: impl FnOnce(SyncSender<T>) -> Record) -> Option<T> {
        let (done, answer) = sync_channel(1);
        self.records.as_ref()?.send(order(done)).ok()?;
        answer.recv().ok()
    }

    /// Records that were dropped because the disk did not keep up.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn send(&self, record: Record) {
        let sent = self.records.as_ref().map(|records| records.try_send(record));
        if let Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) = sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.records = None;
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Sinks {
    fn run(mut self, records: &Receiver<Record>) {
        loop {
            let record = match records.recv_timeout(SYNC_EVERY) {
                Ok(record) => record,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    if let Some(audit) = &self.audit {
                        let synced = audit.sync().map_err(|error| error.to_string());
                        self.note(synced);
                    }
                    continue;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let written = match record {
                Record::Event(event) => self.event(event),
                Record::Failure(line) => self.failure(&line),
                Record::Close(done) => {
                    self.audit = None;
                    let _ = done.send(());
                    Ok(())
                }
                Record::Open(done) => {
                    let opened = self.open();
                    let written = self.waited();
                    let _ = done.send(opened);
                    written
                }
            };
            self.note(written);
        }
    }

    fn open(&mut self) -> Result<(), AuditError> {
        if self.audit.is_none() {
            self.audit = self.place.as_ref().map(open).transpose()?;
        }
        Ok(())
    }

    /// Writes what has waited for the log.
    fn waited(&mut self) -> Result<(), String> {
        match &self.audit {
            Some(audit) if !self.waiting.is_empty() => {
                let written = audit.append_all(self.waiting.drain(..));
                written.map(drop).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    }

    fn event(&mut self, event: Event) -> Result<(), String> {
        match &self.audit {
            Some(audit) => audit.append(event).map(drop).map_err(|error| error.to_string()),
            None if self.waiting.len() < JOURNAL_RECORDS => {
                self.waiting.push(event);
                Ok(())
            }
            None => Err("the audit log is another process's".to_owned()),
        }
    }

    fn failure(&self, line: &str) -> Result<(), String> {
        if let Some(path) = &self.file {
            let said = |error: io::Error| format!("{}: {error}", path.display());
            append(path, line).map_err(said)?;
        }
        if let Some((path, socket)) = &self.syslog {
            let text = format!("<{PRIORITY}>{}", line.trim_end());
            let sent = socket.send_to(text.as_bytes(), path);
            sent.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    fn note(&mut self, written: Result<(), String>) {
        match written {
            Ok(()) => self.failing = false,
            Err(cause) => {
                if !self.failing {
                    error!(
                        cause,
                        "a record of a login is not written; check the place and its space"
                    );
                }
                self.failing = true;
            }
        }
    }
}

fn open((path, clock): &(PathBuf, Clock)) -> Result<Log, AuditError> {
    Log::open(path, clock.clone(), SyncPolicy::Interval(SYNC_EVERY))
}

/// Opened for each line: failures are rare and slow, and a file that was rotated is found anew.
fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    file.write_all(line.as_bytes())
}

fn line(unix: Duration, attempt: &Attempt) -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_str().unwrap_or("localhost");
    let user = attempt.user.as_ref().map_or("unknown", |user| user.as_str());
    format!(
        "{} {host} pvedaemon[{}]: authentication failure; rhost={} user={user} msg={}\n",
        Rfc3339(unix),
        std::process::id(),
        shown(attempt.client),
        attempt.channel.reason(),
    )
}

/// IPv4 as IPv4: the filters' `<ADDR>` would take both, people would not.
fn shown(client: IpAddr) -> IpAddr {
    netpolicy::canonical(client)
}

#[cfg(test)]
mod tests {
    use super::{Journal, line};
    use crate::login::{Attempt, Channel, LoginRules};
    use proptest::prelude::*;
    use std::time::Duration;
    use telemetry::Clock;
    use telemetry::audit::{Event, SyncPolicy};

    fn attempt(user: &str) -> Attempt {
        Attempt::new(Channel::Extjs, "::ffff:203.0.113.9".parse().unwrap(), Some(user))
    }

    #[test]
    fn the_line_is_pvedaemons() {
        let text = line(Duration::from_secs(1_795_215_085), &attempt("root@pam"));
        let (head, rest) = text.split_once(" pvedaemon[").unwrap();
        assert!(head.starts_with("2026-11-20T22:51:25.000Z "), "{text}");
        let (_, rest) = rest.split_once("]: ").unwrap();
        assert_eq!(
            rest,
            "authentication failure; rhost=203.0.113.9 user=root@pam msg=invalid credentials\n"
        );
    }

    proptest! {
        #[test]
        fn no_account_forges_a_line(user in any::<String>()) {
            let text = line(Duration::ZERO, &attempt(&user));
            prop_assert_eq!(text.matches('\n').count(), 1);
            prop_assert_eq!(text.matches("rhost=").count(), 1);
            prop_assert_eq!(text.matches(" user=").count(), 1);
            prop_assert_eq!(text.matches("pvedaemon[").count(), 1);
        }
    }

    #[test]
    fn lines_go_to_the_file_even_after_it_was_rotated_and_to_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let (file, socket) = (directory.path().join("auth.log"), directory.path().join("log"));
        let receiver = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
        let rules = LoginRules {
            failure_log: Some(file.clone()),
            failure_syslog: Some(socket),
            ..LoginRules::default()
        };
        let audit = directory.path().join("audit.jsonl");
        let journal = Journal::start(Some(&audit), &rules, &Clock::system()).unwrap();
        journal.failure(&attempt("one@pam"));
        journal.audit(|| Event::new("login.failed").field("user", "one@pam"));
        let mut bytes = [0; 512];
        let length = receiver.recv(&mut bytes).unwrap();
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        assert!(text.starts_with("<35>2") && text.contains("user=one@pam msg="), "{text}");
        assert!(!text.ends_with('\n'));
        std::fs::rename(&file, directory.path().join("auth.log.1")).unwrap();
        journal.failure(&attempt("two@pam"));
        // Another process has the audit log in between.
        journal.close();
        let other = telemetry::audit::Log::open(&audit, Clock::system(), SyncPolicy::Each).unwrap();
        journal.audit(|| Event::new("login.locked"));
        assert!(journal.reopen().is_err());
        other.append(Event::new("login.banned")).unwrap();
        drop(other);
        journal.reopen().unwrap();
        assert_eq!(journal.dropped(), 0);
        drop(journal);
        let lines = std::fs::read_to_string(&file).unwrap();
        assert!(lines.contains("user=two@pam") && !lines.contains("user=one@pam"), "{lines}");
        let audit = std::fs::read_to_string(&audit).unwrap();
        let at = |kind: &str| audit.find(kind).unwrap();
        assert!(at("login.failed") < at("login.banned") && at("login.banned") < at("login.locked"));
    }
}
