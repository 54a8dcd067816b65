//! The surroundings of a test: every directory a program might write to by itself lies in one
//! that is removed at the end, and nothing of the caller's environment gets in.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::program;

/// Variable and directory below the home.
const PLACES: [(&str, &str); 6] = [
    ("HOME", "home"),
    ("TMPDIR", "tmp"),
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_RUNTIME_DIR", "run"),
    ("XDG_STATE_HOME", "state"),
];

/// Places for the programs of one test, and a scratch directory for the test itself.
pub(crate) struct Home {
    places: TempDir,
    scratch: TempDir,
}

impl Home {
    pub(crate) fn new() -> Result<Self> {
        let home = Self { places: tempfile::tempdir()?, scratch: tempfile::tempdir()? };
        // A gate that is started as root becomes somebody else, who has to get to its state.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(home.scratch.path(), open)?;
        for (_, name) in PLACES {
            std::fs::create_dir(home.places.path().join(name))?;
        }
        Ok(home)
    }

    /// A program in these surroundings.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("LC_ALL", "C.UTF-8").current_dir(self.scratch.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (variable, name) in PLACES {
            command.env(variable, self.places.path().join(name));
        }
        command
    }

    /// The program under test with `arguments`.
    pub(crate) fn proxward(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command(program::proxward()?);
        command.args(arguments);
        Ok(command)
    }

    /// A file or directory of the test's own.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes a file of the test's own, readable for its owner alone.
    pub(crate) fn private(&self, name: &str, text: &str) -> Result<PathBuf> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.scratch(name);
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        file?.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// Everything that programs have left in the places, the places themselves excepted.
    pub(crate) fn left(&self) -> Result<Vec<PathBuf>> {
        let below = below(self.places.path())?;
        let places = PLACES.map(|(_, name)| self.places.path().join(name));
        Ok(below.into_iter().filter(|path| !places.contains(path)).collect())
    }
}

/// All files and directories below `dir`; symbolic links are not followed.
pub(crate) fn below(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut open, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
