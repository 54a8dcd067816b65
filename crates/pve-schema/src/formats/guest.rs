//! Guests: drives, processors, container devices. Sources: qemu-server, pve-container.

use super::{Row, require, split_list};
use crate::limits::index_limit;
use crate::value::chomp;

pub(super) static FORMATS: [Row; 10] = [
    Row::code("pve-qm-bootdisk", |value| {
        require(is_drive(value), &format!("invalid boot disk '{value}'"))
    }),
    Row::code("pve-qm-bootdev", |value| {
        let device = ["net", "usb", "hostpci"].iter().any(|name| is_indexed(value, name));
        require(device || is_drive(value), &format!("invalid boot device '{value}'"))
    }),
    Row::code("pve-hotplug-features", |value| {
        let features = if value == "0" || value == "1" { Vec::new() } else { split_list(value) };
        match features.into_iter().find(|feature| !HOTPLUG.contains(feature)) {
            Some(feature) => Err(format!("invalid hotplug feature '{feature}'\n")),
            None => Ok(()),
        }
    }),
    Row::code("pve-cpuset", |value| require(is_cpuset(value), "unable to parse cpuset option")),
    Row::code("pve-phys-bits", |value| {
        let value = chomp(value);
        let bits = value.len() <= 2 && value.bytes().all(|b| b.is_ascii_digit());
        let bits = value.parse::<u8>().is_ok_and(|n| bits && (8..=64).contains(&n));
        require(bits || value == "host", "value must be an integer between 8 and 64 or 'host'")
    }),
    Row::code("pve-startup-order", |value| {
        require(is_startup_order(value), "unable to parse startup options")
    }),
    Row::code("pve-lxc-mp-string", |path| {
        let illegal = has_dot_component(path) || path.starts_with("../");
        require(!illegal, &format!("{path} contains illegal character sequences"))
    }),
    Row::code("pve-lxc-dev-string", |path| {
        let lawful = path.starts_with("/dev/") && !has_dot_component(path);
        require(lawful, &format!("{path} is not a valid device path"))
    }),
    Row::code("pve-ct-timezone", |zone| if zone == "host" { Ok(()) } else { time_zone(zone) }),
    Row::code("timezone", time_zone),
];

const HOTPLUG: [&str; 6] = ["network", "disk", "cpu", "memory", "usb", "cloudinit"];
const DRIVES: [&str; 4] = ["ide", "scsi", "virtio", "sata"];

fn is_drive(value: &str) -> bool {
    matches!(value, "efidisk0" | "tpmstate0") || DRIVES.iter().any(|bus| is_indexed(value, bus))
}

fn is_indexed(value: &str, name: &str) -> bool {
    let index = value.strip_prefix(name).and_then(|index| {
        let number: u16 = index.parse().ok()?;
        (number.to_string() == index).then_some(number)
    });
    index.is_some_and(|index| index <= index_limit(name))
}

/// `0-3,8`
fn is_cpuset(value: &str) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits)
    };
    value.trim_end_matches(',').split(',').filter(|_| !value.is_empty()).all(|part| {
        match part.trim().split_once('-') {
            Some((from, to)) => {
                matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to)
            }
            None => number(part.trim()).is_some(),
        }
    })
}

/// `[[order=]N][,up=N][,down=N]`
fn is_startup_order(value: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_part = |part: &str| {
        let part = chomp(part);
        let number = ["order=", "up=", "down="].iter().find_map(|key| part.strip_prefix(key));
        is_number(number.unwrap_or(part))
    };
    !matches!(value, "" | "0") && value.split(',').filter(|p| !p.trim().is_empty()).all(is_part)
}

/// `/./`, `/../`, and both at the end.
fn has_dot_component(path: &str) -> bool {
    chomp(path).split('/').skip(1).any(|name| name == "." || name == "..")
}

/// PVE looks the zone up in zone.tab; here its shape decides.
fn time_zone(zone: &str) -> Result<(), String> {
    static SHAPE: Row = Row::pattern("", r"[A-Z][A-Za-z_]+(?:/[A-Za-z0-9_+\-]+){1,2}", "");
    let known = zone == "UTC" || SHAPE.check(zone).is_ok();
    require(known, &format!("invalid time zone '{zone}'"))
}

#[cfg(test)]
mod tests {
    use super::super::check_named as check;

    #[test]
    fn lawful_values_pass() {
        for (format, value) in [
            ("pve-qm-bootdisk", "scsi30"),
            ("pve-qm-bootdev", "net0"),
            ("pve-hotplug-features", "network,disk;usb"),
            ("pve-hotplug-features", "1"),
            ("pve-cpuset", "0-3, 8"),
            ("pve-phys-bits", "host"),
            ("pve-phys-bits", "64"),
            ("pve-startup-order", "3"),
            ("pve-startup-order", "order=3,up=10, ,down=5"),
            ("pve-lxc-mp-string", "/mnt/.hidden"),
            ("pve-lxc-dev-string", "/dev/fuse"),
            ("pve-ct-timezone", "Europe/Berlin"),
            ("pve-ct-timezone", "host"),
        ] {
            assert_eq!(check(format, value), Ok(()), "{format} {value}");
        }
    }

    #[test]
    fn messages_are_pves() {
        for (format, value, message) in [
            ("pve-qm-bootdisk", "scsi31", "invalid boot disk 'scsi31'\n"),
            ("pve-qm-bootdisk", "scsi01", "invalid boot disk 'scsi01'\n"),
            ("pve-qm-bootdev", "foo0", "invalid boot device 'foo0'\n"),
            ("pve-hotplug-features", "disk,foo", "invalid hotplug feature 'foo'\n"),
            ("pve-cpuset", "3-1", "unable to parse cpuset option\n"),
            ("pve-phys-bits", "7", "value must be an integer between 8 and 64 or 'host'\n"),
            ("pve-startup-order", "up=x", "unable to parse startup options\n"),
            ("pve-lxc-mp-string", "/a/../b", "/a/../b contains illegal character sequences\n"),
            ("pve-lxc-dev-string", "/etc", "/etc is not a valid device path\n"),
            ("timezone", "Mars", "invalid time zone 'Mars'\n"),
        ] {
            assert_eq!(check(format, value).unwrap_err(), message);
        }
    }
}
