//! Which system calls Node.js makes, by major version: traced, and kept as data that the cells'
//! list is judged by.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{nodes, shell};

/// Majors that are traced when none is named: those with support, and the last one without.
const MAJORS: [&str; 4] = ["18", "20", "22", "24"];
/// What is run under the tracer.
const SMOKE: &str = "e2e/cells/smoke.js";
/// Where the result is kept.
const DATA: &str = "crates/cell/src/seccomp/traced.txt";
const HEAD: &str = "\
# System calls that Node.js makes, by major: the call, then the majors that made it while
# e2e/cells/smoke.js ran. Made by `cargo xtask calls`; a test compares it with the list of cells.
";

/// `MAJOR=PROGRAM` for each version; without any, those of the package `node` are installed into
/// the user's cache. What was traced before of other majors stays.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ensure!(shell::succeeds("strace", &["--version"]), "install strace first");
    let programs: Vec<(String, PathBuf)> = if arguments.is_empty() {
        MAJORS
            .iter()
            .map(|major| Ok(((*major).to_owned(), nodes::install(major)?)))
            .collect::<Result<_>>()?
    } else {
        let named = |word: &String| {
            let (major, program) = word.split_once('=').context("expected MAJOR=PROGRAM")?;
            Ok((major.to_owned(), PathBuf::from(program)))
        };
        arguments.iter().map(named).collect::<Result<_>>()?
    };
    let data = shell::root().join(DATA);
    let mut calls = read(&std::fs::read_to_string(&data).unwrap_or_default());
    for (major, program) in programs {
        let traced = trace(&program).with_context(|| format!("Node.js {major}"))?;
        shell::note(&format!("Node.js {major}: {} calls", traced.len()));
        calls.values_mut().for_each(|majors| {
            majors.remove(&major);
        });
        for call in traced {
            calls.entry(call).or_default().insert(major.clone());
        }
    }
    calls.retain(|_, majors| !majors.is_empty());
    let lines = calls.iter().map(|(call, majors)| {
        let majors: Vec<&str> = majors.iter().map(String::as_str).collect();
        format!("{call:<24}{}\n", majors.join(" "))
    });
    std::fs::write(&data, HEAD.to_owned() + &lines.collect::<String>())?;
    Ok(())
}

fn read(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.map(|line| line.split_whitespace().map(str::to_owned));
    words.filter_map(|mut words| Some((words.next()?, words.collect()))).collect()
}

/// Names of the calls of one run.
fn trace(program: &Path) -> Result<BTreeSet<String>> {
    let place = std::env::temp_dir().join(format!("proxward-trace-{}", std::process::id()));
    let (to, program) = (place.display().to_string(), program.display().to_string());
    let traced = shell::read("strace", &["-f", "-qq", "-o", &to, &program, "--expose-gc", SMOKE]);
    let text = std::fs::read_to_string(&place);
    let _ = std::fs::remove_file(&place);
    ensure!(traced?.contains("smoke passed"), "{SMOKE} did not pass");
    Ok(text?.lines().filter_map(call).collect())
}

/// `123 openat(AT_FDCWD, …` and `123 <... futex resumed>`.
fn call(line: &str) -> Option<String> {
    let rest = line.trim_start_matches(|digit: char| digit.is_ascii_digit()).trim_start();
    let name = rest.strip_prefix("<... ").unwrap_or(rest);
    let end = name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
    let (name, after) = name.split_at_checked(end)?;
    let is_call = after.starts_with('(') || after.starts_with(" resumed");
    (is_call && !name.is_empty()).then(|| name.to_owned())
}
