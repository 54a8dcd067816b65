//! Fuzzing: builds the targets of `fuzz/` for libFuzzer with the stable compiler and runs them.
//!
//! Everything it writes lies in the build folder: what libFuzzer finds of new coverage is kept
//! there from run to run, the inputs that broke something too. The few inputs in `fuzz/corpus`
//! are written by hand, to start from.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Seconds for each target when only a smoke is asked for.
const SMOKE_SECONDS: u32 = 5;
/// Seconds for one input, after which it counts as a hang.
const INPUT_SECONDS: u32 = 10;
/// Memory that one target may take, in MiB.
const MEMORY_MIB: u32 = 2048;
/// Most lines of a panic that are shown.
const PANIC_LINES: usize = 12;

/// Coverage of edges and compared values, which libFuzzer needs; `fuzzing` opens the doors to
/// private parsers.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// `[TARGET] [SECONDS]`; without a target each gets a smoke.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let fuzzer = Fuzzer::new()?;
    let all = fuzzer.targets()?;
    let (targets, seconds) = match arguments {
        [] => (all, SMOKE_SECONDS),
        [seconds] if seconds.parse::<u32>().is_ok() => (all, seconds.parse()?),
        [target, rest @ ..] if all.contains(target) && rest.len() < 2 => {
            let seconds = rest.first().map_or(Ok(SMOKE_SECONDS), |seconds| seconds.parse());
            (vec![target.clone()], seconds.context("seconds: a whole number")?)
        }
        _ => bail!("usage: cargo xtask fuzz [TARGET] [SECONDS]; targets: {}", all.join(" ")),
    };
    fuzzer.build(&targets)?;
    let mut broken = Vec::new();
    for target in &targets {
        if let Err(error) = fuzzer.fuzz(target, seconds) {
            shell::note(&format!("{error:#}"));
            broken.push(target.as_str());
        }
    }
    if !broken.is_empty() {
        bail!("fuzz: {} of {} targets broke: {}", broken.len(), targets.len(), broken.join(" "));
    }
    Ok(())
}

struct Fuzzer {
    /// The crate with the targets.
    home: PathBuf,
    /// A build folder of its own: the flags would make every other build start anew.
    build: PathBuf,
    host: String,
}

impl Fuzzer {
    fn new() -> Result<Self> {
        if !shell::succeeds("c++", &["--version"]) {
            bail!("no C++ compiler, which builds libFuzzer: apt-get install g++");
        }
        let version = shell::read("rustc", &["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let home = shell::root().join("fuzz");
        let base = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let build = base.unwrap_or_else(|| shell::root().join("target")).join("fuzz");
        Ok(Self { home, build, host: host.context("rustc -vV names no host")?.to_owned() })
    }

    /// The names in the crate's manifest.
    fn targets(&self) -> Result<Vec<String>> {
        let path = self.home.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let manifest: toml::Table = toml::from_str(&text)?;
        let bins = manifest.get("bin").and_then(toml::Value::as_array).context("no [[bin]]")?;
        let names = bins.iter().filter_map(|bin| bin.get("name")?.as_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn build(&self, targets: &[String]) -> Result<()> {
        let manifest = shown(&self.home.join("Cargo.toml"))?;
        let build = shown(&self.build)?;
        // Not locked: the lock file follows when a crate's dependencies change.
        let mut command = vec!["build", "--release", "--manifest-path", &manifest];
        // With a target named, the flags stay away from build scripts, which could not link them.
        command.extend(["--target", &self.host, "--target-dir", &build]);
        command.extend(targets.iter().flat_map(|target| ["--bin", target]));
        shell::run_with("cargo", &command, &[("CARGO_ENCODED_RUSTFLAGS", &FLAGS.join("\x1f"))])
    }

    /// Runs one target; the error says what broke it, and which input file.
    fn fuzz(&self, target: &str, seconds: u32) -> Result<()> {
        let [found, broken] = ["corpus", "broken"].map(|name| self.build.join(name).join(target));
        for folder in [&found, &broken] {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let program = self.build.join(&self.host).join("release").join(target);
        let mut command = Command::new(&program);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-timeout={INPUT_SECONDS}"));
        command.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
        command.arg(format!("-artifact_prefix={}/", broken.display()));
        command.env("RUST_BACKTRACE", "0");
        // New inputs go to the first folder.
        command.arg("-print_final_stats=1").arg(&found).arg(self.home.join("corpus").join(target));
        let output = command.output().with_context(|| format!("starting {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            let executions = after(&text, "stat::number_of_executed_units:").unwrap_or("?");
            shell::say(&format!("fuzz: {target:<18} {executions:>10} executions in {seconds} s"));
            return Ok(());
        }
        let input = after(&text, "Test unit written to ").unwrap_or("not written");
        bail!(
            "fuzz: {target} broke ({})\n{}\ninput: {input}\nagain with: {} {input}",
            output.status,
            cause(&text),
            program.display()
        )
    }
}

/// The panic, or what libFuzzer says of a hang or a lack of memory.
fn cause(text: &str) -> String {
    let panic = text.lines().skip_while(|line| !line.contains("panicked at"));
    let panic = panic.take_while(|line| !line.starts_with("note:") && !line.starts_with("=="));
    let panic: Vec<&str> = panic.take(PANIC_LINES).collect();
    match after(text, "SUMMARY: ") {
        Some(summary) if panic.is_empty() => summary.to_owned(),
        _ => panic.join("\n"),
    }
}

/// The rest of the last line that holds `label`.
fn after<'t>(text: &'t str, label: &str) -> Option<&'t str> {
    text.lines().rev().find_map(|line| Some(line.split_once(label)?.1.trim()))
}

fn shown(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("the path of the workspace is not UTF-8")
}
