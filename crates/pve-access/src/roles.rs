//! The predefined roles.
//!
//! One row per privilege, with the releases that know it and the roles that hold it. No role
//! differs between the releases in anything but privileges that one of them does not have.
//! Facts of `PVE::AccessControl` in 9.x and of an 8.4 server's answer to `GET /access/roles`.

use pve_formats::user_cfg::Vocabulary;

use crate::{Privileges, Release};

/// The role that holds every privilege of its release.
pub const ADMINISTRATOR_ROLE: &str = "Administrator";

/// The role that takes every other one away.
pub const NO_ACCESS_ROLE: &str = "NoAccess";

/// The predefined roles of the release with their privileges, sorted by name.
pub fn predefined(release: Release) -> impl Iterator<Item = (&'static str, Privileges)> {
    NAMES.into_iter().enumerate().map(move |(bit, name)| (name, held(release, 1 << bit)))
}

/// Whether the role is predefined, in any release.
pub fn is_predefined(name: &str) -> bool {
    NAMES.binary_search(&name).is_ok()
}

/// All privileges of the release.
pub fn privileges(release: Release) -> Privileges {
    held(release, ADMINISTRATOR)
}

/// What a `user.cfg` of the release may name.
pub fn vocabulary(release: Release) -> Vocabulary {
    Vocabulary {
        is_privilege: match release {
            Release::V8 => |name| knows(V8, name),
            Release::V9 => |name| knows(V9, name),
        },
        is_predefined_role: is_predefined,
    }
}

/// Names of the predefined roles, sorted. The position is the bit in `Row::roles`.
const NAMES: [&str; 17] = [
    "Administrator",
    "NoAccess",
    "PVEAdmin",
    "PVEAuditor",
    "PVEDatastoreAdmin",
    "PVEDatastoreUser",
    "PVEMappingAdmin",
    "PVEMappingUser",
    "PVEPoolAdmin",
    "PVEPoolUser",
    "PVESDNAdmin",
    "PVESDNUser",
    "PVESysAdmin",
    "PVETemplateUser",
    "PVEUserAdmin",
    "PVEVMAdmin",
    "PVEVMUser",
];

/// Holds every privilege, so the rows do not repeat it.
const ADMINISTRATOR: u32 = 1 << 0;
const ADMIN: u32 = 1 << 2;
const AUDITOR: u32 = 1 << 3;
const DATASTORE_ADMIN: u32 = 1 << 4;
const DATASTORE_USER: u32 = 1 << 5;
const MAPPING_ADMIN: u32 = 1 << 6;
const MAPPING_USER: u32 = 1 << 7;
const POOL_ADMIN: u32 = 1 << 8;
const POOL_USER: u32 = 1 << 9;
const SDN_ADMIN: u32 = 1 << 10;
const SDN_USER: u32 = 1 << 11;
const SYS_ADMIN: u32 = 1 << 12;
const TEMPLATE_USER: u32 = 1 << 13;
const USER_ADMIN: u32 = 1 << 14;
const VM_ADMIN: u32 = 1 << 15;
const VM_USER: u32 = 1 << 16;

const V8: u8 = 1;
const V9: u8 = 2;
const BOTH: u8 = V8 | V9;

/// A privilege.
struct Row {
    name: &'static str,
    releases: u8,
    roles: u32,
}

