//! Names of chips as libsensors makes them (`lib/sysfs.c`, `lib/data.c`): prefix-bus-address.

use std::path::Path;

/// A chip's bus and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bus {
    /// `isa-0000`, `pci-0100`, `i2c-0-4c`, `virtual-0`.
    pub(super) suffix: String,
    /// What `sensors` calls it.
    pub(super) adapter: String,
}

/// Parents looked at for a bus that has a name: NVMe's hwmon hangs on `nvme0`, which hangs on the
/// PCI device.
const PARENTS: usize = 4;

/// The bus of the device behind `hwmon`.
pub(super) fn bus(root: &Path, hwmon: &Path) -> Bus {
    let mut device = hwmon.join("device");
    for _ in 0..PARENTS {
        let Ok(real) = device.canonicalize() else { break };
        let name = file_name(&real);
        let subsystem = real.join("subsystem").canonicalize().map(|path| file_name(&path));
        if let Some(bus) = subsystem.ok().and_then(|bus| of(root, &bus, &name)) {
            return bus;
        }
        device = real.join("device");
    }
    Bus { suffix: "virtual-0".to_owned(), adapter: "Virtual device".to_owned() }
}

fn of(root: &Path, subsystem: &str, device: &str) -> Option<Bus> {
    let bus = |suffix: String, adapter: &str| Some(Bus { suffix, adapter: adapter.to_owned() });
    match subsystem {
        "i2c" => {
            let (number, address) = device.split_once('-')?;
            let number: u32 = number.parse().ok()?;
            let address = u32::from_str_radix(address, 16).ok()?;
            let name = root.join(format!("sys/class/i2c-adapter/i2c-{number}/name"));
            let adapter = std::fs::read_to_string(name).unwrap_or_default();
            let adapter = match adapter.trim() {
                "" => "I2C adapter",
                name => name,
            };
            bus(format!("i2c-{number}-{address:02x}"), adapter)
        }
        "pci" => {
            let (domain, rest) = device.split_once(':')?;
            let (number, rest) = rest.split_once(':')?;
            let (slot, function) = rest.split_once('.')?;
            let hex = |text: &str| u32::from_str_radix(text, 16).ok();
            let address =
                (hex(domain)? << 16) | (hex(number)? << 8) | (hex(slot)? << 3) | hex(function)?;
            bus(format!("pci-{address:04x}"), "PCI adapter")
        }
        "scsi" => {
            let mut parts = device.split(':').map(|part| part.parse::<u32>().ok());
            let (host, channel) = (parts.next()??, parts.next()??);
            let (target, lun) = (parts.next()??, parts.next()??);
            let address = (channel << 8) | (target << 4) | lun;
            bus(format!("scsi-{host}-{address:x}"), "SCSI adapter")
        }
        "hid" => {
            let (number, rest) = device.split_once(':')?;
            let number = u32::from_str_radix(number, 16).ok()?;
            let address = u32::from_str_radix(rest.rsplit('.').next()?, 16).ok()?;
            bus(format!("hid-{number}-{address:x}"), "HID adapter")
        }
        "acpi" => bus("acpi-0".to_owned(), "ACPI interface"),
        "mdio_bus" => bus("mdio-0".to_owned(), "MDIO adapter"),
        "platform" | "of_platform" => {
            let address = device.rsplit_once('.').and_then(|(_, n)| n.parse::<u32>().ok());
            bus(format!("isa-{:04x}", address.unwrap_or(0)), "ISA adapter")
        }
        _ => None,
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_those_of_libsensors() {
        let suffix = |bus: &str, device: &str| {
            of(Path::new("/nonexistent"), bus, device).map(|bus| bus.suffix)
        };
        for (bus, device, expected) in [
            ("platform", "coretemp.1", Some("isa-0001")),
            ("platform", "nct6775.656", Some("isa-0290")),
            ("platform", "thinkpad_hwmon", Some("isa-0000")),
            ("pci", "0000:01:00.0", Some("pci-0100")),
            ("pci", "0000:00:18.3", Some("pci-00c3")),
            ("pci", "0001:01:00.0", Some("pci-10100")),
            ("i2c", "1-0048", Some("i2c-1-48")),
            ("scsi", "2:0:0:0", Some("scsi-2-0")),
            ("acpi", "ACPI0000:00", Some("acpi-0")),
            ("nvme", "nvme0", None),
            ("pci", "garbage", None),
        ] {
            assert_eq!(suffix(bus, device).as_deref(), expected, "{bus} {device}");
        }
    }
}
