//! Who may set which option of a guest.

use super::Call;
use crate::api::sdn;
use crate::failure::Failure;
use crate::seed::GuestKind;
use crate::state::Options;

/// Privileges by option of virtual machines (`$check_vm_modify_config_perm`); names ending in
/// `*` stand for all that start so. Options in no row are root's alone.
const QEMU: [(&str, &[&str]); 9] = [
    (
        "VM.Config.CPU",
        &["cores", "cpu", "cpulimit", "cpuunits", "affinity", "numa*", "smp", "sockets", "vcpus"],
    ),
    ("VM.Config.Memory", &["memory", "balloon", "shares", "allow-ksm"]),
    (
        "VM.Config.HWType",
        &[
            "acpi", "arch", "hotplug", "kvm", "machine", "scsihw", "smbios1", "tablet", "vga",
            "watchdog", "audio0", "rng0", "vmgenid",
        ],
    ),
    (
        "VM.Config.Options",
        &[
            "agent",
            "autostart",
            "bios",
            "description",
            "keyboard",
            "localtime",
            "migrate_downtime",
            "migrate_speed",
            "name",
            "onboot",
            "ostype",
            "protection",
            "reboot",
            "startdate",
            "startup",
            "tdf",
            "template",
            "tags",
            "spice_enhancements",
        ],
    ),
    ("VM.PowerMgmt", &["freeze"]),
    (
        "VM.Config.Disk",
        &[
            "boot",
            "bootdisk",
            "vmstatestorage",
            "ide*",
            "sata*",
            "scsi*",
            "virtio*",
            "efidisk0",
            "tpmstate0",
            "unused*",
            "cdrom",
        ],
    ),
    ("VM.Config.Network", &["net*", "ipconfig*"]),
    (
        "VM.Config.Cloudinit",
        &[
            "cicustom",
            "cipassword",
            "citype",
            "ciupgrade",
            "ciuser",
            "nameserver",
            "searchdomain",
            "sshkeys",
        ],
    ),
    ("VM.Config.HWType", &["serial*", "usb*"]),
];

/// Privileges by option of containers (`check_ct_modify_config_perm`).
const LXC: [(&str, &[&str]); 5] = [
    ("VM.Config.Disk", &["rootfs", "mp*", "unused*"]),
    ("VM.Config.CPU", &["cores", "cpulimit", "cpuunits"]),
    ("VM.Config.Memory", &["memory", "swap"]),
    ("VM.Config.Network", &["net*", "nameserver", "searchdomain", "hostname"]),
    (
        "VM.Config.Options",
        &[
            "arch",
            "cmode",
            "console",
            "description",
            "dev*",
            "entrypoint",
            "env",
            "features",
            "onboot",
            "ostype",
            "protection",
            "startup",
            "tags",
            "template",
            "timezone",
            "tty",
            "unprivileged",
            "debug",
        ],
    ),
];

/// Refuses when the caller may not change one of the options.
pub(super) fn permitted<'k>(
    call: &Call<'_>,
    vmid: u32,
    kind: GuestKind,
    pool: Option<&str>,
    keys: impl IntoIterator<Item = &'k str>,
) -> Result<(), Failure> {
    if call.caller.id() == "root@pam" {
        return Ok(());
    }
    let table: &[(&str, &[&str])] = if kind == GuestKind::Qemu { &QEMU } else { &LXC };
    let path = format!("/vms/{vmid}");
    let in_pool = pool.map(|pool| format!("/pool/{pool}"));
    for key in keys {
        let mut rows = table.iter().filter(|(_, names)| names.iter().any(|name| fits(name, key)));
        let Some((privilege, _)) = rows.next() else {
            return Err(Failure::die(format!("only root can set '{key}' config")));
        };
        if in_pool.as_ref().is_none_or(|pool| !call.may(pool, &[*privilege])) {
            call.needs(&path, privilege)?;
        }
        if key == "startup" {
            call.needs("/", "Sys.Modify")?;
        }
    }
    Ok(())
}

/// Refuses when the caller may not use one of the bridges that network cards name.
pub(super) fn bridges(call: &Call<'_>, config: &Options) -> Result<(), Failure> {
    if call.caller.id() == "root@pam" {
        return Ok(());
    }
    let cards = config.iter().filter(|(key, _)| fits("net*", key));
    for text in cards.filter_map(|(_, value)| value.as_str()) {
        let part = |name: &str| {
            let mut parts = text.split(',').filter_map(|part| part.split_once('='));
            parts.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        if let Some(bridge) = part("bridge") {
            sdn::needs_bridge(call, bridge, part("tag"))?;
        }
    }
    Ok(())
}

/// `net*` fits `net0`.
pub(super) fn fits(name: &str, key: &str) -> bool {
    match name.strip_suffix('*') {
        Some(prefix) => key.strip_prefix(prefix).is_some_and(|index| {
            index.bytes().all(|byte| byte.is_ascii_digit())
                && (prefix == "numa" || !index.is_empty())
        }),
        None => name == key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_an_index_fit_their_row() {
        assert!(fits("net*", "net0") && !fits("net*", "net") && !fits("net*", "network"));
        assert!(fits("numa*", "numa") && fits("numa*", "numa1"));
    }

    #[test]
    fn every_option_of_a_row_is_a_parameter() {
        let schema = pve_schema::Schema::v9();
        let rows = [("/nodes/{node}/qemu", &QEMU[..]), ("/nodes/{node}/lxc", &LXC[..])];
        for (path, table) in rows {
            let found = schema.find(&path.replace("{node}", "n")).unwrap();
            let method = found.method(pve_schema::Verb::Post).unwrap();
            for name in table.iter().flat_map(|(_, names)| names.iter()) {
                let key = name.replace('*', "0");
                let known = method.parameters().property(&key).is_some();
                assert!(known, "{path} {name}");
            }
        }
    }
}
