//! Workers: one process for each kind of work that needs rights, started when first needed.
//!
//! A worker gets packets from the process with the sockets, which has decided already; it checks
//! parameters again only where a wrong one would reach beyond its own confinement. The table in
//! [`WorkerKind::confinement`] says all it can do.

mod done;
mod link;
mod run;

pub(crate) use done::Done;
pub(crate) use link::{Launcher, Link, Links};
pub(crate) use run::{WorkerError, run};

use std::path::Path;

use process::confine::Reach;
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use crate::config::Settings;
use crate::confine::{Calls, Confinement, paths};

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkerKind {
    /// Files of `/sys`, `/proc` and the cluster.
    Reader,
    /// Disks and the baseboard controller.
    Devices,
    /// Bans.
    Nft,
    /// Files below declared roots.
    Files,
    /// Declared commands.
    Commands,
    /// Declared cells.
    Cells,
    /// Other nodes.
    Ssh,
}

impl WorkerKind {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Reader,
        Self::Devices,
        Self::Nft,
        Self::Files,
        Self::Commands,
        Self::Cells,
        Self::Ssh,
    ];

    /// The word on the command line and in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Devices => "devices",
            Self::Nft => "nft",
            Self::Files => "files",
            Self::Commands => "commands",
            Self::Cells => "cells",
            Self::Ssh => "ssh",
        }
    }

    /// The kind of this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What it may still do. Commands and ssh may execute, and only what is listed: the programs,
    /// the loader and libraries.
    pub(crate) fn confinement(self, settings: &Settings) -> Confinement {
        let root = Path::new("/");
        let base = Confinement::default();
        match self {
            Self::Reader => Confinement {
                reach: Reach { read: paths(root, READER), ..Reach::default() },
                ..base
            },
            Self::Devices => Confinement {
                // Admin commands of NVMe need the first, ATA through SCSI the second.
                capabilities: CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_RAWIO,
                reach: Reach {
                    read: paths(root, &["/sys"]),
                    write: paths(root, &["/dev"]),
                    ..Reach::default()
                },
                calls: Calls::Devices,
                ..base
            },
            Self::Nft => Confinement {
                capabilities: CapabilitySet::NET_ADMIN,
                calls: Calls::Netlink,
                ..base
            },
            Self::Files => Confinement {
                capabilities: CapabilitySet::DAC_OVERRIDE
                    | CapabilitySet::CHOWN
                    | CapabilitySet::FOWNER,
                reach: Reach {
                    read: settings.roots.values().map(|root| root.path.clone()).collect(),
                    write: writable(settings),
                    ..Reach::default()
                },
                calls: Calls::Files,
                ..base
            },
            Self::Commands => {
                let programs = settings.commands.values().filter_map(|c| c.argv.first());
                Confinement {
                    // A declared command is the administrator's: it keeps what root has, within
                    // the unit's bounding set.
                    capabilities: CapabilitySet::all(),
                    reach: Reach {
                        read: vec!["/".into()],
                        write: paths(root, &["/dev/null", "/run", "/var", "/tmp"]),
                        execute: programs.map(Into::into).chain(paths(root, LIBRARIES)).collect(),
                        ..Reach::default()
                    },
                    calls: Calls::Programs,
                    ..base
                }
            }
            // Its own files, and what runs. Cells are built by systemd, which one program asks, or
            // by a process that was started before (`verbs/cells/launcher.rs`).
            Self::Cells => {
                let units = settings.cells.values().any(|cell| cell.unit.is_some());
                let systemctl = if units { vec![settings.systemctl.clone()] } else { Vec::new() };
                let libraries = if units { paths(root, LIBRARIES) } else { Vec::new() };
                let own = settings.state.join("cells");
                Confinement {
                    reach: Reach {
                        read: paths(root, if units { &["/"] } else { &["/proc"] }),
                        write: [own].into_iter().chain(paths(root, &["/dev/null"])).collect(),
                        execute: systemctl.into_iter().chain(libraries).collect(),
                        ..Reach::default()
                    },
                    calls: if units { Calls::Programs } else { Calls::Files },
                    ..base
                }
            }
            Self::Ssh => {
                let own = settings.nodes.extra_known_hosts.iter().cloned();
                let own = own.chain([settings.nodes.known_hosts.clone()]);
                let own = own.chain([settings.state.join("ssh")]);
                let ssh = paths(root, &["/usr/bin/ssh"]).into_iter();
                Confinement {
                    reach: Reach {
                        read: paths(root, SSH).into_iter().chain(own).collect(),
                        write: paths(root, &["/dev/null"]),
                        execute: ssh.chain(paths(root, LIBRARIES)).collect(),
                        connect: vec![settings.nodes.port],
                        ..Reach::default()
                    },
                    calls: Calls::Programs,
                    ..base
                }
            }
        }
    }
}

/// What the reader of sensors and of the cluster looks at.
const READER: &[&str] = &["/sys", "/proc", "/etc/pve", "/etc/corosync", "/etc/hostname"];

/// What ssh itself reads.
const SSH: &[&str] = &["/etc", "/usr/share", "/dev/urandom", "/proc", "/sys/kernel"];

/// The loader and shared libraries.
const LIBRARIES: &[&str] = &["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// Roots that may be written, and where their snapshots are.
fn writable(settings: &Settings) -> Vec<std::path::PathBuf> {
    let roots = settings.roots.values().filter(|root| root.write);
    roots
        .map(|root| root.path.clone())
        .chain([settings.state.join("snapshots"), settings.state.join("ssh")])
        .chain(
            settings
                .nodes
                .authorized_keys
                .iter()
                .filter_map(|path| path.parent())
                .map(Path::to_owned),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CellSettings;

    #[test]
    fn kinds_are_found_by_name_and_only_three_start_programs() {
        let unit = CellSettings {
            unit: Some("proxward-cell@web.service".to_owned()),
            policy: "/p".into(),
            dir: None,
            command: vec![],
        };
        let launched = CellSettings { unit: None, ..unit.clone() };
        let with = |cell: CellSettings| Settings {
            cells: std::collections::BTreeMap::from([("web".to_owned(), cell)]),
            ..Settings::default()
        };
        let settings = with(unit);
        for kind in WorkerKind::ALL {
            assert_eq!(WorkerKind::find(kind.name()), Some(kind));
            let confinement = kind.confinement(&settings);
            let programs =
                matches!(kind, WorkerKind::Commands | WorkerKind::Cells | WorkerKind::Ssh);
            assert_eq!(confinement.calls == Calls::Programs, programs, "{kind:?}");
            assert!(confinement.landlock, "{kind:?}");
            assert_eq!(confinement.reach.execute.is_empty(), !programs, "{kind:?}");
        }
        let cells = WorkerKind::Cells.confinement(&with(launched));
        assert!(cells.landlock && cells.capabilities.is_empty());
        assert!(cells.calls == Calls::Files && cells.reach.execute.is_empty());
        let ssh = WorkerKind::Ssh.confinement(&settings);
        assert!(ssh.capabilities.is_empty());
        assert_eq!(ssh.reach.connect, [22]);
    }
}
