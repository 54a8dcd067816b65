//! `proxward access`: the judged cases through the program, and the three questions people ask.

use std::io::{Write as _, stderr};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::home::Home;
use crate::program::{Ended, finish};

const USER_CFG: &str = "user:ann@pve:1:0:\nuser:old@pve:1:5:\ngroup:ops:ann@pve,old@pve:\n\
    pool:dev::100:local:\nacl:1:/:@ops:PVEAuditor:\nacl:1:/vms:ann@pve:PVEVMUser:\n\
    acl:1:/pool/dev:ann@pve:NoAccess:\nacl:0:/nowhere:zoe@pve:PVEAuditor:\n";

fn fixture(name: &str) -> Result<Option<Value>> {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let root = std::env::var_os("PROXWARD_SHARED").map_or_else(|| workspace.into(), PathBuf::from);
    let path = root.join("fixtures/acl").join(name);
    if !path.exists() {
        writeln!(stderr(), "skipped: {} is absent (set PROXWARD_SHARED)", path.display())?;
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&std::fs::read_to_string(path)?)?))
}

fn judge(input: &str) -> Result<Ended> {
    finish(&mut Home::new()?.proxward(&["access", "judge"])?, input)
}

/// The list's records as lines, and the answers beside them.
fn judged(list: &Value) -> Result<Vec<(&Value, Value)>> {
    let records = list.as_array().context("no list")?;
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let answers = judge(&lines.join("\n"))?.success()?.stdout;
    let answers: Vec<Value> =
        answers.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(answers.len() == records.len(), "{} answers", answers.len());
    Ok(records.iter().zip(answers).collect())
}

#[test]
fn generated_cases_are_judged_as_upstream_does() -> Result<()> {
    let Some(fixture) = fixture("generated_cases.json")? else { return Ok(()) };
    for (scenario, answer) in judged(&fixture["scenarios"])? {
        ensure!(answer["rewritten"] == scenario["rewritten"], "{scenario}");
        let cases = scenario["cases"].as_array().context("no cases")?;
        let results = answer["results"].as_array().context("no results")?;
        ensure!(cases.len() == results.len());
        for (case, result) in cases.iter().zip(results) {
            ensure!(result["roles"] == case["roles"], "{case} {result}");
            ensure!(result["permissions"] == case["permissions"], "{case} {result}");
        }
    }
    Ok(())
}

#[test]
fn upstream_cases_are_judged_as_upstream_does() -> Result<()> {
    let Some(fixture) = fixture("perm_cases.json")? else { return Ok(()) };
    for (scenario, answer) in judged(&fixture)? {
        let cases = scenario["cases"].as_array().context("no cases")?;
        for (at, case) in cases.iter().enumerate() {
            let result = &answer["results"][at][case["query"].as_str().context("no query")?];
            let names = match result.as_object() {
                Some(members) => members.keys().map(|name| Value::from(name.as_str())).collect(),
                None => result.clone(),
            };
            ensure!(names == case["expected"], "{case} {result}");
        }
    }
    Ok(())
}

#[test]
fn what_pve_reads_and_writes_is_judged_too() -> Result<()> {
    let Some(fixture) = fixture("parser_writer.json")? else { return Ok(()) };
    for (record, answer) in judged(&fixture["tests"])? {
        ensure!(answer["config"] == record["config"], "{record} {answer}");
        // Upstream writes what was put in; a file that is read has root@pam besides.
        if record["raw"] != "" {
            ensure!(answer["rewritten"] == record["expected_raw"], "{record} {answer}");
        }
    }
    Ok(())
}

#[test]
fn a_bad_line_ends_the_run_and_loses_nothing() -> Result<()> {
    let good = r#"{"user_cfg":"","cases":[{"subject":"root@pam","path":"/"}]}"#;
    let ended = judge(&format!("{good}\n\n{{\"user_cfg\":\"\",\"cases\":[{{}}]}}\n{good}\n"))?;
    ensure!(ended.code == Some(2), "{ended}");
    ensure!(ended.stdout.lines().count() == 1 && ended.stdout.contains("Administrator"), "{ended}");
    ensure!(ended.stderr.starts_with("proxward: line 3: "), "{ended}");
    ensure!(ended.stderr.lines().count() == 1, "{ended}");
    Ok(())
}

#[test]
fn can_explain_and_effective() -> Result<()> {
    let home = Home::new()?;
    let file = home.private("user.cfg", USER_CFG)?;
    let file = file.to_str().context("path")?;
    let ask = |words: &str| {
        let mut words: Vec<&str> = ["access"].into_iter().chain(words.split(' ')).collect();
        words.extend(["--user-cfg", file]);
        finish(&mut home.proxward(&words)?, "")
    };
    for (words, code, out, err) in [
        ("can ann@pve /vms/200 VM.Audit,VM.PowerMgmt", 0, "yes", "line 8"),
        ("can ann@pve /vms/200 VM.Allocate", 1, "", "lacks VM.Allocate"),
        ("can ann@pve /vms/100 VM.Audit", 1, "", "lacks VM.Audit"),
        ("can ann@pve /vms/200 VM.Allocate,VM.Audit --any", 0, "yes", ""),
        ("can old@pve / Sys.Audit", 1, "", "expired"),
        ("can ann@pve / Sys.Nonsense", 2, "", "Sys.Nonsense"),
        ("can ann / Sys.Audit", 2, "", "name@realm"),
        ("can ann@pve é Sys.Audit", 2, "", "path"),
        ("explain ann@pve /vms/200", 0, "line 5: PVEAuditor for @ops at /: replaced by", ""),
        ("explain ann@pve /vms/100", 0, "removed by NoAccess at /pool/dev", ""),
        ("explain ann@pve /vms/100 --format json", 0, r#""pool":"dev""#, ""),
        ("effective ann@pve", 0, "Sys.Audit*", ""),
        ("effective ann@pve --format json", 0, r#""Sys.Audit":1"#, ""),
        ("can root@pam /vms/1 VM.Audit --format json", 0, r#""allowed":true"#, ""),
    ] {
        let ended = ask(words)?;
        ensure!(ended.code == Some(code), "{words}\n{ended}");
        ensure!(ended.stdout.contains(out) && ended.stderr.contains(err), "{words}\n{ended}");
    }
    Ok(())
}
