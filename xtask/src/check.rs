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

/// The launcher as it is shipped: linked statically, because it is started for each cell and the
/// loader would be a third of that; and what a loader leaves behind would stay in each of a cell's
/// processes.
fn launcher() -> Result<()> {
    let words = ["rustc", "--release", "--package", "proxward-cell"];
    shell::run("cargo", &[&words[..], &["--", "-C", "target-feature=+crt-static"]].concat())
}

/// The figures of the promises, measured with the release build.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    shell::run(
        "cargo",
        &["build", "--release", "--package", "proxward", "--package", "proxward-brokerd"],
    )?;
    launcher()?;
    let mut command = vec!["bench", "--quiet", "--package", "e2e", "--bench", "figures", "--"];
    command.extend(arguments.iter().map(String::as_str));
    shell::run("cargo", &command)
}
