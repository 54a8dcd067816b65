//! One program from its start to its end.

use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// What to run, and within what.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// The program by its whole path: nothing is searched for.
    pub program: &'a Path,
    /// Its words, the program's own name not among them.
    pub arguments: &'a [String],
    /// All of its environment.
    pub environment: &'a [(&'a str, &'a str)],
    /// Most bytes of its output, standard error included.
    pub output_bytes: usize,
    /// Longest time.
    pub time: Duration,
}

/// A program that has ended by itself.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub took: Duration,
}

/// Why there is no result. The program and its group have ended in each case.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started.
    #[error("{}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its time was over.
    #[error("{}: ended after {time:?}, its longest time", program.display())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// Its longest time.
        time: Duration,
        /// What it had complained about until then.
        stderr: Vec<u8>,
    },
    /// It wrote too much.
    #[error("{}: ended, as it wrote more than {limit} bytes", program.display())]
    TooLarge {
        /// The program.
        program: PathBuf,
        /// Most bytes of its output.
        limit: usize,
    },
    /// The system.
    #[error("{}: {source}", program.display())]
    Io {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs a program to its end.
///
/// # Errors
/// [`RunError`]. A program that ends with an error has [`Finished`].
pub fn run(spec: &Spec<'_>) -> Result<Finished, RunError> {
    let began = Instant::now();
    let mut command = Command::new(spec.program);
    command
        .args(spec.arguments)
        .env_clear()
        .envs(spec.environment.iter().copied())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let start = |source| RunError::Start { program: spec.program.to_owned(), source };
    let child = command.spawn().map_err(start)?;
    let mut group = Group { child, ended: None };
    let outcome = watch(&mut group, spec, began + spec.time);
    group.end();
    let io = |source| RunError::Io { program: spec.program.to_owned(), source };
    let (stdout, stderr) = outcome?;
    let status = group.ended.ok_or_else(|| io(io::ErrorKind::Other.into()))?;
    Ok(Finished { status, stdout, stderr, took: began.elapsed() })
}

/// A started program; its group is killed when this is dropped, whatever happened.
struct Group {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Group {
    fn end(&mut self) {
        let leader = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // The number is still the child's: it has not been waited for before.
        if let Some(leader) = leader.filter(|_| self.ended.is_none()) {
            let _ = kill_process_group(leader, Signal::KILL);
        }
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

type Output = (Vec<u8>, Vec<u8>);

/// Reads until the program has ended.
fn watch(group: &mut Group, spec: &Spec<'_>, until: Instant) -> Result<Output, RunError> {
    let io = |source: io::Error| RunError::Io { program: spec.program.to_owned(), source };
    let mut out = Pipe::new(group.child.stdout.take().map(OwnedFd::from)).map_err(io)?;
    let mut err = Pipe::new(group.child.stderr.take().map(OwnedFd::from)).map_err(io)?;
    let pid = i32::try_from(group.child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io(io::ErrorKind::Other.into()))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| io(error.into()))?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let ended = {
            let mut fds = vec![PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
            let pipes = [&out, &err].into_iter().filter_map(|pipe| pipe.file.as_ref());
            fds.extend(pipes.map(|file| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)));
            let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left)))
                .map_err(|error| io(error.into()))?;
            fds.first().is_some_and(|fd| !fd.revents().is_empty())
        };
        let room = spec.output_bytes.saturating_sub(out.bytes.len() + err.bytes.len());
        let fits = out.take(room).map_err(io)? && {
            let room = spec.output_bytes.saturating_sub(out.bytes.len() + err.bytes.len());
            err.take(room).map_err(io)?
        };
        if !fits {
            return Err(RunError::TooLarge {
                program: spec.program.to_owned(),
                limit: spec.output_bytes,
            });
        }
        if ended {
            return Ok((out.bytes, err.bytes));
        }
        if until <= Instant::now() {
            let (program, stderr) = (spec.program.to_owned(), err.bytes);
            return Err(RunError::TimedOut { program, time: spec.time, stderr });
        }
    }
}

/// One end of a pipe and what came through.
struct Pipe {
    file: Option<std::fs::File>,
    bytes: Vec<u8>,
}

impl Pipe {
    fn new(end: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(end) = &end {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { file: end.map(std::fs::File::from), bytes: Vec::new() })
    }

    /// Takes what is there. False when it is more than `room`.
    fn take(&mut self, mut room: usize) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        while let Some(file) = &mut self.file {
            match file.read(&mut chunk) {
                Ok(0) => self.file = None,
                Ok(read) if read > room => return Ok(false),
                Ok(read) => {
                    room -= read;
                    self.bytes.extend(chunk.iter().take(read));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Finished {
    /// `exit 3` or `signal 9`, for people.
    #[must_use]
    pub fn how(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "ended".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, output_bytes: usize, millis: u64) -> Result<Finished, RunError> {
        let arguments = ["-c".to_owned(), script.to_owned()];
        run(&Spec {
            program: Path::new("/bin/sh"),
            arguments: &arguments,
            environment: &[("PATH", "/usr/bin:/bin")],
            output_bytes,
            time: Duration::from_millis(millis),
        })
    }

    #[test]
    fn output_and_status_come_back() {
        let done = sh("echo out; echo err >&2; echo $HOME; exit 3", 100, 20_000).unwrap();
        assert_eq!(
            (done.stdout.as_slice(), done.stderr.as_slice()),
            (&b"out\n\n"[..], &b"err\n"[..])
        );
        assert_eq!((done.status.code(), done.how().as_str()), (Some(3), "exit 3"));
        assert!(matches!(sh("kill -9 $$", 0, 20_000).unwrap().how().as_str(), "signal 9"));
        let missing = Spec {
            program: Path::new("/nonexistent"),
            arguments: &[],
            environment: &[],
            output_bytes: 0,
            time: Duration::from_secs(1),
        };
        assert!(matches!(run(&missing), Err(RunError::Start { .. })));
    }

    #[test]
    fn an_endless_program_ends_at_its_cap_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; exec yes", file.display());
        assert!(matches!(
            sh(&script, 10_000, 20_000),
            Err(RunError::TooLarge { limit: 10_000, .. })
        ));
        let pid = std::fs::read_to_string(file).unwrap();
        let status = format!("/proc/{}/stat", pid.trim());
        // Killed, which the kernel does in its own time; somebody else may not have waited for it.
        let ended =
            || std::fs::read_to_string(&status).map_or(true, |state| state.contains(") Z "));
        assert!((0..1000).any(|_| ended() || {
            std::thread::sleep(Duration::from_millis(5));
            false
        }));
    }

    #[test]
    fn a_hanging_program_ends_at_its_time_with_what_it_said() {
        match sh("echo why >&2; sleep 600", 100, 300) {
            Err(RunError::TimedOut { stderr, .. }) => assert_eq!(stderr, b"why\n"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_helper_that_keeps_the_pipe_does_not_hold_up() {
        let done = sh("sleep 600 & echo done", 100, 20_000).unwrap();
        assert_eq!(done.stdout, b"done\n");
    }
}
