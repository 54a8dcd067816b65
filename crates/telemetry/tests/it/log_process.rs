use std::process::Command;
use std::time::Duration;

use telemetry::Clock;
use telemetry::log::{Format, InitError, Options, init};

const CHILD: &str = "TELEMETRY_LOG_CHILD";

fn options(filter: &str) -> Options {
    let (clock, _) = Clock::manual(Duration::from_secs(1_782_907_200));
    Options { format: Format::Json, filter: filter.into(), clock }
}

/// What the process under test does; nothing in an ordinary run.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    init(&options("warn,it::log_process=debug")).unwrap();
    assert!(matches!(init(&options("info")), Err(InitError::Twice)));
    tracing::debug!(password = "hunter2", "two\nlines");
    tracing::info!(target: "elsewhere", "not shown");
    tracing::warn!(target: "elsewhere", "shown");
}

#[test]
fn events_reach_stderr_filtered_and_masked() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "log_process::child", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let lines: Vec<&str> = stderr.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(
        lines[0].contains(r#""level":"debug","target":"it::log_process","message":"two\nlines""#)
    );
    assert!(lines[1].contains(r#""target":"elsewhere","message":"shown""#));
    assert!(!stderr.contains("hunter2"));
}

#[test]
fn an_invalid_filter_is_refused_in_one_line() {
    let Err(error) = init(&options("gate=loudly")) else { panic!("accepted") };
    let text = error.to_string();
    assert!(text.starts_with("log filter: ") && !text.contains('\n'), "{text}");
}
