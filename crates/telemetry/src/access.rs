//! The access log: one JSON object a line for every request, written behind.
//!
//! ```text
//! {"time":"2026-07-01T12:00:00.123Z","id":"186c10b14e2f62d3","client":"192.0.2.7:4711","http":"1.1","method":"GET","path":"/api2/json/version","status":200,"bytes":98,"us":412}
//! ```
//!
//! Apart from [`log`](crate::log) because of its number: a line is put into a buffer of the thread
//! that served the request, and a thread of its own writes full buffers, or what there is once a
//! second. Nobody who serves waits for a disk. Lines that a reader does not take in time are
//! dropped and counted, in the log itself too.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::limits::{ACCESS_BUFFER, ACCESS_QUEUE, ACCESS_TEXT};
use crate::{CorrelationId, Rfc3339, escape};

/// What is known of a request when it has ended.
#[derive(Debug)]
pub struct Access<'a> {
    /// When it ended, since the Unix epoch.
    pub unix: Duration,
    /// Its name in all logs.
    pub id: &'a CorrelationId,
    /// The client's own address.
    pub client: SocketAddr,
    /// Who the client is, as far as that was found out: a user, or a token's id.
    pub user: Option<&'a str>,
    /// `1.0`, `1.1` or `2`; none when the head could not be read.
    pub http: Option<&'static str>,
    /// The method as it was sent.
    pub method: Option<&'a str>,
    /// The path, decoded, without the query.
    pub path: &'a str,
    /// 0 when the client left before there was an answer.
    pub status: u16,
    /// Body bytes sent to the client.
    pub bytes: u64,
    /// From the head's last byte to the end.
    pub took: Duration,
    /// The subject of the certificate that the client has shown in the handshake.
    pub certificate: Option<&'a str>,
    /// The rule by which the request was refused.
    pub rule: Option<&'static str>,
    /// What went wrong, masked before it is written.
    pub cause: Option<&'a str>,
}

/// Writes the lines of all threads.
#[derive(Debug)]
pub struct AccessLog {
    sender: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

/// The lines of one thread.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Lines in the buffer.
    count: u64,
    second: Second,
    sender: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
}

impl AccessLog {
    /// Lines go to stderr.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn stderr() -> io::Result<Self> {
        Self::to(|| Ok(Box::new(io::stderr())))
    }

    /// Lines are appended to the file, made with mode 0640 if it is not there. When a tool moves
    /// or removes it, the next lines begin a new one.
    ///
    /// # Errors
    /// The file can not be opened, or no thread started.
    pub fn file(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        let mut file: Option<(PathFile, File)> = Some(PathFile::open(&path)?);
        Self::to(move || {
            let current = file.take().filter(|(known, _)| known.is(&path));
            let (known, current) = current.map_or_else(|| PathFile::open(&path), Ok)?;
            let writer = current.try_clone()?;
            file = Some((known, current));
            Ok(Box::new(writer))
        })
    }

    /// Lines go to whatever `open` gives, asked before every write.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn to(
        open: impl FnMut() -> io::Result<Box<dyn Write>> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(ACCESS_QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(&receiver, &counted, open))?;
        Ok(Self { sender, dropped, thread })
    }

    /// A buffer for one thread.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let (sender, dropped) = (self.sender.clone(), Arc::clone(&self.dropped));
        Lines { buffer: Vec::new(), count: 0, second: Second::default(), sender, dropped }
    }

    /// Waits until every [`Lines`] is dropped and all they were given is written. Blocks the
    /// thread. Without it, what was handed over last may be lost at the end of the process.
    pub fn close(self) {
        let Self { sender, dropped: _, thread } = self;
        drop(sender);
        // Its panic would be a bug that has been printed already.
        let _ = thread.join();
    }
}

impl Lines {
    /// Adds the line of a request.
    pub fn add(&mut self, access: &Access<'_>) {
        if self.buffer.is_empty() {
            self.buffer.reserve(ACCESS_BUFFER);
        }
        render(&mut self.buffer, &mut self.second, access);
        self.count += 1;
        if self.buffer.len() + ACCESS_BUFFER / 8 > ACCESS_BUFFER {
            self.flush();
        }
    }

