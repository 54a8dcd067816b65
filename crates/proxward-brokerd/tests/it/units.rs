//! The units as they are shipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::program;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd")
}

fn unit(name: &str) -> String {
    std::fs::read_to_string(packaging().join(name)).unwrap()
}

/// Directives of pulse-sensor-proxy's unit in its repository, and those its changelog adds, as far
/// as they fit; what does not is told in the unit.
const DIRECTIVES: [&str; 34] = [
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "PrivateTmp=yes",
    "PrivateMounts=yes",
    "LockPersonality=yes",
    "RestrictSUIDSGID=yes",
    "RestrictNamespaces=yes",
    "RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_INET AF_INET6",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "KeyringMode=private",
    "AmbientCapabilities=",
    "UMask=0077",
    "DevicePolicy=closed",
    "NoExecPaths=/",
    "LimitCORE=0",
    // the five of its ninth fix
    "MemoryDenyWriteExecute=yes",
    "RestrictRealtime=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "SystemCallArchitectures=native",
    // more
    "Type=notify",
    "WatchdogSec=30s",
    "RemoveIPC=yes",
    "TasksMax=128",
    "MemoryMax=256M",
    "Restart=on-failure",
    "StateDirectoryMode=0700",
    "LogsDirectoryMode=0750",
];

#[test]
fn fix_9_the_shipped_unit_has_every_directive() {
    let text = unit("proxward-brokerd.service");
    for directive in DIRECTIVES {
        assert!(text.lines().any(|line| line == directive), "{directive}");
    }
    let bounding = text.lines().find(|line| line.starts_with("CapabilityBoundingSet=")).unwrap();
    for none in [
        "CAP_SYS_PTRACE",
        "CAP_SYS_MODULE",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SYS_BOOT",
        "CAP_DAC_READ_SEARCH",
        "CAP_SYS_CHROOT",
    ] {
        assert!(!bounding.contains(none), "{none}");
    }
    let socket = unit("proxward-brokerd.socket");
    assert!(socket.contains("RemoveOnStop=no") && socket.contains("FileDescriptorName=default"));
}

#[test]
fn systemd_takes_them_and_finds_little_exposed() {
    if !Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success())
    {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    }
    // The same units with the program where it is.
    let dir = tempfile::tempdir().unwrap();
    for name in ["proxward-brokerd.service", "proxward-brokerd.socket"] {
        let place = program().get_program().to_string_lossy().into_owned();
        let text = unit(name)
            .replace("ExecStart=/usr/sbin/proxward-brokerd", &format!("ExecStart={place}"));
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let analyze = |arguments: &[&str]| {
        let out = Command::new("systemd-analyze")
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (fine, text) =
        analyze(&["verify", "./proxward-brokerd.service", "./proxward-brokerd.socket"]);
    let about_ours: Vec<&str> = text.lines().filter(|line| line.contains("proxward")).collect();
    assert!(fine && about_ours.is_empty(), "{text}");
    let (fine, text) =
        analyze(&["security", "--offline=true", "--threshold=40", "./proxward-brokerd.service"]);
    assert!(fine, "{text}");
}
