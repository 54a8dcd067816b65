//! Running programs and speaking to the terminal.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Says what runs, runs it in the workspace, fails when it fails.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    run_with(program, arguments, &[])
}

/// As [`run`], with additional environment variables.
pub(crate) fn run_with(
    program: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<()> {
    note(&format!("$ {program} {}", arguments.join(" ")));
    let mut command = command(program, arguments);
    command.envs(variables.iter().copied());
    let status = command.status().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("`{program} {}` failed ({status})", arguments.join(" "));
    }
    Ok(())
}

/// The output of a program that must succeed.
pub(crate) fn read(program: &str, arguments: &[&str]) -> Result<String> {
    let Output { status, stdout, stderr } =
        command(program, arguments).output().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("`{program} {}`: {}", arguments.join(" "), String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Whether a program runs and succeeds; its output is thrown away.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = command(program, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// A result.
#[expect(clippy::print_stdout, reason = "results of a command go to stdout")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Progress.
#[expect(clippy::print_stderr, reason = "progress goes to stderr")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