    /// Hands over what there is: to be called about once a second, and at the end.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let count = std::mem::take(&mut self.count);
        match self.sender.try_send(std::mem::take(&mut self.buffer)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

fn write_all(
    receiver: &Receiver<Vec<u8>>,
    dropped: &AtomicU64,
    mut open: impl FnMut() -> io::Result<Box<dyn Write>>,
) {
    let mut failing = false;
    for mut lines in receiver {
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            // A write to a vector can not fail.
            let _ = writeln!(lines, "{{\"dropped\":{missing}}}");
        }
        let written = open().and_then(|mut out| out.write_all(&lines));
        if let Err(error) = &written
            && !failing
        {
            tracing::error!(%error, "the access log can not be written; its lines are lost until it can");
        }
        failing = written.is_err();
    }
}

/// Which file a path was when it was opened.
struct PathFile {
    device: u64,
    inode: u64,
}

impl PathFile {
    fn open(path: &PathBuf) -> io::Result<(Self, File)> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        let metadata = file.metadata()?;
        Ok((Self { device: metadata.dev(), inode: metadata.ino() }, file))
    }

    fn is(&self, path: &PathBuf) -> bool {
        std::fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (self.device, self.inode))
    }
}

fn render(out: &mut Vec<u8>, second: &mut Second, access: &Access<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    second.put(out, access.unix);
    out.extend_from_slice(b"\",\"id\":\"");
    out.extend_from_slice(access.id.as_bytes());
    out.extend_from_slice(b"\",\"client\":\"");
    address(out, access.client);
    out.push(b'"');
    text(out, "user", access.user);
    text(out, "http", access.http);
    text(out, "method", access.method);
    text(out, "path", Some(access.path));
    let us = u64::try_from(access.took.as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(b",\"status\":");
    number(out, u64::from(access.status));
    out.extend_from_slice(b",\"bytes\":");
    number(out, access.bytes);
    out.extend_from_slice(b",\"us\":");
    number(out, us);
    text(out, "certificate", access.certificate);
    text(out, "rule", access.rule);
    if let Some(cause) = access.cause {
        text(out, "cause", Some(&secrets::mask::text(escape::prefix(cause, ACCESS_TEXT))));
    }
    out.extend_from_slice(b"}\n");
}

/// The last second a time was written for: most lines are of the same.
#[derive(Debug, Default)]
struct Second {
    second: u64,
    /// `2026-07-01T12:00:00.`; empty at first.
    text: String,
}

impl Second {
    fn put(&mut self, out: &mut Vec<u8>, unix: Duration) {
        if self.text.is_empty() || self.second != unix.as_secs() {
            self.second = unix.as_secs();
            self.text = Rfc3339(Duration::from_secs(self.second)).to_string();
            self.text.truncate(self.text.len().saturating_sub("000Z".len()));
        }
        out.extend_from_slice(self.text.as_bytes());
        let millis = unix.subsec_millis();
        for digit in [millis / 100, millis / 10 % 10, millis % 10] {
            number(out, u64::from(digit));
        }
        out.push(b'Z');
    }
}

/// Formatting costs more than all else in a line, so the common parts are written by hand.
fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut left = value;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

fn address(out: &mut Vec<u8>, address: SocketAddr) {
    let SocketAddr::V4(v4) = address else {
        // A write to a vector can not fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (at, octet) in v4.ip().octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        number(out, u64::from(octet));
    }
    out.push(b':');
    number(out, u64::from(v4.port()));
}

fn text(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    let value = escape::prefix(value, ACCESS_TEXT);
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\');
    // No early end: so the compiler looks at many bytes at once.
    if value.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.extend_from_slice(value.as_bytes());
    } else {
        let mut escaped = String::with_capacity(value.len() + 16);
        value.chars().for_each(|c| escape::quoted(c).push_to(&mut escaped));
        out.extend_from_slice(escaped.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::{Access, AccessLog, Second, address, number, render};
    use crate::CorrelationId;
    use proptest::prelude::*;
    use std::time::Duration;

    fn access<'a>(id: &'a CorrelationId, path: &'a str) -> Access<'a> {
        Access {
            unix: Duration::from_millis(1_782_907_200_123),
            id,
            client: "192.0.2.7:4711".parse().unwrap(),
            user: Some("root@pam"),
            http: Some("1.1"),
            method: Some("GET"),
            path,
            status: 200,
            bytes: 98,
            took: Duration::from_micros(412),
            certificate: None,
            rule: None,
            cause: None,
        }
    }

    #[test]
    fn a_line_as_documented() {
        let id: CorrelationId = "186c10b14e2f62d3".parse().unwrap();
        let mut out = Vec::new();
        let cause = "posting password=canary";
        render(
            &mut out,
            &mut Second::default(),
            &Access { cause: Some(cause), ..access(&id, "/api2/json/version") },
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"time\":\"2026-07-01T12:00:00.123Z\",\"id\":\"186c10b14e2f62d3\",\
             \"client\":\"192.0.2.7:4711\",\"user\":\"root@pam\",\"http\":\"1.1\",\
             \"method\":\"GET\",\"path\":\"/api2/json/version\",\"status\":200,\"bytes\":98,\
             \"us\":412,\"cause\":\"posting password=***\"}\n"
        );
    }

    #[test]
    fn a_moved_file_is_followed_by_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("access.log"), directory.path().join("old"));
        let id = CorrelationId::random();
        let log = AccessLog::file(&path).unwrap();
        let mut lines = log.lines();
        lines.add(&access(&id, "/first"));
        lines.flush();
        while std::fs::metadata(&path).unwrap().len() == 0 {
            std::thread::yield_now();
        }
        std::fs::rename(&path, &old).unwrap();
        lines.add(&access(&id, "/second"));
        drop(lines);
        log.close();
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert!(read(&old).contains("/first") && !read(&old).contains("/second"));
        assert!(read(&path).contains("/second") && read(&path).ends_with("}\n"));
    }

    #[test]
    fn what_nobody_takes_is_dropped_counted_and_said() {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let (seen, lines_seen) = std::sync::mpsc::channel::<Vec<u8>>();
        struct Sink(std::sync::mpsc::Sender<Vec<u8>>);
        impl std::io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.send(bytes.to_vec()).map_err(std::io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let log = AccessLog::to(move || {
            let _ = wait.recv();
            Ok(Box::new(Sink(seen.clone())))
        })
        .unwrap();
        let id = CorrelationId::random();
        let mut lines = log.lines();
        for _ in 0..super::ACCESS_QUEUE + 10 {
            lines.add(&access(&id, "/x"));
            lines.flush();
        }
        drop(release);
        drop(lines);
        log.close();
        let written: Vec<u8> = lines_seen.into_iter().flatten().collect();
        let written = String::from_utf8(written).unwrap();
        let there = written.matches("\"path\"").count();
        let dropped: usize = written
            .lines()
            .filter_map(|line| line.strip_prefix("{\"dropped\":")?.strip_suffix('}'))
            .map(|count| count.parse::<usize>().unwrap())
            .sum();
        assert!(dropped > 0, "{written}");
        assert_eq!(there + dropped, super::ACCESS_QUEUE + 10);
    }

    proptest! {
        #[test]
        fn written_by_hand_as_by_the_formatter(value: u64, at: std::net::SocketAddr, unix in 0..253_402_300_799_000_u64) {
            let mut out = Vec::new();
            number(&mut out, value);
            out.push(b' ');
            address(&mut out, at);
            out.push(b' ');
            let unix = Duration::from_millis(unix);
            Second::default().put(&mut out, unix);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{value} {at} {}", crate::Rfc3339(unix)));
        }

        #[test]
        fn any_path_is_one_json_line(path in ".{0,200}") {
            let id = CorrelationId::random();
            let mut out = Vec::new();
            render(&mut out, &mut Second::default(), &access(&id, &path));
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(text.matches('\n').count(), 1);
            let line: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(line["path"].as_str(), Some(path.as_str()));
        }
    }
}
