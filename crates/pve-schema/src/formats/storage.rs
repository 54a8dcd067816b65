//! Volumes, paths, content types. Sources: PVE::Storage::Plugin, PVE::QemuServer, PVE::JSONSchema.

use super::{Row, check_named, require};
use crate::value::chomp;

pub(super) static FORMATS: [Row; 12] = [
    // The bracket expression is a prefix: what follows the first characters is not looked at.
    Row::pattern(
        "pve-storage-path",
        r"/[^;()]+(?s:.*)",
        "value does not look like a valid absolute path",
    ),
    Row::pattern(
        "pve-storage-path-in-property-string",
        r"/[^;,=()]+(?s:.*)",
        "Value does not look like a valid absolute path. These symbols are currently not allowed in path: ;,=()",
    ),
    Row::pattern(
        "pve-storage-vgname",
        r"(?i:[a-z0-9][a-z0-9\-_.]*[a-z0-9])",
        "lvm name '{}' contains illegal characters",
    ),
    Row::pattern("pve-storage-options", r"\S+", "invalid options '{}'"),
    Row::code("pve-storage-content", content),
    Row::pattern("pve-storage-format", "(?:raw|qcow2|vmdk|subvol)", "invalid format '{}'"),
    Row::pattern("pve-volume-id", VOLUME_ID, "unable to parse volume ID '{}'"),
    Row::code("pve-volume-id-or-absolute-path", volume_or_path),
    Row::code("pve-volume-id-or-qm-path", |value| match value {
        "none" | "cdrom" => Ok(()),
        other => volume_or_path(other),
    }),
    Row::code("pve-dir-override", dir_override),
    Row::code("pve-storage-zfs-blocksize", zfs_blocksize),
    Row::pattern(
        "disk-size",
        r"\d+(?:\.\d+)?[KMGT]?",
        "value does not look like a valid disk size: {}",
    ),
];

const VOLUME_ID: &str = r"(?i:[a-z][a-z0-9\-_.]*[a-z0-9]):.+";

const CONTENT: [&str; 8] =
    ["backup", "images", "import", "iso", "none", "rootdir", "snippets", "vztmpl"];

/// Most characters of a relative path, and of one of its names.
const OVERRIDE_PATH: usize = 1023;
const OVERRIDE_NAME: usize = 255;

fn content(kind: &str) -> Result<(), String> {
    require(CONTENT.contains(&kind), &format!("invalid content type '{kind}'"))
}

/// "a power of 2 with optional k or m suffix", as the schema describes it. PVE's own text of the
/// refusal is not published with it.
fn zfs_blocksize(value: &str) -> Result<(), String> {
    let digits = value.strip_suffix(['k', 'K', 'm', 'M']).unwrap_or(value);
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let lawful = all_digits && digits.parse::<u64>().is_ok_and(u64::is_power_of_two);
    require(lawful, "value does not look like a valid ZFS block size")
}

fn volume_or_path(value: &str) -> Result<(), String> {
    if value.starts_with('/') { Ok(()) } else { check_named("pve-volume-id", value) }
}

/// `CONTENT=relative/path` without `..`
fn dir_override(value: &str) -> Result<(), String> {
    static SHAPE: Row = Row::pattern("", r"[a-z]+=[^.]*(?:\.?[^.]+)+", "");
    let parts = chomp(value).split_once('=').filter(|_| SHAPE.check(value).is_ok());
    let Some((kind, path)) = parts else {
        return Err(format!("invalid override '{value}'\n"));
    };
    content(kind)?;
    let short = path.chars().count() < OVERRIDE_PATH
        && path.split('/').all(|name| name.chars().count() < OVERRIDE_NAME);
    require(short, &format!("invalid override '{value}'"))
}

#[cfg(test)]
mod tests {
    use super::super::check_named as check;

    #[test]
    fn lawful_values_pass() {
        for (format, value) in [
            ("pve-storage-path", "/mnt/pve/x"),
            ("pve-volume-id", "local:iso/debian.iso"),
            ("pve-volume-id-or-qm-path", "none"),
            ("pve-volume-id-or-qm-path", "/dev/sdb"),
            ("pve-dir-override", "iso=template/my.iso"),
            ("disk-size", "10G"),
            ("disk-size", "1.5T"),
            ("pve-storage-content", "vztmpl"),
        ] {
            assert_eq!(check(format, value), Ok(()), "{format} {value}");
        }
    }

    #[test]
    fn messages_are_pves() {
        for (format, value, message) in [
            ("pve-storage-content", "bogus", "invalid content type 'bogus'\n"),
            ("pve-storage-path", "x", "value does not look like a valid absolute path\n"),
            ("pve-storage-path", "/;", "value does not look like a valid absolute path\n"),
            ("pve-volume-id-or-qm-path", "x", "unable to parse volume ID 'x'\n"),
            ("pve-dir-override", "iso=../x", "invalid override 'iso=../x'\n"),
            ("pve-dir-override", "foo=x", "invalid content type 'foo'\n"),
            ("disk-size", "10 G", "value does not look like a valid disk size: 10 G\n"),
        ] {
            assert_eq!(check(format, value).unwrap_err(), message);
        }
    }
}
