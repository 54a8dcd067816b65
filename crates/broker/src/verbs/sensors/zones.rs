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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
