//! The commands of this repository. `cargo xtask` alone lists them.

mod calls;
mod check;
mod floors;
mod fuzz;
mod nodes;
mod schema;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// Name, what it does, how.
type Command = (&'static str, &'static str, fn(&[String]) -> Result<()>);

const COMMANDS: [Command; 9] = [
    ("ci", "everything that is checked before a change lands", check::ci),
    ("test", "installs what the tests need and lacks, then runs all of them", test::run),
    ("golden", "replays the recorded exchanges of a genuine server [--judge FILE]", test::golden),
    ("floors", "dependency floors, package budgets, banned packages", floors::run),
    ("tidy", "file lengths, documents, words that do not belong here", tidy::run),
    ("schema", "API document to facts: APIDOC.json OUT", schema::run),
    ("calls", "traces the system calls of Node.js [MAJOR=PROGRAM]", calls::run),
    ("fuzz", "bytes from outside against the parsers [TARGET] [SECONDS]", fuzz::run),
    ("bench", "figures of the promises beside their bars [NAME]", check::bench),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::note(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        for (name, what, _) in COMMANDS {
            shell::say(&format!("cargo xtask {name:<8} {what}"));
        }
        return Ok(());
    };
    match COMMANDS.iter().find(|(known, _, _)| known == name) {
        Some((_, _, run)) => run(rest),
        None => bail!("no command {name:?}; `cargo xtask` lists them"),
    }
}
