//! Replays the recorded exchanges: `golden [--judge FILE]`.

use std::path::PathBuf;
use std::process::ExitCode;

use e2e::golden::{Leg, Report, locate, run};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let judge = match (arguments.next(), arguments.next()) {
        (None, _) => None,
        (Some(flag), Some(file)) if flag == "--judge" => Some(PathBuf::from(file)),
        _ => {
            report("usage: golden [--judge FILE]");
            return ExitCode::from(2);
        }
    };
    let Some(golden) = locate() else {
        report(
            "golden: the recorded exchanges are not here; set PROXWARD_SHARED to the directory that holds golden/",
        );
        return ExitCode::from(2);
    };
    let reports = match run(&golden, judge.as_deref()) {
        Ok(reports) => reports,
        Err(error) => {
            report(&format!("golden: {error:#}"));
            return ExitCode::from(2);
        }
    };
    // The direct leg decides, so its counts are the last line.
    for one in reports.iter().rev() {
        print(&one.to_string());
    }
    // What the gate refuses on purpose is listed for the known records only.
    let decides = |report: &&Report| judge.is_none() || report.leg == Leg::Direct;
    if reports.iter().filter(decides).all(Report::passes) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "why the command did nothing")]
fn report(text: &str) {
    eprintln!("{text}");
}
