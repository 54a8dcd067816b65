//! Majors of Node.js beside the system's, from the package `node` of npm, in the user's cache.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// What cells promise to work with, and the tests try as far as it is there.
const PROMISED: [&str; 3] = ["20", "22", "24"];
/// Longest download of one, in seconds; its 50 MB take some.
const LONGEST: &str = "300";

/// The program of a major; installed when it is not there yet.
pub(crate) fn install(major: &str) -> Result<PathBuf> {
    let folder = folder()?.join(major);
    let program = folder.join("node_modules/node/bin/node");
    if !program.is_file() {
        // What a broken download leaves must not be taken for the program.
        let begun = folder.with_extension("new");
        let _ = std::fs::remove_dir_all(&begun);
        std::fs::create_dir_all(&begun)?;
        let (at, package) = (begun.display().to_string(), format!("node@{major}"));
        let npm = ["npm", "install", "--no-audit", "--no-fund", "--prefix", &at, &package];
        shell::run("timeout", &[&[LONGEST], &npm[..]].concat())?;
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(&begun, &folder)?;
    }
    let version = shell::read(&program.display().to_string(), &["--version"])?;
    ensure!(version.starts_with(&format!("v{major}.")), "npm has installed {version}");
    Ok(program)
}

/// Fetches all that is promised; says which is passed over.
pub(crate) fn install_promised() {
    for major in PROMISED {
        if let Err(error) = install(major) {
            shell::note(&format!("Node.js {major} is passed over: {error:#}"));
        }
    }
}

fn folder() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    Ok(cache.or_else(home).context("no HOME")?.join("proxward/node"))
}
