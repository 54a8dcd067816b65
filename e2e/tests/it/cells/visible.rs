//! What a cell sees: its directory, its command, itself.

use std::fs;

use anyhow::{Result, ensure};

use super::range::{Range, has_node, modes};

#[test]
fn read_only_is_read_only() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        let write = ["sh", "-c", "echo x > /cell/new"];
        range.run(mode, &[], &write)?.success()?;
        ensure!(fs::read_to_string(range.dir.join("new"))? == "x\n", "{mode}: not written");
        fs::remove_file(range.dir.join("new"))?;
        let ended = range.run(mode, &["--read-only"], &write)?;
        ensure!(ended.code != Some(0) && !range.dir.join("new").exists(), "{mode}: {ended}");
        range.run(mode, &["--read-only"], &["sh", "-c", "echo x > $TMPDIR/new"])?.success()?;
    }
    Ok(())
}

/// Also in a directory that only root may enter: what the operator names is what is mounted.
#[test]
fn a_private_directory_is_the_cells_own() -> Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let range = Range::new()?;
    fs::set_permissions(&range.dir, fs::Permissions::from_mode(0o700))?;
    for mode in modes()? {
        range.run(mode, &[], &["sh", "-c", "echo x > made"])?.success()?;
        let owners = (fs::metadata(range.dir.join("made"))?.uid(), fs::metadata(&range.dir)?.uid());
        ensure!(owners.0 == owners.1, "{mode}: {owners:?}");
    }
    Ok(())
}

#[test]
fn scratch_is_empty_and_limited() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        let options = ["--scratch", "1M"];
        let fill =
            "i=0; while [ $i -lt 9000 ]; do echo $i > $TMPDIR/f$i || exit 9; i=$((i+1)); done";
        let full = range.run(mode, &options, &["sh", "-c", fill])?;
        ensure!(full.code == Some(9), "{mode}: too many files: {full}");
        let zeros = "while echo 0123456789012345678901234567890123456789012345678901234567890; do :; done \
            > $TMPDIR/big 2>/dev/null; exit 9";
        let full = range.run(mode, &options, &["sh", "-c", zeros])?;
        ensure!(full.code == Some(9), "{mode}: too many bytes: {full}");
        let look = "for f in $TMPDIR/*; do echo $f; done";
        let seen = range.run(mode, &options, &["sh", "-c", look])?.success()?;
        ensure!(seen.stdout.trim() == "/cell/scratch/*", "{mode}: left over: {}", seen.stdout);
        ensure!(fs::read_dir(range.dir.join("scratch"))?.next().is_none(), "{mode}: on disk");
    }
    Ok(())
}

#[test]
fn the_environment_is_scrubbed() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        let mut cell = range.cell(mode, &["--env", "GIVEN=yes"], &["sh", "-c", "export"])?;
        cell.env("PROBE_SECRET", "canary").env("NODE_OPTIONS", "--require=/nonexistent");
        let seen = crate::program::finish(&mut cell, "")?.success()?.stdout;
        ensure!(!seen.contains("canary") && !seen.contains("NODE_OPTIONS"), "{mode}: {seen}");
        ensure!(seen.contains("GIVEN='yes'") && seen.contains("TMPDIR='/cell/scratch'"), "{seen}");
        let look = "read x < /proc/1/cmdline || read y < /proc/1/environ || exit 9";
        let ended = range.run(mode, &[], &["sh", "-c", look])?;
        ensure!(ended.code == Some(9), "{mode}: process 1 is visible: {ended}");
    }
    Ok(())
}

#[test]
fn only_the_programs_own_libraries_are_there() -> Result<()> {
    let range = Range::new()?;
    let look = "for f in /bin/* /usr/bin/* /lib/x86_64-linux-gnu/* /lib64/* /etc/* /dev/*; do \
        [ -e $f ] && echo $f; done";
    for mode in modes()? {
        let seen = range.run(mode, &[], &["sh", "-c", look])?.success()?.stdout;
        // The folders of programs can not be listed: nothing is seen but what is asked for by name.
        let lines: Vec<&str> = seen
            .lines()
            .filter(|line| !line.starts_with("/etc/") && !line.starts_with("/dev/"))
            .collect();
        ensure!(lines.is_empty(), "{mode}: {lines:?}");
        let by_name = "[ -e /bin/true ] || [ -e /usr/bin/true ] || [ -e /lib/x86_64-linux-gnu/libm.so.6 ] || exit 9";
        let ended = range.run(mode, &[], &["sh", "-c", by_name])?;
        ensure!(ended.code == Some(9), "{mode}: {ended}");
    }
    Ok(())
}

#[test]
fn without_proc_nothing_is_told() -> Result<()> {
    let range = Range::new()?;
    let policy = range.home.private("policy.toml", "proc = false\n")?;
    let policy = policy.display().to_string();
    for mode in modes()? {
        let look = ["sh", "-c", "read x < /proc/self/maps || exit 9"];
        range.run(mode, &[], &look)?.success()?;
        let ended = range.run(mode, &["--policy", &policy], &look)?;
        ensure!(ended.code == Some(9), "{mode}: {ended}");
    }
    Ok(())
}

#[test]
fn the_jitless_profile_makes_no_code() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    for mode in modes()? {
        let options = ["--profile", "tenant-jitless"];
        let wasm = "console.log(typeof WebAssembly, [1,2].map(x => x + 1).join())";
        let ended = range.run(mode, &options, &["node", "-e", wasm])?.success()?;
        ensure!(ended.stdout.trim() == "undefined 2,3", "{mode}: {ended}");
    }
    Ok(())
}

#[test]
fn other_call_tables_kill() -> Result<()> {
    let range = Range::new()?;
    let probe = range.native_probe()?;
    let probe = probe.to_str().unwrap_or_default();
    for mode in modes()? {
        for table in ["--x32", "--int80"] {
            let ended = range.run(mode, &[], &[probe, table])?;
            ensure!(ended.code == Some(128 + 31), "{mode} {table}: {ended}");
        }
    }
    Ok(())
}

/// `scratch` as a link is refused instead of followed, and so is a directory that is none.
#[test]
fn a_replaced_path_is_not_mounted() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        fs::remove_dir(range.dir.join("scratch"))?;
        std::os::unix::fs::symlink(&range.outside, range.dir.join("scratch"))?;
        let ended = range.run(mode, &[], &["true"])?;
        ensure!(ended.code == Some(125) && ended.stderr.contains("layer scratch"), "{ended}");
        fs::remove_file(range.dir.join("scratch"))?;
        fs::create_dir(range.dir.join("scratch"))?;
    }
    Ok(())
}
