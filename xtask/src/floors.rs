//! Dependency floors, package budgets and banned packages, from the resolved dependency graph.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell;

/// Floors from the lowest up, as named in `[workspace.metadata.floors]`. A crate may use lower
/// floors only; those `outside` may use all.
const ORDER: [&str; 6] = ["ground", "plumbing", "pve", "engines", "programs", "outside"];

pub(crate) fn run(_: &[String]) -> Result<()> {
    let text = shell::read("cargo", &["metadata", "--format-version", "1", "--locked"])?;
    let metadata: Value = serde_json::from_str(&text)?;
    let graph = Graph::new(&metadata)?;
    let mut faults = graph.floor_faults(&metadata)?;
    faults.extend(graph.ban_faults(&metadata));
    let (figures, over) = graph.budgets(&metadata)?;
    faults.extend(over);
    faults.extend(default_feature_faults()?);
    if !faults.is_empty() {
        bail!("floors:\n  {}", faults.join("\n  "));
    }
    shell::say(&format!("floors: {}", figures.join(", ")));
    Ok(())
}

/// Packages by id, and their normal edges.
struct Graph<'m> {
    names: BTreeMap<&'m str, &'m str>,
    normal: BTreeMap<&'m str, Vec<&'m str>>,
    /// Normal and development edges between packages of the workspace.
    inside: BTreeMap<&'m str, BTreeSet<&'m str>>,
}

impl<'m> Graph<'m> {
    fn new(metadata: &'m Value) -> Result<Self> {
        let packages = array(metadata, "packages")?;
        let names: BTreeMap<&str, &str> =
            packages.iter().map(|package| (text(package, "id"), text(package, "name"))).collect();
        let members: BTreeSet<&str> =
            array(metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
        let nodes = array(metadata.get("resolve").context("no resolve")?, "nodes")?;
        let mut normal = BTreeMap::new();
        let mut inside = BTreeMap::new();
        for node in nodes {
            let id = text(node, "id");
            let dependencies = array(node, "deps")?;
            let is_normal = |dependency: &&Value| {
                let kinds = dependency.get("dep_kinds").and_then(Value::as_array);
                kinds.is_some_and(|kinds| kinds.iter().any(is_normal_here))
            };
            let edges = dependencies.iter().filter(is_normal).map(|one| text(one, "pkg")).collect();
            normal.insert(id, edges);
            if members.contains(id) {
                let mates = dependencies.iter().map(|one| text(one, "pkg"));
                let mates = mates.filter(|pkg| members.contains(pkg));
                let mates = mates.filter_map(|pkg| names.get(pkg).copied());
                inside.insert(names.get(id).copied().unwrap_or(id), mates.collect());
            }
        }
        Ok(Self { names, normal, inside })
    }

    fn floor_faults(&self, metadata: &Value) -> Result<Vec<String>> {
        let floors =
            metadata.pointer("/metadata/floors").context("no [workspace.metadata.floors]")?;
        let mut floor_of: BTreeMap<&str, usize> = BTreeMap::new();
        for (height, name) in ORDER.iter().enumerate() {
            for member in array(floors, name)?.iter().filter_map(Value::as_str) {
                floor_of.insert(member, height);
            }
        }
        let outside = ORDER.len() - 1;
        let mut faults = Vec::new();
        for (name, uses) in &self.inside {
            let Some(&floor) = floor_of.get(name) else {
                faults.push(format!(
                    "{name} stands on no floor; add it to [workspace.metadata.floors]"
                ));
                continue;
            };
            for used in uses {
                let below = floor_of.get(used).is_some_and(|other| *other < floor);
                if !below && floor != outside {
                    faults.push(format!("{name} uses {used}, which is not on a lower floor"));
                }
            }
        }
        Ok(faults)
    }

    fn ban_faults(&self, metadata: &Value) -> Vec<String> {
        let bans = metadata.pointer("/metadata/bans").and_then(Value::as_object);
        let present: BTreeSet<&str> = self.names.values().copied().collect();
        let found = bans.into_iter().flatten().filter(|(name, _)| present.contains(name.as_str()));
        found
            .map(|(name, why)| format!("{name} is banned: {}", why.as_str().unwrap_or("")))
            .collect()
    }

    /// Package counts, and those over their budget.
    fn budgets(&self, metadata: &Value) -> Result<(Vec<String>, Vec<String>)> {
        let budgets = metadata.pointer("/metadata/budgets").and_then(Value::as_object);
        let (mut figures, mut over) = (Vec::new(), Vec::new());
        for (name, budget) in budgets.into_iter().flatten() {
            let id = self.names.iter().find(|(_, known)| *known == name).map(|(id, _)| *id);
            let id =
                id.with_context(|| format!("budget for {name}, which is not in the workspace"))?;
            let count = self.reachable(id).len();
            let budget =
                budget.as_u64().and_then(|budget| usize::try_from(budget).ok()).unwrap_or(0);
            figures.push(format!("{name} {count} of {budget} packages"));
            if count > budget {
                over.push(format!("{name} has {count} packages, its budget is {budget}"));
            }
        }
        Ok((figures, over))
    }

    fn reachable(&self, from: &'m str) -> BTreeSet<&'m str> {
        let mut seen = BTreeSet::from([from]);
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            let edges = self.normal.get(id).into_iter().flatten();
            open.extend(edges.copied().filter(|next| seen.insert(next)));
        }
        seen
    }
}

/// A normal edge that this platform has; others are not built.
fn is_normal_here(kind: &Value) -> bool {
    let normal = kind.get("kind").is_some_and(Value::is_null);
    let target = kind.get("target").and_then(Value::as_str).unwrap_or_default();
    let foreign =
        ["windows", "macos", "apple", "wasm", "wasi", "hermit", "redox", "android", "netbsd"];
    normal && !foreign.iter().any(|word| target.contains(word) && !target.contains("not("))
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
