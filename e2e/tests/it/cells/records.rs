//! What is recorded of attempts that are refused.

use anyhow::{Result, ensure};

use super::range::{Range, modes};

/// What was recorded of one run: rule and what, a line each.
fn records(range: &Range, mode: &str, options: &[&str], script: &str) -> Result<Vec<String>> {
    let file = range.home.scratch("audit");
    let path = file.display().to_string();
    let options: Vec<&str> = ["--audit", path.as_str()].iter().chain(options).copied().collect();
    range.run(mode, &options, &["sh", "-c", script])?.success()?;
    let text = std::fs::read_to_string(&file)?;
    std::fs::remove_file(&file)?;
    let mut lines = Vec::new();
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line)?;
        let member = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        lines.push(format!("{} {}", member("rule"), member("what")));
    }
    Ok(lines)
}

#[test]
fn a_refused_call_is_recorded_with_its_path() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        let seen = records(&range, mode, &[], "cd /nowhere; exit 0")?;
        ensure!(seen.contains(&"call chdir /nowhere".to_owned()), "{mode}: {seen:?}");
    }
    Ok(())
}

/// Once each, only when that was asked for, and the program gets what it got without.
#[test]
fn files_outside_are_recorded_when_asked_for_and_stay_outside() -> Result<()> {
    let range = Range::new()?;
    let script = "for i in 1 2; do read x < /etc/os-release && exit 1; done 2>/dev/null; \
        [ -e ../usr/bin ] && [ -e /usr/share ] && exit 1; read x < /cell/own && \
        [ -e /not/there ] || exit 0; exit 1";
    std::fs::write(range.dir.join("own"), "x\n")?;
    for mode in modes()? {
        let without = records(&range, mode, &[], script)?;
        ensure!(without.iter().all(|line| !line.starts_with("path ")), "{mode}: {without:?}");
        let with = records(&range, mode, &["--audit-paths"], script)?;
        for path in ["path /etc/os-release", "path /usr/share"] {
            let times = with.iter().filter(|line| *line == path).count();
            ensure!(times == 1, "{mode}: {path} {times} times: {with:?}");
        }
        let own = with.iter().filter(|line| line.contains("own") || line.contains("/not/there"));
        ensure!(own.count() == 0, "{mode}: {with:?}");
    }
    let without_file = range.run("auto", &["--audit-paths"], &["true"])?;
    ensure!(without_file.code == Some(2), "{without_file}");
    Ok(())
}
