//! A machine that lacks something: the layer is named, and nothing runs.

use anyhow::{Result, ensure};

use super::range::{Range, modes};
use crate::program::finish;

/// What takes something away, the mode that misses it, the layer that is named, and the option
/// that lets it be missing (empty when nothing does).
const MISSING: [(&str, &str, &str, &str); 2] = [
    // Mounts of the test's own; control groups are out of sight there.
    ("mount -t tmpfs none /sys/fs", "privileged", "memory-limit", "memory-limit"),
    // A namespace below which no further user namespace may be made; mappings need one.
    ("echo 0 > /proc/sys/user/max_user_namespaces", "unprivileged", "id-map", ""),
];

#[test]
fn what_the_machine_lacks_is_named() -> Result<()> {
    if !modes()?.contains(&"privileged") {
        return Ok(());
    }
    let range = Range::new()?;
    let program = crate::program::proxward()?;
    for (take_away, mode, layer, option) in MISSING {
        let cell = |options: &str| {
            format!(
                "{take_away} && {} cell run --mode {mode} {options} --dir {} -- sh -c 'echo ran'",
                program.display(),
                range.dir.display()
            )
        };
        let own = ["--mount", "--user", "--map-root-user", "--", "sh", "-c"];
        let own = if mode == "privileged" { &own[..1] } else { &own[..3] };
        let run = |script: &str| {
            let mut command = range.home.command("unshare");
            finish(command.args(own).args(["--", "sh", "-c", script]), "")
        };
        let ended = run(&cell(""))?;
        ensure!(ended.code == Some(125), "{layer}: {ended}");
        ensure!(ended.stderr.contains(&format!("layer {layer}")), "{layer}: {ended}");
        ensure!(!ended.stdout.contains("ran"), "{layer}: {ended}");
        if option.is_empty() {
            continue;
        }
        let options = format!(
            "--allow-degraded {option} --allow-degraded process-limit --allow-degraded cpu-limit"
        );
        let ended = run(&cell(&options))?.success()?;
        ensure!(ended.stdout == "ran\n", "{layer}: {ended}");
    }
    Ok(())
}

/// Calls of an older kernel, by number on x86-64, and the layer that is named in each mode.
const CALLS: [(&str, &str, [&str; 2]); 8] = [
    ("428", "open_tree", ["mounts", "mounts"]),
    ("429", "move_mount", ["mounts", "mounts"]),
    ("430", "fsopen", ["proc", "proc"]),
    ("436", "close_range", ["limits", "limits"]),
    ("442", "mount_setattr", ["id-map", "id-map"]),
    ("444", "landlock_create_ruleset", ["landlock", "landlock"]),
    ("322", "execveat", ["exec", "exec"]),
    ("155", "pivot_root", ["mounts", "mounts"]),
];

/// As on a kernel that does not have them. Also those by whose answer features are detected.
#[test]
fn a_kernel_without_a_call_is_refused_by_layer() -> Result<()> {
    let range = Range::new()?;
    let without = range.home.scratch("without");
    let mut cc = range.home.command("cc");
    finish(cc.args(["-O1", "-w", "-o"]).arg(&without).arg(super::range::source("without.c")), "")?
        .success()?;
    for (at, mode) in ["privileged", "unprivileged"].iter().enumerate() {
        if !modes()?.contains(mode) {
            continue;
        }
        for (number, name, layers) in CALLS {
            let cell = range.cell(mode, &[], &["sh", "-c", "echo ran"])?;
            let mut command = range.home.command(&without);
            command.arg(number).arg(cell.get_program()).args(cell.get_args());
            let ended = finish(&mut command, "")?;
            let layer = layers.get(at).copied().unwrap_or("");
            ensure!(ended.code == Some(125), "{mode} without {name}: {ended}");
            ensure!(
                ended.stderr.contains(&format!("layer {layer}")) && !ended.stdout.contains("ran"),
                "{mode} without {name}: expected layer {layer}: {ended}"
            );
        }
    }
    Ok(())
}
