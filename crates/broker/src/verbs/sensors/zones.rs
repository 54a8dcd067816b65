//! `/sys/class/thermal` and `/sys/class/powercap`: what boards without hwmon chips have.

use std::path::Path;

use super::deadline::DeadlineFiles;
use super::hwmon::sorted;
use crate::limits::CHIPS;

/// A thermal zone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Zone {
    /// `x86_pkg_temp`.
    pub(crate) kind: String,
    /// `thermal_zone0`.
    pub(crate) name: String,
    pub(crate) celsius: f64,
}

/// Every zone below `root` that has a temperature.
pub(crate) fn read_zones(root: &Path, files: &mut DeadlineFiles) -> Vec<Zone> {
    let zones = sorted(&root.join("sys/class/thermal")).into_iter().take(CHIPS.0);
    let zone = |path: std::path::PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        name.strip_prefix("thermal_zone")?;
        let kind = files.read(&path.join("type")).ok()?;
        let milli: f64 = files.read(&path.join("temp")).ok()?.parse().ok()?;
        milli.is_finite().then(|| Zone { kind, name, celsius: milli / 1e3 })
    };
    zones.filter_map(zone).collect()
}

/// A counter of the processor's energy (RAPL): readable by root alone since 2020, because it tells
/// programs about each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Energy {
    /// `intel-rapl:0`.
    pub(crate) key: String,
    /// `package-0`, `core`, `dram`.
    pub(crate) name: String,
    /// In microjoules; begins anew at `range`.
    pub(crate) microjoules: u64,
    pub(crate) range: Option<u64>,
}

/// Every counter below `root`. The interface through memory repeats the other one.
pub(crate) fn read_energy(root: &Path, files: &mut DeadlineFiles) -> Vec<Energy> {
    let found = sorted(&root.join("sys/class/powercap")).into_iter().take(CHIPS.0);
    let one = |path: std::path::PathBuf| {
        let key = path.file_name()?.to_str()?.to_owned();
        if !key.contains("-rapl:") || key.contains("-mmio:") {
            return None;
        }
        let name = files.read(&path.join("name")).ok()?;
        let microjoules = files.read(&path.join("energy_uj")).ok()?.parse().ok()?;
        let range = files.read(&path.join("max_energy_range_uj")).ok();
        Some(Energy { key, name, microjoules, range: range.and_then(|text| text.parse().ok()) })
    };
    found.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn counters_of_energy() {
        let root = tempfile::tempdir().unwrap();
        for (key, name, energy) in [
            ("intel-rapl", "", ""),
            ("intel-rapl:0", "package-0", "262143328850"),
            ("intel-rapl:0:0", "core", "not read"),
            ("intel-rapl-mmio:0", "package-0", "1"),
        ] {
            let zone = root.path().join("sys/class/powercap").join(key);
            std::fs::create_dir_all(&zone).unwrap();
            std::fs::write(zone.join("name"), name).unwrap();
            std::fs::write(zone.join("energy_uj"), energy).unwrap();
            std::fs::write(zone.join("max_energy_range_uj"), "262143328850").unwrap();
        }
        let mut files = DeadlineFiles::new(Duration::from_millis(200));
        let expected = Energy {
            key: "intel-rapl:0".into(),
            name: "package-0".into(),
            microjoules: 262_143_328_850,
            range: Some(262_143_328_850),
        };
        assert_eq!(read_energy(root.path(), &mut files), [expected]);
    }

    #[test]
    fn zones_in_millidegrees() {
        let root = tempfile::tempdir().unwrap();
        for (name, kind, temp) in [
            ("thermal_zone0", "cpu-thermal", "48312"),
            ("thermal_zone1", "x", ""),
            ("cooling_device0", "fan", "1"),
        ] {
            let zone = root.path().join("sys/class/thermal").join(name);
            std::fs::create_dir_all(&zone).unwrap();
            std::fs::write(zone.join("type"), kind).unwrap();
            std::fs::write(zone.join("temp"), temp).unwrap();
        }
        let mut files = DeadlineFiles::new(Duration::from_millis(200));
        let zones = read_zones(root.path(), &mut files);
        let expected =
            Zone { kind: "cpu-thermal".into(), name: "thermal_zone0".into(), celsius: 48.312 };
        assert_eq!(zones, [expected]);
    }
}
