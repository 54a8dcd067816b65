//! What is checked before a change lands, and the figures.

use anyhow::Result;

use crate::{floors, shell, test, tidy};

/// Cheapest first, so that a typo does not cost a build.
pub(crate) fn ci(_: &[String]) -> Result<()> {
    shell::run("cargo", &["fmt", "--all", "--check"])?;
    tidy::run(&[])?;
    floors::run(&[])?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    shell::run("cargo", &clippy)?;
    test::run(&[])
}

/// The figures of the promises, measured with the release build.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    shell::run(
        "cargo",
        &[
            "build",
            "--release",
            "--package",
            "proxward",
            "--package",
            "proxward-brokerd",
            "--package",
            "proxward-cell",
        ],
    )?;
    let mut command =
        vec!["run", "--quiet", "--release", "--package", "e2e", "--bin", "bench", "--"];
    command.extend(arguments.iter().map(String::as_str));
    shell::run("cargo", &command)
}
