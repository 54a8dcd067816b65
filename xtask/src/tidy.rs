//! House rules that a compiler does not check.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Lines of a hand-written source file: half of them have at most this many.
const MEDIAN_LINES: usize = 180;
/// Nineteen of twenty have at most this many.
const P95_LINES: usize = 500;
const MAX_LINES: usize = 800;
const README_LINES: usize = 120;

/// Files that must be there.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "SPECIFICATION.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/known-attacks.md",
    ".ci/run",
];

/// Text that must not be in a source file, with the reason. Written in two halves, so that this
/// table does not find itself.
const WORDS: [(&str, &str, &str); 4] = [
    ("todo", "!(", "finish it, or say in the documents that it is not there"),
    ("FIX", "ME", "finish it, or say in the documents that it is not there"),
    ("#[igno", "re]", "a test that does not run proves nothing; say who runs it"),
    ("dbg", "!(", "left over from debugging"),
];

pub(crate) fn run(_: &[String]) -> Result<()> {
    let root = shell::root();
    let mut faults = Vec::new();
    let mut lengths = Vec::new();
    for path in sources(&root)? {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let shown = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        let lines = text.lines().count();
        lengths.push(lines);
        if lines > MAX_LINES {
            faults.push(format!("{shown}: {lines} lines, at most {MAX_LINES}"));
        }
        faults.extend(word_faults(&shown, &text));
        if shown.ends_with("/lib.rs") && !text.starts_with("//! ") {
            faults.push(format!("{shown}:1: begins without the line that says what it is for"));
        }
    }
    lengths.sort_unstable();
    let (median, p95) = (percentile(&lengths, 50), percentile(&lengths, 95));
    if median > MEDIAN_LINES || p95 > P95_LINES {
        faults.push(format!("file lengths: median {median} (at most {MEDIAN_LINES}), 95th percentile {p95} (at most {P95_LINES})"));
    }
    faults.extend(document_faults(&root));
    if !faults.is_empty() {
        bail!("tidy:\n  {}", faults.join("\n  "));
    }
    shell::say(&format!(
        "tidy: {} files, median {median} lines, 95th percentile {p95}",
        lengths.len()
    ));
    Ok(())
}

fn word_faults(shown: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (first, second, why) in WORDS {
            if line.contains(&format!("{first}{second}")) {
                faults.push(format!("{shown}:{}: {first}{second}: {why}", at + 1));
            }
        }
        if line.ends_with([' ', '\t']) {
            faults.push(format!("{shown}:{}: blanks at the end", at + 1));
        }
    }
    faults
}

fn document_faults(root: &Path) -> Vec<String> {
    let missing = DOCUMENTS.iter().filter(|name| !root.join(name).is_file());
    let mut faults: Vec<String> = missing.map(|name| format!("{name} is missing")).collect();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap_or_default();
    if readme.lines().count() > README_LINES {
        faults.push(format!("README.md: {} lines, at most {README_LINES}", readme.lines().count()));
    }
    faults.extend(link_faults(root));
    faults
}

/// Links between documents that lead nowhere.
fn link_faults(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    for name in DOCUMENTS.iter().filter(|name| name.ends_with(".md")) {
        let path = root.join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let local = targets.filter(|target| !target.is_empty() && !target.contains("://"));
        let folder = path.parent().unwrap_or(root);
        let dead = local.filter(|target| !folder.join(target).exists());
        faults.extend(dead.map(|target| format!("{name}: the link to {target} leads nowhere")));
    }
    faults
}

fn percentile(sorted: &[usize], percent: usize) -> usize {
    let at = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(at).copied().unwrap_or(0)
}

/// Hand-written Rust files; `generated` folders and build output are left out.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut open = ["crates", "xtask", "e2e"].map(|name| root.join(name)).to_vec();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "generated" && name != "target" {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
