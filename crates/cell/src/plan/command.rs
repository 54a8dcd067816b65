//! The command: found outside by the operator's words, with everything it needs to start.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::elf::{self, Wanted};
use super::files::{Directory, Files};
use super::{PlanError, Planned as _};
use crate::blueprint::Kind;
use crate::layer::Layer;
use crate::limits::{ARGUMENT_BYTES, COMMAND_FILES, INTERPRETER_LINE, INTERPRETERS};

/// A command that can be started in a cell.
#[derive(Debug)]
pub(crate) struct Command {
    /// Path of the executable inside.
    pub(crate) executable: String,
    /// Its arguments, the first its name.
    pub(crate) arguments: Vec<String>,
}

/// Where programs are when only a name is given.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"];
/// Where libraries are.
const LIBRARY_FOLDERS: [&str; 7] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
];
/// Paths that may show in a cell because every system has them.
const SYSTEM: [&str; 6] = ["/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/"];

/// Finds the command, and adds its files to those of the cell.
pub(crate) fn resolve(
    words: &[String],
    directory: &Directory,
    search: &[PathBuf],
    files: &mut Files,
) -> Result<Command, PlanError> {
    let wrong = |what: &str| Err(PlanError::new(Layer::Plan, what));
    let Some((name, rest)) = words.split_first() else { return wrong("no command was given") };
    if words.iter().map(|word| word.len() + 1).sum::<usize>() > ARGUMENT_BYTES {
        return wrong("the command's arguments are longer than 64 KiB");
    }
    let mut path = find(name, directory, search)?;
    let mut arguments = vec![name.clone()];
    arguments.extend_from_slice(rest);
    for _ in 0..INTERPRETERS {
        let Some(line) = interpreter(&path)? else {
            let executable = add_program(&path, directory, files)?;
            return Ok(Command { executable, arguments });
        };
        let script = match directory.inside(&path) {
            Some(inside) => inside,
            None => {
                let target = shown(&path);
                files.add(&path, &target, Kind::Data)?;
                target
            }
        };
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut program = words.next().unwrap_or_default();
        let mut option: Option<String> = line
            .split_once(char::is_whitespace)
            .map(|(_, option)| option.trim().to_owned())
            .filter(|option| !option.is_empty());
        if program.ends_with("/env") {
            // `env` would be a second program; what it would start is started instead.
            program = option.take().unwrap_or_default();
        }
        if let Some(first) = arguments.first_mut() {
            *first = script;
        }
        if let Some(option) = option {
            arguments.insert(0, option);
        }
        arguments.insert(0, program.clone());
        path = find(&program, directory, search)?;
    }
    wrong("the command is a script of a script of a script")
}

/// The file that a command's first word means, when it is not one of the directory's own.
pub(crate) fn find_program(name: &str, directory: &Path, search: &[PathBuf]) -> Option<PathBuf> {
    let found = look(name, search)?;
    (!found.starts_with(directory)).then_some(found)
}

/// A name is searched for; a path is the operator's own, or one in the directory.
fn find(name: &str, directory: &Directory, search: &[PathBuf]) -> Result<PathBuf, PlanError> {
    let within = || {
        let within = name.strip_prefix("/cell/").unwrap_or(name).trim_start_matches("./");
        usable(&directory.path().join(within)).filter(|_| name.contains('/'))
    };
    look(name, search).or_else(within).ok_or_else(|| {
        PlanError::new(
            Layer::Plan,
            format_args!("{name}: no such executable file outside the cell"),
        )
    })
}

/// A program by name in these folders, and where programs are.
#[must_use]
pub fn find_in(search: &[PathBuf], name: &str) -> Option<PathBuf> {
    look(name, search)
}

fn look(name: &str, search: &[PathBuf]) -> Option<PathBuf> {
    if name.contains('/') {
        return usable(Path::new(name));
    }
    let fixed = PROGRAM_FOLDERS.iter().map(PathBuf::from);
    search.iter().cloned().chain(fixed).find_map(|folder| usable(&folder.join(name)))
}

