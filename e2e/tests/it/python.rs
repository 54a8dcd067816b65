//! A Python environment with the stock clients, made once and kept between runs.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::home::Home;
use crate::program::{self, Running};

/// The clients and their versions.
const REQUIREMENTS: &str = include_str!("clients/requirements.txt");
/// Written last: an environment without it is not complete.
const COMPLETE: &str = "complete";
/// Making the environment, downloads included.
const MAKING: Duration = Duration::from_secs(600);

/// A virtual environment that holds [`REQUIREMENTS`].
pub(crate) struct Python {
    dir: PathBuf,
}

impl Python {
    /// The environment of these requirements and this Python, made when it is not there yet.
    pub(crate) fn open() -> Result<Self> {
        let version = run(Command::new("python3").arg("--version"), Duration::from_secs(60))?;
        let mut hasher = DefaultHasher::new();
        (REQUIREMENTS, version).hash(&mut hasher);
        let target = program::profile_dir()?;
        let target = target.parent().context("the test lies outside of a target directory")?;
        let root = target.join("e2e");
        let dir = root.join(format!("venv-{:016x}", hasher.finish()));
        fs::create_dir_all(&root)?;
        // Tests run in processes of their own: the first one makes it, the others wait here.
        let lock = File::create(dir.with_extension("lock"))?;
        lock.lock()?;
        if !dir.join(COMPLETE).exists() {
            make(&dir)?;
        }
        Ok(Self { dir })
    }

    /// A program of the environment, `python3` or `pve_exporter`.
    pub(crate) fn command(&self, home: &Home, program: &str) -> Command {
        let mut command = home.command(self.dir.join("bin").join(program));
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
        command
    }
}

fn make(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(dir), MAKING)
        .context("python3 -m venv does not work; on Debian: apt install python3-venv")?;
    let requirements = dir.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let mut install = Command::new(dir.join("bin/python3"));
    install.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    // No package may run its own code or a compiler to be installed.
    install.args(["--only-binary", ":all:", "--requirement"]).arg(requirements);
    run(&mut install, MAKING).context(
        "the stock clients can not be installed; pip needs its package index (or PIP_INDEX_URL, PIP_FIND_LINKS)",
    )?;
    fs::write(dir.join(COMPLETE), "")?;
    Ok(())
}

/// In the caller's own environment, where a proxy or an index may be set.
fn run(command: &mut Command, patience: Duration) -> Result<String> {
    let mut running = Running::start(command)?;
    running.say("")?;
    let ended = running.wait(patience)?;
    if ended.code != Some(0) {
        bail!("{ended}");
    }
    Ok(ended.stdout)
}
