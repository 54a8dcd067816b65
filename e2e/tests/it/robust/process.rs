//! A gate as a process of its own, in front of whatever a test names.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use telemetry::Clock;
use tls::Authority;

use crate::home::Home;
use crate::program::{END, Ended, Running};

/// The files of a gate, which can be started from them again and again.
pub(crate) struct Files {
    config: PathBuf,
    /// The authority of its certificate.
    pub(crate) authority: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// A gate that runs.
pub(crate) struct Process {
    pub(crate) running: Running,
}

impl Files {
    /// `lines` are further lines of `[gate]` and its sections.
    pub(crate) fn write(home: &Home, upstream: &str, lines: &str) -> Result<Self> {
        let unix = Clock::system().unix();
        let authority = Authority::generate("e2e", unix)?;
        let (cert, key) = (home.scratch("gate.pem"), home.scratch("gate.key"));
        authority.issue(&["127.0.0.1"], unix)?.write(&cert, &key)?;
        let address = free_address()?;
        let config = format!(
            "[gate]\nlisten = [\"{address}\"]\nupstream = \"{upstream}\"\ncert = \"{}\"\n\
             key = \"{}\"\nstate = \"{}\"\naccess_log = \"off\"\n{lines}\n",
            cert.display(),
            key.display(),
            home.scratch("gate-state").display(),
        );
        let config = home.private("gate.toml", &config)?;
        let authority = authority.certificate_pem().to_owned();
        Ok(Self { config, authority, address })
    }

    pub(crate) fn start(&self, home: &Home) -> Result<Process> {
        self.start_by(home.proxward(&[])?)
    }

    /// By a command that runs the program with the arguments it is given.
    pub(crate) fn start_by(&self, mut command: Command) -> Result<Process> {
        command.args(["gate", "--config"]).arg(&self.config);
        let mut running = Running::start(&mut command)?;
        running.until("the gate's ready line", |gate| {
            gate.stderr().contains("gate: ready on").then_some(())
        })?;
        Ok(Process { running })
    }
}

impl Process {
    /// Memory of its own in bytes: what no file backs.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).context("RssAnon")?;
        Ok(kilobytes.trim().parse::<u64>()? * 1024)
    }

    pub(crate) fn end(self, signal: &str) -> Result<Ended> {
        self.running.signal(signal)?;
        self.running.wait(END)
    }
}

/// An address that was free a moment ago, for what is started twice.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
