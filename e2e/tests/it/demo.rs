//! `proxward demo`, from its ready line to a clean end.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::home::{Home, below};
use crate::processes;
use crate::program::{END, Ended, Running, until};

/// The line that `--format json` prints when everything answers.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ready {
    event: String,
    /// URL of the gate.
    pub(crate) gate: String,
    /// URL of the mock behind it.
    pub(crate) mock: String,
    /// The authority that signed both certificates.
    pub(crate) ca: PathBuf,
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
}

impl Ready {
    /// `127.0.0.1:PORT` of the gate.
    pub(crate) fn address(&self) -> Result<&str> {
        address(&self.gate)
    }

    /// The password of [`Ready::user`].
    pub(crate) fn password(&self) -> Result<String> {
        let text = std::fs::read_to_string(&self.password_file).context("the password file")?;
        Ok(text.trim_end().to_owned())
    }

    /// The text of the authority's file.
    pub(crate) fn ca_text(&self) -> Result<&str> {
        self.ca.to_str().context("the path of the authority's file is not UTF-8")
    }
}

/// A running demo on ports of its own.
pub(crate) struct Demo {
    running: Running,
    pub(crate) ready: Ready,
    /// Where it keeps its files when it was told to.
    state: Option<PathBuf>,
}

impl Demo {
    /// The three-node cluster, keeping nothing.
    pub(crate) fn start(home: &Home) -> Result<Self> {
        Self::start_with(&mut home.proxward(&ARGUMENTS)?, None)
    }

    /// A demo that keeps its files in `state`, with whatever `adapt` adds to the command.
    pub(crate) fn start_in(
        home: &Home,
        state: PathBuf,
        adapt: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let mut command = home.proxward(&ARGUMENTS)?;
        command.arg("--state").arg(&state);
        adapt(&mut command);
        Self::start_with(&mut command, Some(state))
    }

    fn start_with(command: &mut Command, state: Option<PathBuf>) -> Result<Self> {
        let mut running = Running::start(command)?;
        let line = running.until("its ready line", |running| {
            let (line, _) = running.stdout().split_once('\n').map(own)?;
            Some(line)
        })?;
        let ready: Ready =
            serde_json::from_str(&line).with_context(|| format!("the ready line: {line}"))?;
        ensure!(ready.event == "ready", "the first line is not the ready line: {line}");
        Ok(Self { running, ready, state })
    }

    /// Process group of everything the demo runs.
    pub(crate) fn group(&self) -> u32 {
        self.running.pid()
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(self) -> Result<()> {
        self.running.signal("KILL")?;
        self.running.wait(END).map(drop)
    }

    /// Ends it by a signal (`INT`, `TERM`) and sees that nothing is left.
    pub(crate) fn end(self, home: &Home, signal: &str) -> Result<Ended> {
        let Self { running, ready, state } = self;
        let group = running.pid();
        running.signal(signal)?;
        let ended = running.wait(END)?;
        ensure!(ended.code == Some(0), "after SIG{signal} it ends with code 0\n{ended}");
        let gone = until(END, || processes::of_group(group).ok()?.is_empty().then_some(()));
        ensure!(gone.is_some(), "the demo left a process behind");
        for url in [&ready.gate, &ready.mock] {
            ensure!(TcpStream::connect(address(url)?).is_err(), "{url} still answers");
        }
        let left = home.left()?;
        ensure!(left.is_empty(), "the demo left behind: {left:?}");
        if let Some(state) = state {
            let unfinished: Vec<_> = below(&state)?.into_iter().filter(is_temporary).collect();
            ensure!(unfinished.is_empty(), "unfinished files in the state: {unfinished:?}");
        }
        Ok(ended)
    }
}

const ARGUMENTS: [&str; 7] =
    ["demo", "--listen", "127.0.0.1:0", "--seed", "cluster", "--format", "json"];

fn own((line, rest): (&str, &str)) -> (String, String) {
    (line.to_owned(), rest.to_owned())
}

fn address(url: &str) -> Result<&str> {
    match url.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() => Ok(rest.trim_end_matches('/')),
        _ => bail!("{url}: not the URL of a TLS server"),
    }
}

/// Names that atomic writers give to files before they are complete.
#[expect(clippy::ptr_arg, reason = "used as the predicate of a filter over paths")]
fn is_temporary(path: &PathBuf) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name.ends_with('~') || name.contains(".tmp") || name.contains(".new")
}
