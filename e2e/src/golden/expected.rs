//! The differences that are known, each with its reason.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::replay::Leg;

/// What the file holds: `[[difference]]` tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Record names.
    ids: Vec<String>,
    leg: Leg,
    kind: Kind,
    reason: String,
}

/// Why a record is not equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Not there yet.
    Missing,
    /// A fact of the recorded machine.
    Host,
    /// The gate refuses or changes it on purpose.
    Hardening,
}

/// By leg and record name.
pub(super) type Expected = BTreeMap<(Leg, String), (Kind, String)>;

/// Reads the list. An entry without a reason, or one listed twice, is an error.
pub(super) fn read(path: &Path) -> Result<Expected> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let mut expected = Expected::new();
    for entry in file.difference {
        if entry.reason.trim().is_empty() {
            bail!("{}: {:?} has no reason", path.display(), entry.ids);
        }
        if entry.kind == Kind::Hardening && entry.leg == Leg::Direct {
            bail!("{}: {:?}: only the gate hardens", path.display(), entry.ids);
        }
        for id in entry.ids {
            let value = (entry.kind, entry.reason.clone());
            if expected.insert((entry.leg, id.clone()), value).is_some() {
                bail!("{}: {id} is listed twice", path.display());
            }
        }
    }
    Ok(expected)
}
