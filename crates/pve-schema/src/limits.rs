//! Every limit of this crate.

/// Largest API document that is read, in bytes; PVE 9.2's has 1.6 MB.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// Most nodes of a path tree; PVE 9.2 has 449.
pub const MAX_NODES: usize = 20_000;

/// Most compiled patterns kept for sharing between properties; further ones are compiled for
/// their property alone. PVE 9.2 has 72 distinct ones.
pub const MAX_PATTERNS: usize = 1_000;

/// Largest compiled pattern in bytes; a larger one never matches (fails closed).
pub const MAX_PATTERN_BYTES: usize = 10 << 20;

/// Highest index of an indexed parameter (`net[n]`); the API document does not say it. The
/// numbers are those of qemu-server, pve-container, pve-cluster and pve-manager.
#[must_use]
pub fn index_limit(name: &str) -> u16 {
    INDEX_LIMITS.iter().find(|(known, _)| *known == name).map_or(DEFAULT_INDEX_LIMIT, |(_, n)| *n)
}

/// For names that a newer release may bring.
const DEFAULT_INDEX_LIMIT: u16 = 255;

const INDEX_LIMITS: [(&str, u16); 17] = [
    ("acmedomain", 4),
    ("dev", 255),
    ("hostpci", 15),
    ("ide", 3),
    ("ipconfig", 31),
    ("link", 7),
    ("mp", 255),
    ("net", 31),
    ("numa", 7),
    ("parallel", 2),
    ("sata", 5),
    ("scsi", 30),
    ("serial", 3),
    ("unused", 255),
    ("usb", 13),
    ("virtio", 15),
    ("virtiofs", 9),
];
