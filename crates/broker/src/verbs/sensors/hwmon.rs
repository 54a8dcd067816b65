//! `/sys/class/hwmon`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::chip_name::bus;
use super::deadline::{DeadlineFiles, Fault};
use crate::limits::{CHIPS, SENSORS_TOTAL};

/// One chip.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chip {
    /// `coretemp-isa-0000`.
    pub(crate) name: String,
    /// `coretemp`.
    pub(crate) driver: String,
    /// `ISA adapter`.
    pub(crate) adapter: String,
    /// The device's path below `/sys`: with the driver, the same over reboots.
    pub(crate) device: String,
    /// The disk it belongs to.
    pub(crate) block: Option<String>,
    /// Not read, so as not to wake it.
    pub(crate) asleep: bool,
    pub(crate) features: Vec<Feature>,
}

/// One thing it measures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Feature {
    /// `temp1`.
    pub(crate) name: String,
    /// What the driver calls it, else its name.
    pub(crate) label: String,
    /// Subfeatures by whole name (`temp1_input`), in the units of `sensors`.
    pub(crate) values: BTreeMap<String, Result<f64, Fault>>,
}

/// Feature types, what divides their files' numbers, and the values that are not in that unit.
const TYPES: [(&str, f64); 10] = [
    ("temp", 1e3),
    ("in", 1e3),
    ("curr", 1e3),
    ("power", 1e6),
    ("energy", 1e6),
    ("humidity", 1e3),
    ("fan", 1.0),
    ("freq", 1.0),
    ("pwm", 1.0),
    ("intrusion", 1.0),
];

/// Subfeatures that are flags or codes in any type.
const PLAIN: [&str; 9] =
    ["alarm", "fault", "beep", "type", "enable", "div", "pulses", "mode", "auto"];

/// Subfeatures that are read; others are settings.
const READ: [&str; 22] = [
    "input",
    "average",
    "min",
    "max",
    "crit",
    "lcrit",
    "emergency",
    "max_hyst",
    "crit_hyst",
    "emergency_hyst",
    "cap",
    "highest",
    "lowest",
    "offset",
    "alarm",
    "fault",
    "min_alarm",
    "max_alarm",
    "crit_alarm",
    "type",
    "enable",
    "beep",
];

/// Drivers whose reading wakes the device; they are read when the caller says it is awake.
const WAKING: [&str; 1] = ["drivetemp"];

/// Reads every chip below `root`. `awake` are disks that do not sleep.
pub(crate) fn read_chips(root: &Path, files: &mut DeadlineFiles, awake: &[String]) -> Vec<Chip> {
    let class = root.join("sys/class/hwmon");
    let mut chips = Vec::new();
    let began = Instant::now();
    for path in sorted(&class).into_iter().take(CHIPS.0) {
        if began.elapsed() > SENSORS_TOTAL {
            break;
        }
        chips.extend(read_chip(root, &path, files, awake));
    }
    distinguish(&mut chips);
    chips
}

fn read_chip(
    root: &Path,
    path: &Path,
    files: &mut DeadlineFiles,
    awake: &[String],
) -> Option<Chip> {
    // Old drivers have all files below `device`.
    let beside = path.join("device");
    let (home, driver) = match files.read(&path.join("name")) {
        Ok(name) => (path.to_owned(), name),
        Err(_) => (beside.clone(), files.read(&beside.join("name")).ok()?),
    };
    let bus = bus(root, path);
    let real = beside.canonicalize().or_else(|_| path.canonicalize()).ok()?;
    let sys = root.join("sys").canonicalize().unwrap_or_else(|_| root.join("sys"));
    let device = format!("/{}", real.strip_prefix(&sys).unwrap_or(&real).display());
    let block = sorted(&beside.join("block")).first().map(|path| file_name(path));
    let suspended =
        files.read(&beside.join("power/runtime_status")).is_ok_and(|status| status == "suspended");
    let wakes = WAKING.contains(&driver.as_str())
        && !block.as_ref().is_some_and(|block| awake.contains(block));
    let asleep = suspended || wakes;
    let features = if asleep { Vec::new() } else { read_features(&home, &beside, files) };
    let name = format!("{}-{}", driver.replace(' ', "_"), bus.suffix);
    Some(Chip { name, driver, adapter: bus.adapter, device, block, asleep, features })
}

fn read_features(home: &Path, beside: &Path, files: &mut DeadlineFiles) -> Vec<Feature> {
    let mut names: BTreeSet<(usize, u32, String, PathBuf)> = BTreeSet::new();
    for folder in [home, beside] {
        for path in sorted(folder) {
            let name = file_name(&path);
            if let Some((kind, number, _)) = split(&name)
                && names.len() < CHIPS.1
                && !names.iter().any(|(_, _, have, _)| *have == name)
            {
                names.insert((kind, number, name, path));
            }
        }
    }
    let mut features: BTreeMap<(usize, u32), Feature> = BTreeMap::new();
    for (kind, number, name, path) in names {
        let Some((_, _, attribute)) = split(&name) else { continue };
        let (word, divisor) = TYPES.get(kind).copied().unwrap_or(("", 1.0));
        let feature = features.entry((kind, number)).or_insert_with(|| {
            let name = format!("{word}{number}");
            Feature { label: name.clone(), name, values: BTreeMap::new() }
        });
        if attribute == "label" {
            if let Ok(label) = files.read(&path)
                && !label.is_empty()
            {
                feature.label = label;
            }
        } else if READ.contains(&attribute) || (attribute.is_empty() && word == "pwm") {
            let last = attribute.rsplit('_').next().unwrap_or(attribute);
            let divisor = if PLAIN.contains(&last) { 1.0 } else { divisor };
            let value = files.read(&path).and_then(|text| {
                let number: f64 = text.parse().map_err(|_| Fault::Other)?;
                if number.is_finite() { Ok(number / divisor) } else { Err(Fault::Other) }
            });
            feature.values.insert(name, value);
        }
    }
    features.into_values().filter(|feature| !feature.values.is_empty()).collect()
}

/// `temp12_crit_alarm` into its type, 12 and `crit_alarm`; `pwm1` has no third part.
fn split(name: &str) -> Option<(usize, u32, &str)> {
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    let (word, rest) = name.split_at_checked(digits)?;
    let kind = TYPES.iter().position(|(known, _)| *known == word)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at_checked(end)?;
    let attribute = if rest.is_empty() { "" } else { rest.strip_prefix('_')? };
    Some((kind, number.parse().ok()?, attribute))
}

/// Two chips of one name, two labels of one chip: both have to stay, under names of their own.
fn distinguish(chips: &mut [Chip]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for chip in chips {
        let count = seen.entry(chip.name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            chip.name = format!("{}#{count}", chip.name);
        }
        let labels: Vec<String> = chip.features.iter().map(|f| f.label.clone()).collect();
        for feature in &mut chip.features {
            if labels.iter().filter(|label| **label == feature.label).count() > 1 {
                feature.label = format!("{} ({})", feature.label, feature.name);
            }
        }
    }
}

/// What a folder holds, numbers in their order.
pub(super) fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).take(CHIPS.1 * 4).collect();
    let key = |path: &PathBuf| {
        let name = file_name(path);
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        (digits.parse::<u64>().unwrap_or(0), name)
    };
    paths.sort_by_cached_key(key);
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
pub(super) mod tests;
