//! Dependency floors, package budgets and banned packages.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell;

/// Floors from the lowest up, as named in `[workspace.metadata.floors]`. A crate may use lower
/// floors only; those `outside` may use all.
const ORDER: [&str; 6] = ["ground", "plumbing", "pve", "engines", "programs", "outside"];

pub(crate) fn run(_: &[String]) -> Result<()> {
    let text =
        shell::read("cargo", &["metadata", "--format-version", "1", "--locked", "--no-deps"])?;
    let metadata: Value = serde_json::from_str(&text)?;
    let mut faults = floor_faults(&metadata)?;
    faults.extend(ban_faults(&metadata)?);
    let (figures, over) = budgets(&metadata)?;
    faults.extend(over);
    faults.extend(default_feature_faults()?);
    if !faults.is_empty() {
        bail!("floors:\n  {}", faults.join("\n  "));
    }
    shell::say(&format!("floors: {}", figures.join(", ")));
    Ok(())
}

/// Crates that use one which is not below them, in any kind of dependency.
fn floor_faults(metadata: &Value) -> Result<Vec<String>> {
    let floors = metadata.pointer("/metadata/floors").context("no [workspace.metadata.floors]")?;
    let mut floor_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (height, name) in ORDER.iter().enumerate() {
        let members = array(floors, name)?.iter().filter_map(Value::as_str);
        floor_of.extend(members.map(|member| (member, height)));
    }
    let outside = ORDER.len() - 1;
    let mut faults = Vec::new();
    for package in array(metadata, "packages")? {
        let name = text(package, "name");
        let Some(&floor) = floor_of.get(name) else {
            faults
                .push(format!("{name} stands on no floor; add it to [workspace.metadata.floors]"));
            continue;
        };
        let uses = array(package, "dependencies")?.iter().map(|one| text(one, "name"));
        for used in uses.filter(|used| *used != name) {
            if floor != outside && floor_of.get(used).is_some_and(|other| *other >= floor) {
                faults.push(format!("{name} uses {used}, which is not on a lower floor"));
            }
        }
    }
    Ok(faults)
}

/// Only what is built counts: the lock file also names what no feature asks for.
fn ban_faults(metadata: &Value) -> Result<Vec<String>> {
    let built = tree(&["--workspace", "--edges", "all"])?;
    let built: BTreeSet<&str> = built.iter().filter_map(|line| line.split(' ').next()).collect();
    let bans = metadata.pointer("/metadata/bans").and_then(Value::as_object);
    let found = bans.into_iter().flatten().filter(|(name, _)| built.contains(name.as_str()));
    Ok(found
        .map(|(name, why)| format!("{name} is banned: {}", why.as_str().unwrap_or("")))
        .collect())
}

/// Package counts on normal edges, and those over their budget.
fn budgets(metadata: &Value) -> Result<(Vec<String>, Vec<String>)> {
    let budgets = metadata.pointer("/metadata/budgets").and_then(Value::as_object);
    let (mut figures, mut over) = (Vec::new(), Vec::new());
    for (name, budget) in budgets.into_iter().flatten() {
        let count = tree(&["--package", name, "--edges", "normal"])?.len();
        let budget = budget.as_u64().and_then(|budget| usize::try_from(budget).ok()).unwrap_or(0);
        figures.push(format!("{name} {count} of {budget} packages"));
        if count > budget {
            over.push(format!("{name} has {count} packages, its budget is {budget}"));
        }
    }
    Ok((figures, over))
}

/// The packages that `cargo tree` shows, each once, as `name version`.
fn tree(arguments: &[&str]) -> Result<BTreeSet<String>> {
    let fixed = ["tree", "--locked", "--prefix", "none", "--no-dedupe", "--format", "{p}"];
    let shown = shell::read("cargo", &[&fixed, arguments].concat())?;
    let lines = shown.lines().filter(|line| !line.is_empty());
    let package = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(lines.map(package).collect())
}

/// Every shared dependency says which default features it takes.
fn default_feature_faults() -> Result<Vec<String>> {
    let manifest = std::fs::read_to_string(shell::root().join("Cargo.toml"))?;
    let manifest: toml::Table = toml::from_str(&manifest)?;
    let table = manifest.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let dependencies =
        table.and_then(toml::Value::as_table).context("no [workspace.dependencies]")?;
    let silent = dependencies.iter().filter(|(_, value)| {
        value.get("path").is_none() && value.get("default-features").is_none()
    });
    Ok(silent.map(|(name, _)| format!("{name}: write default-features out")).collect())
}

fn array<'v>(value: &'v Value, name: &str) -> Result<&'v Vec<Value>> {
    value.get(name).and_then(Value::as_array).with_context(|| format!("no list {name}"))
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
