//! Attempts that must fail. They are made where the command will be, with every wall up, just
//! before it starts: a wall that is missing by mistake is found by walking into it.

use rustix::fs::{Mode, OFlags};

use super::step::Failure;
use crate::layer::Layer;
use crate::seccomp::Shape;
use crate::sys::process::{call_succeeds, fork_succeeds};

/// A door that must be shut, and how it is tried. True means it opened.
struct Canary {
    name: &'static str,
    opens: fn() -> bool,
}

const CANARIES: [Canary; 9] = [
    Canary { name: "read /etc/shadow", opens: || reads("/etc/shadow") },
    Canary { name: "read /proc/1/environ", opens: || reads("/proc/1/environ") },
    Canary { name: "write into the root", opens: || writes("/canary") },
    Canary { name: "write into /etc", opens: || writes("/etc/canary") },
    Canary { name: "make a unix socket", opens: || call_succeeds(libc::SYS_socket, [1, 1, 0]) },
    Canary { name: "make a netlink socket", opens: || call_succeeds(libc::SYS_socket, [16, 3, 0]) },
    Canary {
        name: "make a user namespace",
        opens: || call_succeeds(libc::SYS_unshare, [0x1000_0000, 0, 0]),
    },
    Canary {
        name: "make executable memory by name",
        opens: || call_succeeds(libc::SYS_memfd_create, [0, 0, 0]),
    },
    Canary { name: "become root", opens: || call_succeeds(libc::SYS_setuid, [0, 0, 0]) },
];

/// Succeeds when none did.
pub(super) fn all_refused(shape: Shape) -> Result<(), Failure> {
    let open = CANARIES.iter().find(|canary| (canary.opens)());
    if let Some(canary) = open {
        return Err(Failure::new(Layer::Canary, format_args!("could {}", canary.name)));
    }
    if !shape.subprocess && fork_succeeds() {
        return Err(Failure::new(Layer::Canary, "could start a process"));
    }
    if !shape.subprocess && call_succeeds(libc::SYS_kill, [1, 0, 0]) {
        return Err(Failure::new(Layer::Canary, "could signal process 1"));
    }
    Ok(())
}

fn reads(path: &str) -> bool {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

fn writes(path: &str) -> bool {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::RUSR).is_ok()
}
