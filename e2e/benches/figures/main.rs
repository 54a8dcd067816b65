//! The figures of the promises, beside their bars: `bench [NAME]`.
//!
//! Every program is the release build, started anew for every round. Medians and the tenth
//! percentile of the rounds are printed; the machine's load is part of both. `mock-beside-sdk`
//! is run by name only: it installs its peer. So are `broker`, which has redis beside it, and
//! `cells`, which wants its peers, and `gate`, which takes a minute.

mod broker;
mod broker_peers;
mod cells;
mod gate;
mod large;
mod load;
mod peers;
mod server;
mod silent;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::server::Server;

/// Rounds of a start; the first is not counted, it pays for the page cache.
const ROUNDS: usize = 21;

/// Name, unit, bar, and how it is measured.
type Figure = (&'static str, &'static str, f64, fn(&Path) -> Result<Vec<f64>>);

const FIGURES: [Figure; 10] = [
    ("version", "ms", 15.0, version),
    ("demo-ready", "ms", 300.0, demo_ready),
    ("mock-ready", "ms", 50.0, mock_ready),
    ("mock-rss", "MB", 30.0, mock_rss),
    ("lawful-p99", "ms", 50.0, silent::lawful_p99),
    ("large-mock-ready", "ms", f64::INFINITY, large::ready),
    ("large-mock-peak", "MB", 250.0, large::peak),
    ("large-mock-resources", "ms", 100.0, large::resources),
    ("schema-load", "ms", 5.0, schema_load),
    ("baseline-true", "ms", f64::INFINITY, baseline),
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            print(&format!("bench: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    // Cargo adds a word of its own.
    let wanted = std::env::args().skip(1).find(|word| word != "--bench");
    let program = program()?;
    if wanted.as_deref() == Some("mock-beside-sdk") {
        return peers::mock_beside_sdk(&program);
    }
    if wanted.as_deref() == Some("broker") {
        return broker::broker(&program);
    }
    if wanted.as_deref() == Some("gate") {
        return gate::run(&program);
    }
    if wanted.as_deref() == Some("cells") {
        return cells::run(&program);
    }
    print("figure                 median       p10       bar");
    let mut met = true;
    for (name, unit, bar, measure) in FIGURES {
        if wanted.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let mut values = measure(&program).with_context(|| name.to_owned())?;
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values.get(values.len() * part / 10).copied().unwrap_or(f64::NAN);
        let (median, p10) = (at(5), at(1));
        met &= median <= bar;
        let shown =
            if bar.is_finite() { format!("{bar:>6.0} {unit}") } else { "        –".to_owned() };
        print(&format!("{name:<20} {median:>6.2} {unit} {p10:>6.2} {unit} {shown}"));
    }
    Ok(met)
}

/// The release build of the program: this one is in `deps` below its directory.
fn program() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.ancestors().nth(2).context("no directory")?.join("proxward");
    if !program.is_file() {
        bail!("{} is missing; run `cargo xtask bench`", program.display());
    }
    Ok(program)
}

fn version(program: &Path) -> Result<Vec<f64>> {
    rounds(|| whole_run(Command::new(program).arg("--version")))
}

/// What starting any program costs here.
fn baseline(_: &Path) -> Result<Vec<f64>> {
    rounds(|| whole_run(&mut Command::new("true")))
}

fn demo_ready(program: &Path) -> Result<Vec<f64>> {
    rounds(|| {
        let mut command = Command::new(program);
        command.args(["demo", "--listen", "127.0.0.1:0", "--format", "json"]);
        Server::start(&mut command).map(|server| millis(server.ready))
    })
}

fn mock_ready(program: &Path) -> Result<Vec<f64>> {
    rounds(|| Server::start(&mut mock(program)).map(|server| millis(server.ready)))
}

fn mock_rss(program: &Path) -> Result<Vec<f64>> {
    rounds(|| {
        let server = Server::start(&mut mock(program))?;
        // The ticket key is made meanwhile; its memory counts.
        std::thread::sleep(Duration::from_millis(300));
        server.resident_megabytes()
    })
}

fn schema_load(_: &Path) -> Result<Vec<f64>> {
    let [facts, _] = pve_schema::Schema::shipped_facts();
    rounds(|| {
        let started = Instant::now();
        pve_schema::Schema::from_facts(facts)?;
        Ok(millis(started.elapsed()))
    })
}

fn mock(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["mock", "--seed", "cluster", "--format", "json"]);
    command
}

pub(crate) fn rounds(mut measure: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
    measure()?;
    (1..ROUNDS).map(|_| measure()).collect()
}

fn whole_run(command: &mut Command) -> Result<f64> {
    let started = Instant::now();
    let status = command.stdout(Stdio::null()).status()?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(millis(started.elapsed()))
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}
