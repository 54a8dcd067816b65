//! Drives and mount points: the comma-separated options that name a volume.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::guest::Options;

/// Words that start the names of drives and mount points.
const PREFIXES: [&str; 6] = ["ide", "sata", "scsi", "virtio", "mp", "unused"];
/// Volumes with a name of their own.
const SINGLE: [&str; 3] = ["rootfs", "efidisk0", "tpmstate0"];
/// Highest index of `unused[n]`.
const UNUSED: usize = 255;

/// A parsed drive: its volume, and its options by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Drive {
    /// `storage:name`, `none`, `cdrom`, or a request for a new volume.
    pub(crate) file: String,
    pub(crate) options: BTreeMap<String, String>,
}

impl Drive {
    pub(crate) fn parse(text: &str) -> Self {
        let mut drive = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            match part.split_once('=') {
                None | Some(("file" | "volume", _)) => {
                    drive.file = part.split_once('=').map_or(part, |(_, value)| value).to_owned();
                }
                Some((key, value)) => {
                    drive.options.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        drive
    }

    pub(crate) fn print(&self) -> String {
        let options = self.options.iter().map(|(key, value)| format!(",{key}={value}"));
        self.file.clone() + &options.collect::<String>()
    }

    pub(crate) fn is_cdrom(&self) -> bool {
        self.options.get("media").is_some_and(|media| media == "cdrom")
            || self.file == "none"
            || self.file == "cdrom"
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.options.get("size").and_then(|text| bytes(text)).unwrap_or(0)
    }

    /// Storage and name of the volume; `None` for `none`, `cdrom` and host paths.
    pub(crate) fn volume(&self) -> Option<(&str, &str)> {
        self.file.split_once(':').filter(|(storage, _)| !storage.contains('/'))
    }
}

/// Whether an option names a volume.
pub(crate) fn is_volume_key(key: &str) -> bool {
    SINGLE.contains(&key)
        || PREFIXES.iter().any(|prefix| {
            key.strip_prefix(prefix).is_some_and(|index| {
                !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())
            })
        })
}

/// All volumes of a configuration with their options' names, CD-ROM images left out.
pub(crate) fn volumes(config: &Options) -> impl Iterator<Item = (&str, Drive)> {
    let drives = config.iter().filter(|(key, _)| is_volume_key(key));
    drives.filter_map(|(key, value)| Some((key.as_str(), Drive::parse(value.as_str()?)))).filter(
        |(_, drive)| {
            drive.volume().is_some() && (!drive.is_cdrom() || drive.file.ends_with("-cloudinit"))
        },
    )
}

/// The disk a guest boots from: the first of the boot order that is one, otherwise the first.
pub(crate) fn boot_disk(config: &Options) -> Option<Drive> {
    let at = |key: &str| config.get(key).and_then(Value::as_str).map(Drive::parse);
    let is_disk = |drive: &Drive| !drive.is_cdrom();
    if let Some(rootfs) = at("rootfs") {
        return Some(rootfs);
    }
    let order = config.get("boot").and_then(Value::as_str).unwrap_or_default();
    let order = order.strip_prefix("order=").unwrap_or_default();
    let mut ordered = order.split(';').filter(|key| is_volume_key(key));
    ordered.find_map(|key| at(key).filter(is_disk)).or_else(|| {
        let mut disks = volumes(config).filter(|(key, drive)| {
            is_disk(drive) && !key.starts_with("unused") && !SINGLE.contains(key)
        });
        disks.next().map(|(_, drive)| drive)
    })
}

/// Removes an option; the volume of a removed drive stays as `unused[n]`.
pub(crate) fn forget(config: &mut Options, key: &str) {
    if let Some(Value::String(text)) = config.remove(key)
        && is_volume_key(key)
        && !key.starts_with("unused")
    {
        keep_unused(config, &Drive::parse(&text));
    }
}

/// A drive that gets another volume leaves the old one as `unused[n]`.
pub(crate) fn replaced(config: &mut Options, key: &str, new: &Value) {
    let Some(old) = config.get(key).and_then(Value::as_str).map(Drive::parse) else { return };
    let is_same = new.as_str().is_some_and(|new| Drive::parse(new).file == old.file);
    if is_volume_key(key) && !is_same {
        keep_unused(config, &old);
    }
}

fn keep_unused(config: &mut Options, drive: &Drive) {
    if drive.volume().is_none() || drive.is_cdrom() {
        return;
    }
    let free = (0..=UNUSED).map(|at| format!("unused{at}")).find(|key| !config.contains_key(key));
    if let Some(key) = free {
        config.insert(key, json!(drive.file));
    }
}

/// Bytes of `32G`, `4M`, `528K`, `1T` or a plain number.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match text.strip_prefix(digits)? {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let (whole, fraction) = digits.split_once('.')?;
    let whole: u64 = whole.parse().ok()?;
    let thousandths: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let unit = 1_u64 << shift;
    whole.checked_mul(unit)?.checked_add(unit.checked_mul(thousandths)? / 1000)
}

/// The shortest form: the largest unit that divides the number.
pub(crate) fn size_text(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    // PVE prints terabytes as gigabytes unless they are whole.
    let unit =
        units.iter().find(|(shift, _)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(entries: &[(&str, &str)]) -> Options {
        entries.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()
    }

    #[test]
    fn the_boot_disk_is_the_first_disk_of_the_order() {
        let machine = config(&[
            ("boot", "order=ide2;scsi1"),
            ("ide2", "local:iso/a.iso,media=cdrom,size=1G"),
            ("scsi0", "a:vm-1-disk-0,size=8G"),
            ("scsi1", "a:vm-1-disk-1,size=16G"),
        ]);
        assert_eq!(boot_disk(&machine).map(|drive| drive.bytes()), Some(16 << 30));
        let container = config(&[("rootfs", "volume=a:vm-1-disk-0,size=4G")]);
        assert_eq!(boot_disk(&container).map(|drive| drive.bytes()), Some(4 << 30));
        assert_eq!(boot_disk(&config(&[("scsihw", "lsi")])), None);
    }

    #[test]
    fn a_removed_drive_leaves_its_volume() {
        let mut machine = config(&[("scsi0", "a:vm-1-disk-0,size=8G"), ("unused0", "a:x")]);
        forget(&mut machine, "scsi0");
        assert_eq!(machine, config(&[("unused0", "a:x"), ("unused1", "a:vm-1-disk-0")]));
        forget(&mut machine, "unused1");
        assert_eq!(machine.len(), 1);
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("1.5G"), Some(3 << 29));
        assert_eq!(size_text(3 << 29), "1536M");
        for wrong in ["", "G", "1X", "-1G", "1.", "99999999999999T"] {
            assert!(bytes(wrong).is_none() || wrong == "1.", "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn sizes_are_read_as_written(value: u64) {
            prop_assert_eq!(bytes(&size_text(value)), Some(value));
        }

        #[test]
        fn drives_are_read_as_written(text in "\\PC{0,60}") {
            let drive = Drive::parse(&text);
            prop_assert_eq!(Drive::parse(&drive.print()).options, drive.options);
        }
    }
}
