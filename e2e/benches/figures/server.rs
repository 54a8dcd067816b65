//! Programs under measurement: started, found ready, ended.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Longest wait for a program to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Clock ticks a second of `/proc/PID/stat` on Linux.
const TICKS: f64 = 100.0;

/// A running server. Ended when dropped.
pub(crate) struct Server {
    child: Child,
    /// From start to ready.
    pub(crate) ready: Duration,
    /// The ready line, null for programs without one.
    pub(crate) line: Value,
}

impl Server {
    /// One of ours: ready when it has printed its ready line.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let mut server = Self { child, ready: started.elapsed(), line: Value::Null };
        server.line = serde_json::from_str(&line)
            .with_context(|| format!("no ready line from {command:?}"))?;
        Ok(server)
    }

    /// A peer: ready when its port accepts a connection.
    pub(crate) fn start_peer(command: &mut Command, port: u16) -> Result<Self> {
        let started = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut server = Self { child, ready: Duration::ZERO, line: Value::Null };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if started.elapsed() > PATIENCE || server.child.try_wait()?.is_some() {
                bail!("{command:?} does not listen on port {port}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        server.ready = started.elapsed();
        Ok(server)
    }

    pub(crate) fn resident_megabytes(&self) -> Result<f64> {
        self.status_megabytes("VmRSS:")
    }

    /// The most it has held so far.
    pub(crate) fn peak_megabytes(&self) -> Result<f64> {
        self.status_megabytes("VmHWM:")
    }

    fn status_megabytes(&self, name: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: f64 = kilobytes.with_context(|| format!("no {name}"))?.trim().parse()?;
        Ok(kilobytes / 1024.0)
    }

    /// Seconds of processor time used so far.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<f64>().ok();
        let (user, system) = (ticks().context("no utime")?, ticks().context("no stime")?);
        Ok((user + system) / TICKS)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // With SIGTERM it tidies up. The standard library can only kill; every shell can send it.
        let id = self.child.id().to_string();
        let _ = Command::new("sh").args(["-c", "kill \"$1\"", "sh", &id]).status();
        let _ = self.child.wait();
    }
}
