//! What a policy lets a cell execute beside its command: blessed add-ons, programs of a build.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::range::{Range, has_node, modes, other_majors};
use crate::program::finish;

#[test]
fn a_blessed_add_on_is_loaded_and_no_other() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    range.add_on()?;
    let add_on = range.dir.join("addon.node");
    fs::copy(&add_on, range.dir.join("other.node"))?;
    let sum = finish(range.home.command("sha256sum").arg(&add_on), "")?.success()?.stdout;
    let hash = sum.split(' ').next().context("a hash")?.to_owned();
    let policy = |hash: &str| {
        let text = format!("addons = [{{ path = \"addon.node\", sha256 = \"{hash}\" }}]\n");
        range.home.private("policy.toml", &text)
    };
    let load = "for (const name of ['addon', 'other']) { \
        try { process.dlopen({ exports: {} }, `/cell/${name}.node`); console.log('loaded'); } \
        catch (error) { console.log(error.code); } } \
        try { fs.appendFileSync('addon.node', 'x'); console.log('written'); } \
        catch (error) { console.log(error.code); } \
        try { fs.renameSync('other.node', 'addon.node'); console.log('replaced'); } \
        catch (error) { console.log(error.code); }";
    for mode in modes()? {
        let without = range.run(mode, &[], &["node", "-e", load])?.success()?;
        let refused = "ERR_DLOPEN_FAILED\nERR_DLOPEN_FAILED\n";
        ensure!(without.stdout.starts_with(refused), "{mode}: {without}");
        range.add_on()?;
        fs::copy(&add_on, range.dir.join("other.node"))?;

        let blessed = policy(&hash)?.display().to_string();
        let ended = range.run(mode, &["--policy", &blessed], &["node", "-e", load])?.success()?;
        let lines: Vec<&str> = ended.stdout.lines().collect();
        ensure!(lines[..2] == ["loaded", "ERR_DLOPEN_FAILED"], "{mode}: {ended}");
        ensure!(!ended.stdout.contains("written"), "{mode}: {ended}");
        ensure!(!ended.stdout.contains("replaced"), "{mode}: {ended}");

        let other = policy(&"0".repeat(64))?.display().to_string();
        let ended = range.run(mode, &["--policy", &other], &["node", "-e", load])?;
        ensure!(ended.code == Some(125) && ended.stderr.contains(&hash), "{mode}: {ended}");
    }
    Ok(())
}

/// What a cell keeps working, in this machine's Node.js and in the other majors.
#[test]
fn the_smoke_program_passes_in_every_major() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    fs::copy(super::range::source("smoke.js"), range.dir.join("smoke.js"))?;
    let mut programs = vec!["node".to_owned()];
    programs.extend(other_majors());
    for mode in modes()? {
        for program in &programs {
            let ended = range.run(mode, &[], &[program.as_str(), "smoke.js"])?.success()?;
            ensure!(ended.stdout == "smoke passed\n", "{mode}, {program}: {ended}");
        }
    }
    Ok(())
}

/// A shell that starts what its policy names, and Node.js whose child is one of these.
#[test]
fn a_build_starts_the_programs_it_was_given() -> Result<()> {
    let range = Range::new()?;
    let text = "profile = \"build\"\nprograms = [\"/usr/bin/id\", \"/usr/bin/env\"]\n";
    let policy = range.home.private("policy.toml", text)?.display().to_string();
    for mode in modes()? {
        let options = ["--policy", policy.as_str()];
        let script = "/usr/bin/id -u && env A=b /usr/bin/id -g && ! /usr/bin/uname";
        let ended = range.run(mode, &options, &["sh", "-c", script])?.success()?;
        ensure!(ended.stdout.lines().count() == 2, "{mode}: {ended}");
        let ended = range.run(mode, &["--profile", "build"], &["sh", "-c", "/usr/bin/id -u"])?;
        ensure!(ended.code != Some(0), "{mode}: a program that was not given: {ended}");
        if has_node() {
            let script =
                "console.log(require('child_process').execFileSync('/usr/bin/id', ['-u']) + '')";
            let ended = range.run(mode, &options, &["node", "-e", script])?.success()?;
            ensure!(ended.stdout.trim().parse::<u32>().is_ok(), "{mode}: {ended}");
        }
    }
    let tenant = range.home.private("tenant.toml", "programs = [\"/usr/bin/id\"]\n")?;
    let tenant = tenant.display().to_string();
    let ended = range.run("auto", &["--policy", &tenant], &["true"])?;
    ensure!(ended.code == Some(2) && ended.stderr.contains("build"), "{ended}");
    Ok(())
}
