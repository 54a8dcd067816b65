//! `proxward cell policy`.

use std::path::Path;

use cell::{Policy, Profile};
use serde_json::{Value, json};

use super::arguments::{PolicyAction, PolicyOptions};
use super::run::read;
use crate::cli::Format;
use crate::exit::{Exit, Stop};
use crate::output::result;

pub(crate) fn run(options: &PolicyOptions) -> Result<(), Stop> {
    match &options.action {
        PolicyAction::Check { file } => {
            read(file)?;
            result("the policy is usable");
            Ok(())
        }
        PolicyAction::Explain { file, format } => {
            let policy = named(file)?;
            result(&match format {
                Format::Json => serde_json::to_string(&policy).map_err(Stop::usage)?,
                Format::Text => explained(&policy),
            });
            Ok(())
        }
        PolicyAction::Show { file } => {
            result(named(file)?.to_toml().trim_end());
            Ok(())
        }
        PolicyAction::Diff { old, new, format } => diff(&named(old)?, &named(new)?, *format),
    }
}

/// A file, or the name of a profile.
fn named(path: &Path) -> Result<Policy, Stop> {
    let profile = Profile::ALL.into_iter().find(|profile| Path::new(profile.name()) == path);
    profile.map_or_else(|| read(path), |profile| Ok(profile.policy()))
}

/// In sentences, so that somebody can say whether this was meant.
fn explained(policy: &Policy) -> String {
    let limits = &policy.limits;
    let list =
        |items: Vec<String>| if items.is_empty() { "nothing".into() } else { items.join(", ") };
    let directory = policy
        .dir
        .as_ref()
        .map_or("the one given by --dir".into(), |dir| dir.display().to_string());
    let mode = if policy.read_only { "read" } else { "read and write, never executed" };
    let mut lines = vec![
        format!("profile       {}", policy.profile.name()),
        format!("directory     {directory}: {mode}"),
        format!(
            "also read     {}",
            list(policy.read.iter().map(|path| path.display().to_string()).collect())
        ),
    ];
    lines.push(format!(
        "add-ons       {}",
        list(policy.addons.iter().map(|addon| addon.path.display().to_string()).collect())
    ));
    lines.push(format!(
        "starts        {}",
        list(policy.programs.iter().map(|path| path.display().to_string()).collect())
    ));
    lines.push(match &policy.restrict {
        Some(restrict) => format!(
            "connects to   everything but {} (of these, ports {})",
            list(restrict.addresses.clone()),
            list(restrict.ports.iter().map(u16::to_string).collect())
        ),
        None => format!(
            "connects to   {}",
            list(policy.connect.iter().map(ToString::to_string).collect())
        ),
    });
    lines.push(format!(
        "reached at    {}",
        list(policy.publish.iter().map(ToString::to_string).collect())
    ));
    let cpus = limits
        .cpus
        .map_or("no bound of processors".to_owned(), |cpus| format!("{cpus} processors"));
    lines.push(format!(
        "limits        {} memory, {cpus}, {} processes and threads, {} open files, {} scratch in {} files",
        limits.memory, limits.pids, limits.open_files, limits.scratch, limits.scratch_inodes
    ));
    let time = limits
        .timeout
        .map_or("no bound".to_owned(), |time| format!("{time}, then {} to end", limits.grace));
    lines.push(format!("time          {time}"));
    lines.push(format!(
        "output        {} lines and {} a second",
        limits.log_lines, limits.log_bytes
    ));
    lines.push(format!("environment   {}", list(policy.env.keys().cloned().collect())));
    lines.push(format!(
        "may miss      {}",
        list(policy.allow_degraded.iter().map(ToString::to_string).collect())
    ));
    lines.join("\n")
}

/// Keys that differ, one a line: `- old` and `+ new`. The answer is no when there are some.
fn diff(old: &Policy, new: &Policy, format: Format) -> Result<(), Stop> {
    let flat = |policy: &Policy| {
        let mut rows = Vec::new();
        flatten("", &json!(policy), &mut rows);
        rows
    };
    let (old, new) = (flat(old), flat(new));
    let gone = old.iter().filter(|row| !new.contains(row));
    let come = new.iter().filter(|row| !old.contains(row));
    let (gone, come): (Vec<_>, Vec<_>) = (gone.collect(), come.collect());
    let equal = gone.is_empty() && come.is_empty();
    match format {
        Format::Json => result(&json!({ "removed": gone, "added": come }).to_string()),
        Format::Text => {
            let line = |sign: &str, row: &(String, String)| format!("{sign} {} = {}", row.0, row.1);
            let mut lines: Vec<String> = gone.iter().map(|row| line("-", row)).collect();
            lines.extend(come.iter().map(|row| line("+", row)));
            result(&if equal { "the policies are equal".to_owned() } else { lines.join("\n") });
        }
    }
    if equal { Ok(()) } else { Err(Stop::status(Exit::No as u8)) }
}

/// Lists item by item, tables by dotted keys.
fn flatten(key: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&key, value, rows);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| rows.push((key.to_owned(), item.to_string())));
        }
        Value::Null => {}
        other => rows.push((key.to_owned(), other.to_string())),
    }
}
