//! `proxward cell serve`.

use std::path::{Path, PathBuf};

use cell::{Policy, PoolOptions, Wanted};
use serde_json::json;

use super::arguments::Serve;
use super::run::{launcher, not_built, read, search};
use crate::cli::Format;
use crate::exit::{Exit, Stop};
use crate::output::{note, result};
use crate::place::read_text;

/// The variable that names another place for all three commands.
const VARIABLE: &str = "PROXWARD_CELL_SOCKET";
/// Where root's server listens: in the directory of what belongs to cells.
const ROOTS: &str = "/run/proxward-cells/pool";
/// Where another user's does, below the directory that is the user's alone.
const USERS: &str = "proxward-cells.socket";

pub(crate) fn run(arguments: &Serve) -> Result<(), Stop> {
    let socket = socket(arguments.socket.as_deref()).ok_or_else(|| {
        Stop::say(Exit::Usage, "say where to listen: --socket PATH; XDG_RUNTIME_DIR is not set")
    })?;
    let program = cell::find_in(&search(), "node")
        .ok_or_else(|| Stop::say(Exit::Usage, "node is not in PATH; slots are for Node.js"))?;
    let policies = arguments.config.as_deref().map(policies).transpose()?.unwrap_or_default();
    let wanted = policies.into_iter().map(|policy| Wanted { policy, program: program.clone() });
    let own = std::env::current_exe().map_err(Stop::usage)?;
    let ready = || match arguments.format {
        Format::Text => note(&format!("proxward: cell: slots at {}", socket.display())),
        Format::Json => result(&json!({ "event": "ready", "socket": socket }).to_string()),
    };
    cell::serve(PoolOptions {
        socket: socket.clone(),
        slots: arguments.pool.into(),
        wanted: wanted.collect(),
        starter: (own, vec!["cell".to_owned(), "slot".to_owned()]),
        stop: cell::stop_signals().map_err(Stop::usage)?,
        ready: &ready,
        note: &|line| note(&format!("proxward: cell: {line}")),
    })
    .map_err(not_built)
}

/// One slot, started by the server, which is its standard input.
pub(crate) fn slot() -> Result<(), Stop> {
    match cell::become_slot(search(), launcher()?) {
        Err(error) => Err(not_built(error)),
    }
}

/// The socket that was named, or that of this user's server.
pub(super) fn socket(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(path.to_owned());
    }
    if let Some(path) = std::env::var_os(VARIABLE) {
        return Some(path.into());
    }
    if cell::is_root() {
        return Some(ROOTS.into());
    }
    Some(PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join(USERS))
}

/// Every policy of a directory, or of the `[cells.NAME]` tables of a file.
fn policies(path: &Path) -> Result<Vec<Policy>, Stop> {
    if path.is_dir() {
        let mut files: Vec<PathBuf> = std::fs::read_dir(path)
            .map_err(|error| crate::exit::file_fault(path, &error))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "toml"))
            .collect();
        files.sort();
        return files.iter().map(|file| with_directory(read(file)?, &file.display())).collect();
    }
    let text = read_text(path, cell::POLICY_BYTES)?;
    let all = Policy::all_from_toml(&text)
        .map_err(|error| Stop::say(Exit::Usage, format_args!("{}: {error}", path.display())))?;
    let named =
        |(name, policy)| with_directory(policy, &format!("{}: cells.{name}", path.display()));
    all.into_iter().map(named).collect()
}

fn with_directory(policy: Policy, place: &dyn std::fmt::Display) -> Result<Policy, Stop> {
    if policy.dir.is_none() {
        return Err(Stop::say(Exit::Usage, format_args!("{place}: a slot needs a 'dir'")));
    }
    Ok(policy)
}