/// Itself, without links, when it is a file that somebody may execute.
fn usable(path: &Path) -> Option<PathBuf> {
    let found = path.metadata().ok()?;
    let executable = found.is_file() && found.permissions().mode() & 0o111 != 0;
    executable.then(|| path.canonicalize().ok())?
}

/// The rest of a `#!` line.
fn interpreter(path: &Path) -> Result<Option<String>, PlanError> {
    let mut head = Vec::new();
    let file = File::open(path).planned(Layer::Plan, format_args!("read {}", path.display()))?;
    file.take(INTERPRETER_LINE as u64)
        .read_to_end(&mut head)
        .planned(Layer::Plan, format_args!("read {}", path.display()))?;
    let Some(line) = head.strip_prefix(b"#!") else { return Ok(None) };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(line).trim().to_owned()))
}

/// The executable, its loader and its libraries. Returns the executable's path inside.
fn add_program(path: &Path, directory: &Directory, files: &mut Files) -> Result<String, PlanError> {
    let wanted = read(path)?;
    let target = if directory.inside(path).is_some() || !is_system(path) {
        shown(path)
    } else {
        path.display().to_string()
    };
    files.add(path, &target, Kind::Program)?;
    let Some(loader) = wanted.interpreter.clone() else { return Ok(target) };
    files.add(&canonical(Path::new(&loader))?, &loader, Kind::Program)?;
    let home = if loader.contains("musl") { "/lib" } else { "/lib/x86_64-linux-gnu" };
    let loader_name =
        Path::new(&loader).file_name().map(|name| name.to_string_lossy().into_owned());
    let mut open = VecDeque::from([(path.to_owned(), wanted)]);
    let mut seen: Vec<String> = loader_name.into_iter().collect();
    while let Some((user, wanted)) = open.pop_front() {
        for name in &wanted.needed {
            if seen.contains(name) {
                continue;
            }
            if seen.len() >= COMMAND_FILES {
                return Err(PlanError::new(Layer::Plan, "the command has too many libraries"));
            }
            seen.push(name.clone());
            let found = library(name, &user, &wanted.paths).ok_or_else(|| {
                let user = user.display();
                PlanError::new(Layer::Plan, format_args!("{user} needs {name}, which is not found"))
            })?;
            let target = if name.contains('/') { name.clone() } else { format!("{home}/{name}") };
            files.add(&found, &target, Kind::Library)?;
            open.push_back((found.clone(), read(&found)?));
        }
    }
    Ok(target)
}

fn read(path: &Path) -> Result<Wanted, PlanError> {
    let file = File::open(path).planned(Layer::Plan, format_args!("read {}", path.display()))?;
    elf::wanted(&file).ok_or_else(|| {
        let what = format_args!("{} is no program for 64-bit x86", path.display());
        PlanError::new(Layer::Plan, what)
    })
}

fn library(name: &str, user: &Path, paths: &[String]) -> Option<PathBuf> {
    if name.contains('/') {
        return Path::new(name).canonicalize().ok();
    }
    let origin = user.parent().unwrap_or(Path::new("/")).display().to_string();
    let own = paths
        .iter()
        .map(|path| PathBuf::from(path.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)));
    let fixed = LIBRARY_FOLDERS.iter().map(PathBuf::from);
    own.chain(fixed).find_map(|folder| folder.join(name).canonicalize().ok())
}

fn canonical(path: &Path) -> Result<PathBuf, PlanError> {
    path.canonicalize().planned(Layer::Plan, format_args!("find {}", path.display()))
}

fn is_system(path: &Path) -> bool {
    SYSTEM.iter().any(|start| path.starts_with(start))
}

/// A path that tells nothing about the machine.
fn shown(path: &Path) -> String {
    if is_system(path) {
        return path.display().to_string();
    }
    let name =
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    format!("/bin/{name}")
}
