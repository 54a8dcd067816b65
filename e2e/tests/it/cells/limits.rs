//! Limits: what is too much ends in the cell, with the code of the contract.

use anyhow::{Result, ensure};

use super::range::{Range, has_node, modes};

/// Runs JavaScript in each mode and checks how it ended.
fn each(
    options: &[&str],
    script: &str,
    check: impl Fn(&crate::program::Ended) -> bool,
) -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    for mode in modes()? {
        let ended = range.run(mode, options, &["node", "-e", script])?;
        ensure!(check(&ended), "{mode}: {ended}");
    }
    Ok(())
}

#[test]
fn a_memory_bomb_ends_its_cell() -> Result<()> {
    let bomb = "const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1))";
    each(&["--memory", "96M"], bomb, |ended| {
        ended.code == Some(137) && ended.stderr.contains("memory")
    })
}

#[test]
fn a_heap_bomb_ends_its_cell() -> Result<()> {
    let bomb = "const a = []; for (let i = 0;; i++) a.push({ i, s: 'x' + i })";
    each(&["--memory", "96M"], bomb, |ended| matches!(ended.code, Some(134 | 137)))
}

#[test]
fn scratch_counts_as_memory() -> Result<()> {
    // Privileged only: without control groups, files that are not mapped are nobody's.
    let range = Range::new()?;
    if !has_node() || !modes()?.contains(&"privileged") {
        return Ok(());
    }
    let script = "require('fs').writeFileSync('/cell/scratch/x', Buffer.alloc(200 << 20, 1))";
    let options = ["--memory", "128M", "--scratch", "1G"];
    let ended = range.run("privileged", &options, &["node", "-e", script])?;
    ensure!(ended.code == Some(137), "{ended}");
    Ok(())
}

#[test]
fn a_spinning_cell_gets_its_share() -> Result<()> {
    let spin = "const t = Date.now(); while (Date.now() - t < 1500); \
        console.log(Math.round(process.cpuUsage().user / 1000))";
    each(&["--cpus", "0.2"], spin, |ended| {
        let used: Option<u32> = ended.stdout.trim().parse().ok();
        ended.code == Some(0) && used.is_some_and(|ms| ms < 900)
    })
}

#[test]
fn threads_are_counted() -> Result<()> {
    let bomb = "const { Worker } = require('worker_threads'); let failed = 0; \
        for (let i = 0; i < 40; i++) { try { \
        new Worker('setTimeout(() => {}, 2000)', { eval: true }).on('error', () => failed++); \
        } catch { failed++ } } setTimeout(() => { console.log(failed); process.exit(0) }, 1500)";
    each(&["--pids", "24"], bomb, |ended| {
        ended.stdout.trim().parse::<u32>().map_or(ended.code != Some(0), |failed| failed >= 10)
    })
}

#[test]
fn descriptors_are_counted() -> Result<()> {
    let bomb = "const fs = require('fs'); let n = 0; \
        try { for (;;) { fs.openSync('/cell'); n++ } } catch (e) { console.log(e.code, n < 520) }";
    each(&[], bomb, |ended| ended.stdout.trim() == "EMFILE true")
}

#[test]
fn a_files_size_is_limited() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let policy = range.home.private("policy.toml", "[limits]\nfile_size = '1M'\n")?;
    let policy = policy.display().to_string();
    for mode in modes()? {
        let script = "process.on('SIGXFSZ', () => {}); \
            try { require('fs').truncateSync('/cell/x', 0) } catch {} \
            try { require('fs').writeFileSync('/cell/x', ''); \
            require('fs').truncateSync('/cell/x', 1 << 30) } catch (e) { console.log(e.code) }";
        let ended = range.run(mode, &["--policy", &policy], &["node", "-e", script])?;
        ensure!(ended.stdout.trim() == "EFBIG", "{mode}: {ended}");
    }
    Ok(())
}

#[test]
fn a_flood_of_output_is_cut() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    let policy = range.home.private("policy.toml", "[limits]\nlog_bytes = '64K'\n")?;
    let policy = policy.display().to_string();
    for mode in modes()? {
        let script = "require('fs').writeSync(1, 'x'.repeat(4 << 20))";
        let ended = range.run(mode, &["--policy", &policy], &["node", "-e", script])?;
        ensure!(ended.code == Some(0) && ended.stdout.len() < 1 << 20, "{}", ended.stdout.len());
        ensure!(ended.stderr.contains("dropped"), "{mode}: {}", ended.stderr);
    }
    Ok(())
}

#[test]
fn a_deaf_command_is_ended() -> Result<()> {
    let deaf = "process.on('SIGTERM', () => console.log('heard')); setInterval(() => {}, 1000)";
    each(&["--timeout", "700ms"], deaf, |ended| {
        ended.code == Some(124) && ended.stdout.trim() == "heard"
    })
}

#[test]
fn a_crash_leaves_no_core() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let range = Range::new()?;
    for mode in modes()? {
        let ended = range.run(mode, &[], &["node", "-e", "process.abort()"])?;
        ensure!(ended.code == Some(128 + 6), "{mode}: {ended}");
        let names: Vec<_> =
            std::fs::read_dir(&range.dir)?.flatten().map(|e| e.file_name()).collect();
        let cores = names.iter().filter(|name| name.to_string_lossy().starts_with("core"));
        ensure!(cores.count() == 0, "{mode}: {names:?}");
    }
    Ok(())
}
