//! Programs as the tests run them: in a process group of their own, bounded in time, gone when
//! dropped.

use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Anything that has not happened after this long will not: an ordinary step takes
/// milliseconds, a refused login three seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Time to end after being asked to.
pub(crate) const END: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The program under test: `PROXWARD_BIN`, or the one built beside this test.
pub(crate) fn proxward() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PROXWARD_BIN") {
        return Ok(path.into());
    }
    let path = profile_dir()?.join("proxward");
    if !path.is_file() {
        bail!(
            "the program is not built; `cargo build -p proxward` first, or name it in PROXWARD_BIN"
        );
    }
    Ok(path)
}

/// `target/<profile>`: the test's own executable lies in its `deps`.
pub(crate) fn profile_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent);
    Ok(profile.context("the test executable lies outside of a target directory")?.to_owned())
}

/// Says that a test is passed over, and why.
#[expect(clippy::print_stderr, reason = "what a test run shows")]
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// Looks until there is an answer; `None` when there was none in time.
pub(crate) fn until<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = look();
        if found.is_some() || begun.elapsed() > patience {
            return found;
        }
        thread::sleep(PAUSE);
    }
}

/// How a program ended and all it said.
#[derive(Debug)]
pub(crate) struct Ended {
    name: String,
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The output of a program that was to succeed.
    pub(crate) fn success(self) -> Result<Self> {
        if self.code != Some(0) {
            bail!("expected success\n{self}");
        }
        Ok(self)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, code, signal, stdout, stderr } = self;
        writeln!(f, "{name}: exit code {code:?}, signal {signal:?}")?;
        write!(f, "--- its stdout\n{stdout}\n--- its stderr\n{stderr}\n---")
    }
}

/// Runs a program to its end, with `input` on its stdin.
pub(crate) fn finish(command: &mut Command, input: &str) -> Result<Ended> {
    let mut running = Running::start(command)?;
    running.say(input)?;
    running.wait(PATIENCE)
}

/// A running program. Dropping it ends its whole process group.
pub(crate) struct Running {
    name: String,
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let (mut running, stdout) = Self::spawn(command)?;
        running.stdout = Collected::new(stdout);
        Ok(running)
    }

    /// The same, with its stdin and stdout for a conversation.
    pub(crate) fn start_talking(command: &mut Command) -> Result<(Self, ChildStdin, ChildStdout)> {
        let (mut running, stdout) = Self::spawn(command)?;
        let stdin = running.child.stdin.take().context("its stdin")?;
        Ok((running, stdin, stdout.context("its stdout")?))
    }

    fn spawn(command: &mut Command) -> Result<(Self, Option<ChildStdout>)> {
        let program = Path::new(command.get_program());
        let name = program.file_name().unwrap_or_else(|| OsStr::new("?")).display().to_string();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).spawn();
        let mut child = child.with_context(|| format!("starting {name}"))?;
        let (stdout, stderr) = (child.stdout.take(), Collected::new(child.stderr.take()));
        Ok((Self { name, child, stdout: Collected::new(None::<ChildStdout>), stderr }, stdout))
    }

    /// Process id, and the id of the process group.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes `input` to stdin and closes it.
    pub(crate) fn say(&mut self, input: &str) -> Result<()> {
        let Some(mut stdin) = self.child.stdin.take() else { return Ok(()) };
        match stdin.write_all(input.as_bytes()) {
            // It ended without reading; its own words tell why.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.with_context(|| format!("writing to {}", self.name)),
        }
    }

    /// All it wrote to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// All it wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Looks at the running program until there is an answer; fails when it ends before.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T> {
        let mut over = false;
        let answer = until(PATIENCE, || {
            // In this order: what it wrote just before its end counts.
            let ended = !matches!(self.child.try_wait(), Ok(None));
            let found = look(self);
            over = ended && found.is_none();
            if over { Some(None) } else { found.map(Some) }
        });
        if let Some(Some(found)) = answer {
            return Ok(found);
        }
        let how = if over { "ended before" } else { "did not come to" };
        let (stdout, stderr) = (self.stdout(), self.stderr());
        bail!("{} {how}: {what}\n--- its stdout\n{stdout}\n--- its stderr\n{stderr}", self.name)
    }

    /// Sends a signal (`INT`, `TERM`) to the program alone, not to its group.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        send(signal, &self.pid().to_string())
    }

    /// Waits for the end and for the last of its output.
    pub(crate) fn wait(mut self, patience: Duration) -> Result<Ended> {
        let status = until(patience, || self.child.try_wait().transpose());
        let Some(status) = status else {
            let (stdout, stderr) = (self.stdout(), self.stderr());
            bail!("{} has not ended\n--- its stdout\n{stdout}\n--- its stderr\n{stderr}", self.name)
        };
        let status = status?;
        if until(END, || (self.stdout.ended() && self.stderr.ended()).then_some(())).is_none() {
            bail!("{} ended, but a process it started still holds its output", self.name);
        }
        Ok(Ended {
            name: self.name.clone(),
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its children may outlive it, which is why the group is signalled in any case. The id
        // can not belong to others: either the child is not reaped yet or its group is empty.
        let _ = send("KILL", &format!("-{}", self.pid()));
        let _ = self.child.wait();
    }
}

/// The standard library has no call for it, and every shell has the command built in.
pub(crate) fn send(signal: &str, to: &str) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", "kill -s \"$1\" -- \"$2\"", "sh", signal, to]);
    let sent = command.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
    if !sent.success() {
        bail!("signal {signal} could not be sent to {to}");
    }
    Ok(())
}

/// What arrives on a pipe, read by a thread so that the writer never waits.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn new(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut piece = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                let read = piece.get(..count).unwrap_or_default();
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(read);
            }
        });
        Self { bytes, reader }
    }

    fn ended(&self) -> bool {
        self.reader.is_finished()
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
