//! Process 1 of the cell: builds its inside, starts the command, waits for it.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{DumpableBehavior, Signal, WaitOptions, pidfd_send_signal, waitpid};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, move_into_link_name_space};

use super::step::{At as _, Failure, optional, reached};
use super::{command, confine, mounts};
use crate::blueprint::{Blueprint, Report};
use crate::channel;
use crate::layer::Layer;
use crate::sys::memory::Wait;
use crate::sys::process::{Side, clone, end, signal_descriptor};
use crate::sys::{seccomp, socket};

/// The command's process id in the cell: process 1 has no other child.
pub(super) const COMMAND: u32 = 2;
/// Standard streams and sixteen listeners are below.
const ABOVE: i32 = 40;

/// What the supervisor gave the launcher.
pub(super) struct Handed {
    /// Standard streams, listeners, mounts and files, as the blueprint counts them.
    pub(super) descriptors: Vec<OwnedFd>,
    /// A fresh network namespace, when it was made ahead; else this process is in one already.
    pub(super) network: Option<OwnedFd>,
}

/// Never returns: this process ends with the cell.
pub(super) fn run(
    control: BorrowedFd<'_>,
    blueprint: &Blueprint,
    handed: Handed,
    members: &[File],
    wait: &mut Wait,
) -> ! {
    if let Err(failure) = build_and_wait(control, blueprint, handed, members, wait) {
        failure.report(control);
    }
    end(0)
}

fn build_and_wait(
    control: BorrowedFd<'_>,
    blueprint: &Blueprint,
    Handed { mut descriptors, network }: Handed,
    members: &[File],
    wait: &mut Wait,
) -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .at(Layer::Namespaces, "end with the launcher")?;
    if let Some(network) = network {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(network.as_fd(), kind)
            .at(Layer::Namespaces, "enter the network")?;
    }
    if blueprint.user_namespace {
        map_user(blueprint).at(Layer::Namespaces, "map the user")?;
    }
    reached(blueprint, Layer::Namespaces);
    for mut member in members {
        member.write_all(b"0").at(Layer::MemoryLimit, "join a control group")?;
    }
    // Only now, so that the cell sees its own group as the root of all.
    crate::sys::process::own_control_groups().at(Layer::Namespaces, "unshare control groups")?;
    rustix::system::sethostname(b"cell").at(Layer::Namespaces, "set the host name")?;
    optional(
        blueprint,
        control,
        socket::loopback_up().at(Layer::Loopback, "bring the loopback device up"),
    )?;
    if blueprint.resolver {
        let resolver = socket::resolver().at(Layer::Loopback, "listen for questions for names")?;
        channel::send(control, &Report::Resolver, &[resolver.as_fd()])
            .at(Layer::Launcher, "tell the supervisor")?;
    }
    reached(blueprint, Layer::Loopback);
    let handed = 3 + usize::try_from(blueprint.listeners).unwrap_or(usize::MAX);
    let trees = descriptors.split_off(handed.min(descriptors.len()));
    mounts::build(control, blueprint, trees)?;
    reached(blueprint, Layer::Mounts);

    let signals = signal_descriptor(&[Signal::TERM]).at(Layer::Exec, "watch signals")?;
    let (listener, announce) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Layer::Exec, "make a pipe")?;
    let (listener, announce, signals) = (above(&listener)?, above(&announce)?, above(&signals)?);
    let executable = command::open_executable(blueprint)?;
    match clone(libc::CLONE_FILES).at(Layer::Exec, "start a process")? {
        Side::Child => command::run(control, blueprint, &descriptors, &announce, executable),
        Side::Parent(pid, pidfd) => {
            withdraw().at(Layer::Privileges, "give up privileges")?;
            channel::send(control, &Report::Process, &[pidfd.as_fd()])
                .at(Layer::Launcher, "tell the supervisor")?;
            watch(control, &listener, &pidfd, &signals, wait);
            let ended = waitpid(Some(pid), WaitOptions::empty());
            // The last ends of the command's pipes, but for those of its children.
            drop(descriptors);
            let status = ended.ok().flatten().map(|(_, status)| status);
            let report = Report::Ended {
                code: status.and_then(rustix::process::WaitStatus::exit_status),
                signal: status.and_then(rustix::process::WaitStatus::terminating_signal),
            };
            let _ = channel::send(control, &report, &[]);
            Ok(())
        }
    }
}

/// The same descriptor at a number that none of the command's will have.
fn above(fd: &OwnedFd) -> Result<OwnedFd, Failure> {
    rustix::io::fcntl_dupfd_cloexec(fd, ABOVE).at(Layer::Exec, "move a descriptor")
}

/// One id inside, the starter's own outside; no other id exists in the cell.
fn map_user(blueprint: &Blueprint) -> std::io::Result<()> {
    let (uid, gid) = (blueprint.uid, blueprint.gid);
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{} {uid} 1", mounts::UID_INSIDE))?;
    fs::write("/proc/self/gid_map", format!("{} {gid} 1", mounts::UID_INSIDE))
}

/// Process 1 needs nothing any more but to signal the command, which is another user's, and
/// nobody may look into it.
fn withdraw() -> rustix::io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    confine::drop_capabilities(CapabilitySet::KILL)
}

/// Hands the listener of system calls out, hands a wish to end in, until the command has ended.
fn watch(
    control: BorrowedFd<'_>,
    listener: &OwnedFd,
    command: &OwnedFd,
    signals: &OwnedFd,
    wait: &mut Wait,
) {
    let mut announced = false;
    loop {
        let mut watched = [
            PollFd::new(command, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(listener, if announced { PollFlags::empty() } else { PollFlags::IN }),
        ];
        if wait.poll(&mut watched, None).is_err() {
            continue;
        }
        let [ended, signalled, announces] = watched.map(|one| one.revents());
        if announces.contains(PollFlags::IN) && !announced {
            announced = true;
            let mut number = [0; 4];
            if rustix::io::read(listener, &mut number) == Ok(4) {
                let calls = seccomp::listener(i32::from_ne_bytes(number));
                let _ = channel::send(control, &Report::Listener, &[calls.as_fd()]);
            }
        }
        if !signalled.is_empty() {
            let mut record = [0; 128];
            let _ = rustix::io::read(signals, &mut record);
            let _ = pidfd_send_signal(command, Signal::TERM);
        }
        if !ended.is_empty() {
            return;
        }
    }
}
