//! A broker of its own for each test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use broker_api::{Answer, Client, Outcome, Request};
use serde_json::Value;

pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// A running broker; ended, and its files removed, when dropped.
pub(crate) struct Broker {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) dir: tempfile::TempDir,
}

/// Whether peers of other users can be made; said once when not.
pub(crate) fn is_root() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    if !root {
        eprintln!("skipped: peers of other users can be made by root only");
    }
    root
}

/// A directory that other users can pass through.
pub(crate) fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_proxward-brokerd"))
}

/// The configuration of a broker below `dir`, with more lines of `[broker]` and more sections.
pub(crate) fn config(dir: &Path, more: &str) -> PathBuf {
    let at = dir.display();
    let text = format!(
        "[broker]\nsocket = '{at}/s/broker.sock'\nstate = '{at}/state'\n{more}\n\
         [broker.audit]\nfile = '{at}/log/audit.jsonl'\nkey_file = '{at}/state/audit.key'\n\
         head_file = '{at}/state/audit.head'\n"
    );
    let path = dir.join("proxward.toml");
    std::fs::write(&path, text).unwrap();
    path
}

impl Broker {
    /// One with more configuration; waits until it is ready.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_in(open_dir(), more)
    }

    pub(crate) fn start_in(dir: tempfile::TempDir, more: &str) -> Self {
        let mut command = program();
        command.arg("--config").arg(config(dir.path(), more));
        Self::run(command, dir)
    }

    pub(crate) fn run(mut command: Command, dir: tempfile::TempDir) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut broker = Self { child, stderr, dir };
        broker.wait_for("broker: ready");
        broker
    }

    /// Reads the log until a line holds `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "ended before {text:?}");
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s/broker.sock")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket(), WAIT).unwrap()
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream
    }

    /// One call of this user.
    pub(crate) fn call(&self, request: Request) -> Answer {
        self.client().call(request, |_| {}).unwrap()
    }

    /// One line of pulse-sensor-proxy's protocol each way.
    pub(crate) fn pulse(&self, line: &str) -> Value {
        let mut stream = self.connect();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text:?}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Ends it in order and gives its directory back.
    pub(crate) fn end(mut self) -> tempfile::TempDir {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// The audit log once this stands in it: a refusal is written down after it was said.
    pub(crate) fn audit_with(&self, part: &str) -> String {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let log = self.audit();
            if log.contains(part) || Instant::now() > until {
                assert!(log.contains(part), "{log}");
                return log;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn audit(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log/audit.jsonl")).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Killed, it would leave its processes to end by themselves; asked, it ends them.
        let pid = self.pid().to_string();
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").args(["-TERM", &pid]).status();
            let _ = self.child.wait();
        }
    }
}

/// What a peer of another user gets: it connects, sends `bytes`, and reads to the end.
/// `namespace` maps the users 0… of a new user namespace to 100000….
pub(crate) fn as_user(socket: &Path, uid: u32, gid: u32, namespace: bool, bytes: &[u8]) -> Vec<u8> {
    const SCRIPT: &str = r"
import ctypes, os, socket, sys
path, uid, gid, namespace = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == 'true'
if namespace:
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child:
        os.read(ready[0], 1)
        for name in ('uid_map', 'gid_map'):
            with open(f'/proc/{child}/{name}', 'w') as f:
                f.write('0 100000 65536')
        os.write(go[1], b'x')
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if ctypes.CDLL(None).unshare(0x10000000):
        sys.exit(77)
    os.write(ready[1], b'x')
    os.read(go[0], 1)
os.setgroups([])
os.setgid(gid)
os.setuid(uid)
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect(path)
s.sendall(sys.stdin.buffer.read())
while True:
    part = s.recv(65536)
    if not part:
        break
    sys.stdout.buffer.write(part)
    sys.stdout.flush()
";
    let mut child = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(socket)
        .args([uid.to_string(), gid.to_string(), namespace.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// The answer of a pulse call by another user.
pub(crate) fn pulse_as(socket: &Path, uid: u32, gid: u32, namespace: bool, line: &str) -> Value {
    let bytes = as_user(socket, uid, gid, namespace, format!("{line}\n").as_bytes());
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

pub(crate) fn done(answer: &Answer) -> &Value {
    match &answer.outcome {
        Outcome::Done { result, .. } => result,
        refused @ Outcome::Refused { .. } => panic!("{refused:?}"),
    }
}

pub(crate) fn code(answer: &Answer) -> u64 {
    match &answer.outcome {
        Outcome::Refused { code, .. } => *code,
        done @ Outcome::Done { .. } => panic!("{done:?}"),
    }
}