/// Sorted by name. The position is the bit in [`Privileges`].
#[rustfmt::skip]
const ROWS: [Row; 48] = [
    row("Datastore.Allocate", BOTH, ADMIN | DATASTORE_ADMIN),
    row("Datastore.AllocateSpace", BOTH, ADMIN | DATASTORE_ADMIN | DATASTORE_USER),
    row("Datastore.AllocateTemplate", BOTH, ADMIN | DATASTORE_ADMIN),
    row("Datastore.Audit", BOTH, ADMIN | AUDITOR | DATASTORE_ADMIN | DATASTORE_USER),
    row("Group.Allocate", BOTH, ADMIN | USER_ADMIN),
    row("Mapping.Audit", BOTH, ADMIN | AUDITOR | MAPPING_ADMIN | MAPPING_USER),
    row("Mapping.Modify", BOTH, MAPPING_ADMIN),
    row("Mapping.Use", BOTH, ADMIN | MAPPING_ADMIN | MAPPING_USER),
    row("Permissions.Modify", BOTH, 0),
    row("Pool.Allocate", BOTH, ADMIN | POOL_ADMIN),
    row("Pool.Audit", BOTH, ADMIN | AUDITOR | POOL_ADMIN | POOL_USER),
    row("Realm.Allocate", BOTH, 0),
    row("Realm.AllocateUser", BOTH, ADMIN | USER_ADMIN),
    row("SDN.Allocate", BOTH, ADMIN | SDN_ADMIN),
    row("SDN.Audit", BOTH, ADMIN | AUDITOR | SDN_ADMIN | SDN_USER),
    row("SDN.Use", BOTH, ADMIN | SDN_ADMIN | SDN_USER),
    row("Sys.AccessNetwork", BOTH, 0),
    row("Sys.Audit", BOTH, ADMIN | AUDITOR | SYS_ADMIN),
    row("Sys.Console", BOTH, ADMIN | SYS_ADMIN),
    row("Sys.Incoming", BOTH, 0),
    row("Sys.Modify", BOTH, 0),
    row("Sys.PowerMgmt", BOTH, 0),
    row("Sys.Syslog", BOTH, ADMIN | SYS_ADMIN),
    row("User.Modify", BOTH, ADMIN | USER_ADMIN),
    row("VM.Allocate", BOTH, ADMIN | VM_ADMIN),
    row("VM.Audit", BOTH, ADMIN | AUDITOR | TEMPLATE_USER | VM_ADMIN | VM_USER),
    row("VM.Backup", BOTH, ADMIN | VM_ADMIN | VM_USER),
    row("VM.Clone", BOTH, ADMIN | TEMPLATE_USER | VM_ADMIN),
    row("VM.Config.CDROM", BOTH, ADMIN | VM_ADMIN | VM_USER),
    row("VM.Config.CPU", BOTH, ADMIN | VM_ADMIN),
    row("VM.Config.Cloudinit", BOTH, ADMIN | VM_ADMIN | VM_USER),
    row("VM.Config.Disk", BOTH, ADMIN | VM_ADMIN),
    row("VM.Config.HWType", BOTH, ADMIN | VM_ADMIN),
    row("VM.Config.Memory", BOTH, ADMIN | VM_ADMIN),
    row("VM.Config.Network", BOTH, ADMIN | VM_ADMIN),
    row("VM.Config.Options", BOTH, ADMIN | VM_ADMIN),
    row("VM.Console", BOTH, ADMIN | VM_ADMIN | VM_USER),
    row("VM.GuestAgent.Audit", V9, ADMIN | AUDITOR | VM_ADMIN | VM_USER),
    row("VM.GuestAgent.FileRead", V9, ADMIN | VM_ADMIN | VM_USER),
    row("VM.GuestAgent.FileSystemMgmt", V9, ADMIN | VM_ADMIN | VM_USER),
    row("VM.GuestAgent.FileWrite", V9, ADMIN | VM_ADMIN | VM_USER),
    row("VM.GuestAgent.Unrestricted", V9, ADMIN | VM_ADMIN),
    row("VM.Migrate", BOTH, ADMIN | VM_ADMIN),
    row("VM.Monitor", V8, ADMIN | VM_ADMIN),
    row("VM.PowerMgmt", BOTH, ADMIN | VM_ADMIN | VM_USER),
    row("VM.Replicate", V9, ADMIN | VM_ADMIN),
    row("VM.Snapshot", BOTH, ADMIN | VM_ADMIN),
    row("VM.Snapshot.Rollback", BOTH, ADMIN | VM_ADMIN),
];

const fn row(name: &'static str, releases: u8, roles: u32) -> Row {
    Row { name, releases, roles: roles | ADMINISTRATOR }
}

/// Position of a privilege.
pub(crate) fn number(name: &str) -> Option<u8> {
    let at = ROWS.binary_search_by(|row| row.name.cmp(name)).ok()?;
    u8::try_from(at).ok()
}

/// Name of the privilege at a position.
pub(crate) fn name(number: u8) -> &'static str {
    ROWS.get(usize::from(number)).map_or("", |row| row.name)
}

fn held(release: Release, role: u32) -> Privileges {
    let bit = release_bit(release);
    let holds = |row: &Row| row.releases & bit != 0 && row.roles & role != 0;
    let bits = ROWS.iter().rev().fold(0, |bits, row| bits << 1 | u64::from(holds(row)));
    Privileges::from_bits(bits)
}

fn knows(release: u8, name: &str) -> bool {
    let row = number(name).and_then(|number| ROWS.get(usize::from(number)));
    row.is_some_and(|row| row.releases & release != 0)
}

fn release_bit(release: Release) -> u8 {
    match release {
        Release::V8 => V8,
        Release::V9 => V9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_for_the_search() {
        assert!(NAMES.is_sorted());
        assert!(ROWS.is_sorted_by_key(|row| row.name));
    }

    #[test]
    fn counts_are_those_of_the_releases() {
        assert_eq!(privileges(Release::V8).iter().count(), 42);
        assert_eq!(privileges(Release::V9).iter().count(), 47);
        let no_access = predefined(Release::V9).find(|(name, _)| *name == NO_ACCESS_ROLE);
        assert_eq!(no_access, Some((NO_ACCESS_ROLE, Privileges::EMPTY)));
    }

    #[test]
    fn every_role_but_no_access_holds_something() {
        for release in [Release::V8, Release::V9] {
            let empty = predefined(release).filter(|(_, privileges)| privileges.is_empty());
            assert_eq!(empty.map(|(name, _)| name).collect::<Vec<_>>(), [NO_ACCESS_ROLE]);
        }
    }

    #[test]
    fn vocabularies_differ_by_release() {
        let (v8, v9) = (vocabulary(Release::V8), vocabulary(Release::V9));
        assert!((v8.is_privilege)("VM.Monitor") && !(v9.is_privilege)("VM.Monitor"));
        assert!(!(v8.is_privilege)("VM.Replicate") && (v9.is_privilege)("VM.Replicate"));
        assert!((v8.is_predefined_role)("PVEAdmin") && !(v8.is_predefined_role)("pveadmin"));
    }
}
