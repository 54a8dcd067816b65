//! Process 2, until it becomes the command: every wall is put up from inside, then the one exec.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;

use super::step::{At as _, Failure, optional, reached};
use super::{canary, confine, first};
use crate::blueprint::{Blueprint, Report};
use crate::layer::Layer;
use crate::seccomp::{Egress, Facts, compile};
use crate::sys::process::{end, exec, reset_signals};
use crate::sys::{descriptor, seccomp};

/// Bytes a cell may lock in memory.
const LOCKED_BYTES: u64 = 64 << 10;
/// Bytes a cell may hold in message queues: none.
const QUEUE_BYTES: u64 = 0;

/// Never returns: becomes the command, or says why not and ends.
pub(super) fn run(
    control: BorrowedFd<'_>,
    blueprint: &Blueprint,
    handed: &[OwnedFd],
    announce: &OwnedFd,
    executable: i32,
) -> ! {
    let Err(failure) = become_command(control, blueprint, handed, announce, executable);
    failure.report(control);
    end(125)
}

fn become_command(
    control: BorrowedFd<'_>,
    blueprint: &Blueprint,
    handed: &[OwnedFd],
    announce: &OwnedFd,
    executable: i32,
) -> Result<std::convert::Infallible, Failure> {
    let _ = rustix::process::setsid();
    let arguments = texts(&blueprint.arguments)?;
    let environment = texts(&blueprint.environment)?;
    place_descriptors(blueprint, handed)?;
    limit(blueprint, executable)?;
    reached(blueprint, Layer::Limits);

    confine::drop_bounding_set().at(Layer::Privileges, "empty the bounding set")?;
    if !blueprint.user_namespace {
        crate::sys::process::become_user(blueprint.uid)
            .at(Layer::Privileges, "take the cell's user")?;
    }
    confine::drop_capabilities(CapabilitySet::empty())
        .at(Layer::Privileges, "drop capabilities")?;
    rustix::thread::set_no_new_privs(true).at(Layer::Privileges, "forbid new privileges")?;
    if blueprint.no_jit {
        confine::refuse_new_code().at(Layer::Privileges, "refuse new executable memory")?;
    }
    reached(blueprint, Layer::Privileges);
    rustix::process::chdir("/cell").at(Layer::Mounts, "enter /cell")?;
    reset_signals();
    optional(blueprint, control, confine::landlock(blueprint))?;
    reached(blueprint, Layer::Landlock);

    let facts = Facts { process: first::COMMAND, executable: executable.unsigned_abs() };
    let program = compile(blueprint.filter, facts);
    let listens = blueprint.filter.egress != Egress::None || blueprint.filter.audit;
    let listener =
        seccomp::install(&program, listens).at(Layer::Seccomp, "install the list of calls")?;
    if let Some(number) = listener {
        rustix::io::write(announce, &number.to_ne_bytes())
            .at(Layer::Seccomp, "announce the listener")?;
    }
    reached(blueprint, Layer::Seccomp);
    canary::all_refused(blueprint.filter)?;
    if listens {
        let armed = serde_json::to_vec(&Report::Armed).unwrap_or_default();
        rustix::io::write(control, &armed).at(Layer::Canary, "tell the supervisor")?;
    }
    let error = exec(executable, &arguments, &environment);
    Err(Failure::new(Layer::Exec, format_args!("execute {}: {error}", blueprint.executable)))
}

fn texts(list: &[String]) -> Result<Vec<CString>, Failure> {
    let texts = list.iter().map(|text| CString::new(text.as_str()));
    texts.collect::<Result<_, _>>().at(Layer::Plan, "arguments and environment")
}

/// Opens the executable under the number that will be the limit of open files. Before the table of
/// descriptors is shared: growing a shared one waits for every core of the machine.
pub(super) fn open_executable(blueprint: &Blueprint) -> Result<i32, Failure> {
    let executable = rustix::fs::open(
        blueprint.executable.as_str(),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(Layer::Exec, format_args!("open {}", blueprint.executable))?;
    let number = i32::try_from(blueprint.limits.open_files).unwrap_or(i32::MAX);
    let room = u64::from(blueprint.limits.open_files) + 1;
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    setrlimit(
        Resource::Nofile,
        Rlimit { current: Some(room.max(256)), maximum: Some(hard.max(room)) },
    )
    .at(Layer::Limits, format_args!("{room} open files, at most {hard} here"))?;
    descriptor::place(executable.as_fd(), number, true).at(Layer::Exec, "hold the executable")?;
    Ok(number)
}

/// Standard streams at 0 to 2, listeners from 3 on; everything else is closed by exec.
fn place_descriptors(blueprint: &Blueprint, handed: &[OwnedFd]) -> Result<(), Failure> {
    descriptor::close_on_exec_from(3).at(Layer::Limits, "close what was inherited")?;
    // Above all targets first, so that placing one does not overwrite another.
    let above = 32 + i32::try_from(blueprint.listeners).unwrap_or(0);
    let mut moved = Vec::new();
    for fd in handed {
        moved.push(
            rustix::io::fcntl_dupfd_cloexec(fd, above).at(Layer::Limits, "move a descriptor")?,
        );
    }
    for (target, fd) in moved.iter().enumerate() {
        let target = i32::try_from(target).unwrap_or(i32::MAX);
        descriptor::place(fd.as_fd(), target, false).at(Layer::Limits, "place a descriptor")?;
    }
    Ok(())
}

fn limit(blueprint: &Blueprint, executable: i32) -> Result<(), Failure> {
    let limits = &blueprint.limits;
    let both = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    let set = |resource, value: Option<u64>, what: &str| match value {
        Some(value) => setrlimit(resource, both(value)).at(Layer::Limits, what),
        None => Ok(()),
    };
    set(Resource::Core, Some(0), "no core dumps")?;
    set(Resource::Memlock, Some(LOCKED_BYTES), "locked memory")?;
    set(Resource::Msgqueue, Some(QUEUE_BYTES), "message queues")?;
    set(Resource::Fsize, limits.file_bytes, "size of a file")?;
    set(Resource::Data, limits.data_bytes, "private memory")?;
    set(Resource::Nproc, Some(limits.processes), "processes and threads")?;
    set(Resource::Nofile, Some(u64::from(executable.unsigned_abs())), "open files")
}
