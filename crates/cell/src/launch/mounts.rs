//! The cell's root: made aside, filled from pinned sources, then the old one is let go.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    mount_change, move_mount, open_tree, unmount,
};

use super::step::{At as _, Failure, optional};
use crate::blueprint::{Blueprint, FileMount, Kind, Source};
use crate::layer::Layer;
use crate::limits::{ROOT_BYTES, ROOT_INODES};
use crate::sys::mount::{NODEV, NOEXEC, NOSUID, RDONLY, set_attributes};

/// The command's user and group as it sees them in a user namespace.
pub(super) const UID_INSIDE: u32 = 1000;

/// What `/dev` holds.
pub(super) const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Where the new root is attached until it becomes the root. It exists on every system.
const STAGE: &str = "/tmp";

pub(super) fn build(
    control: BorrowedFd<'_>,
    blueprint: &Blueprint,
    trees: Vec<OwnedFd>,
) -> Result<(), Failure> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .at(Layer::Mounts, "make mounts private")?;
    let mut trees: Vec<Option<OwnedFd>> = trees.into_iter().map(Some).collect();
    // Everything from outside is opened before the stage covers anything.
    let files = blueprint.files.iter().map(|file| Ok((file, origin(&file.source, &mut trees)?)));
    let files: Vec<(&FileMount, Origin)> = files.collect::<Result<_, Failure>>()?;
    let directory = origin(&blueprint.directory.source, &mut trees)?;
    let devices = DEVICES.iter().map(|name| Ok((*name, device(name)?)));
    let devices: Vec<(&str, OwnedFd)> = devices.collect::<Result<_, Failure>>()?;
    let proc = proc(blueprint, control)?;

    let copies: u64 = files.iter().map(|(_, origin)| origin.copied()).sum();
    let root = root(ROOT_BYTES + copies)?;
    move_mount(&root, "", CWD, STAGE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at(Layer::Mounts, format_args!("attach the root at {STAGE}"))?;
    let (addons, files): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(file, _)| file.kind == Kind::Addon);
    for (file, origin) in files {
        place_file(&root, file, origin)?;
    }
    for (name, tree) in devices {
        attach_file(&root, &format!("dev/{name}"), &tree)?;
    }
    if let Some(proc) = proc {
        attach(&root, "proc", &proc)?;
    }
    let directory = place_directory(&root, blueprint, directory)?;
    for (number, (file, origin)) in addons.into_iter().enumerate() {
        place_addon(&root, &directory, number, file, origin)?;
    }
    for (name, content) in &blueprint.etc {
        write_file(&root, &format!("etc/{name}"), content.as_bytes())?;
    }
    set_attributes(root.as_fd(), RDONLY, false, None)
        .at(Layer::Mounts, "make the root read-only")?;
    pivot(&root).at(Layer::Mounts, "make it the root")
}

/// Something from outside, held by descriptor.
enum Origin {
    Tree(OwnedFd),
    Copy(File, u64),
}

impl Origin {
    fn copied(&self) -> u64 {
        match self {
            Self::Tree(_) => 0,
            Self::Copy(_, bytes) => bytes.next_multiple_of(4096),
        }
    }
}

fn origin(source: &Source, handed: &mut [Option<OwnedFd>]) -> Result<Origin, Failure> {
    let mut take = |number: u32| {
        let fd = usize::try_from(number).ok().and_then(|at| handed.get_mut(at)?.take());
        fd.ok_or_else(|| {
            Failure::new(Layer::Mounts, format_args!("descriptor {number} is missing"))
        })
    };
    match source {
        Source::Tree(number) => take(*number).map(Origin::Tree),
        Source::Copy { number, bytes } => Ok(Origin::Copy(File::from(take(*number)?), *bytes)),
        Source::Path { path, device, inode } => {
            let held = pinned(path, (*device, *inode))?;
            Ok(Origin::Tree(detach(&held).at(Layer::Mounts, format_args!("mount {path}"))?))
        }
    }
}

/// Opens a path that was resolved before, and refuses another file than was found then.
fn pinned(path: &str, identity: (u64, u64)) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(path, flags, Mode::empty())
        .at(Layer::Mounts, format_args!("open {path}"))?;
    let found = fstat(&fd).at(Layer::Mounts, format_args!("look at {path}"))?;
    if (found.st_dev, found.st_ino) != identity {
        return Err(Failure::new(Layer::Mounts, format_args!("{path} was replaced meanwhile")));
    }
    Ok(fd)
}

/// A mount of its own of what is held. Mounts below it do not come along where that is allowed;
/// in a user namespace the kernel may insist that they do.
fn detach(held: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    match open_tree(held, "", flags) {
        Err(rustix::io::Errno::INVAL) => open_tree(held, "", flags | OpenTreeFlags::AT_RECURSIVE),
        other => other,
    }
}

fn device(name: &str) -> Result<OwnedFd, Failure> {
    let path = format!("/dev/{name}");
    let what = || format!("mount {path}");
    let held = rustix::fs::open(
        path.as_str(),
        OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .at(Layer::Mounts, what())?;
    let tree = detach(&held).at(Layer::Mounts, what())?;
    set_attributes(tree.as_fd(), RDONLY | NOSUID | NOEXEC, false, None)
        .at(Layer::Mounts, what())?;
    Ok(tree)
}

/// The command's own part of /proc, read-only; nothing of the machine.
fn proc(blueprint: &Blueprint, control: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Failure> {
    if !blueprint.proc {
        return Ok(None);
    }
    let make = || {
        let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "hidepid", "invisible")?;
        fsconfig_set_string(&context, "subset", "pid")?;
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    let mut made = None;
    let result = make().at(Layer::Proc, "mount proc").map(|fd| made = Some(fd));
    optional(blueprint, control, result)?;
    Ok(made)
}

fn root(bytes: u64) -> Result<OwnedFd, Failure> {
    let options = [
        ("size", bytes.to_string()),
        ("nr_inodes", ROOT_INODES.to_string()),
        ("mode", "755".to_owned()),
    ];
    let root = tmpfs(&options, MountAttrFlags::empty()).at(Layer::Mounts, "make the root")?;
    for name in ["cell", "dev", "etc", "proc"] {
        mkdirat(&root, name, Mode::from(0o755)).at(Layer::Mounts, format_args!("make /{name}"))?;
    }
    Ok(root)
}

fn tmpfs(options: &[(&str, String)], more: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(&context, *name, value.as_str())?;
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | more;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn place_file(root: &OwnedFd, file: &FileMount, origin: Origin) -> Result<(), Failure> {
    let target = file.target.trim_start_matches('/');
    match origin {
        Origin::Tree(tree) => {
            let executable = matches!(file.kind, Kind::Program | Kind::Library | Kind::Addon);
            let noexec = if executable { 0 } else { NOEXEC };
            set_attributes(tree.as_fd(), RDONLY | NOSUID | NODEV | noexec, true, None)
                .at(Layer::Mounts, format_args!("restrict {target}"))?;
            if file.kind == Kind::DataDirectory {
                directories(root, target)?;
                return attach(root, target, &tree);
            }
            attach_file(root, target, &tree)
        }
        Origin::Copy(from, bytes) => copy_file(root, target, from, bytes),
    }
}

fn copy_file(root: &OwnedFd, target: &str, from: File, bytes: u64) -> Result<(), Failure> {
    let mut content = Vec::new();
    from.take(bytes).read_to_end(&mut content).at(Layer::Mounts, format_args!("copy {target}"))?;
    write_file(root, target, &content)
}

/// The one directory, and the scratch space in it.
fn place_directory(
    root: &OwnedFd,
    blueprint: &Blueprint,
    origin: Origin,
) -> Result<OwnedFd, Failure> {
    let Origin::Tree(tree) = origin else {
        return Err(Failure::new(Layer::Mounts, "the directory can not be a copy"));
    };
    let read_only = if blueprint.directory.read_only { RDONLY } else { 0 };
    set_attributes(tree.as_fd(), read_only | NOSUID | NODEV | NOEXEC, true, None)
        .at(Layer::Mounts, "restrict /cell")?;
    attach(root, "cell", &tree)?;
    let owner = if blueprint.user_namespace { UID_INSIDE } else { blueprint.uid };
    let options = [
        ("size", blueprint.scratch_bytes.to_string()),
        ("nr_inodes", blueprint.scratch_inodes.to_string()),
        ("mode", "700".to_owned()),
        ("uid", owner.to_string()),
        ("gid", owner.to_string()),
    ];
    let scratch = tmpfs(&options, MountAttrFlags::MOUNT_ATTR_NOEXEC)
        .at(Layer::Scratch, "make /cell/scratch")?;
    // Not by path: `scratch` in a directory that others write may be a link to anywhere.
    move_mount(&scratch, "", &tree, "scratch", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at(Layer::Scratch, "mount /cell/scratch")?;
    Ok(tree)
}

/// An add-on: its bytes in the root, which is read-only in the end, and mounted with the right to
/// execute where the command looks for it.
fn place_addon(
    root: &OwnedFd,
    directory: &OwnedFd,
    number: usize,
    file: &FileMount,
    origin: Origin,
) -> Result<(), Failure> {
    let Some(inside) = file.target.strip_prefix("/cell/") else {
        return place_file(root, file, origin);
    };
    let what = || format!("mount {}", file.target);
    let kept = format!("addons/{number}");
    let Origin::Copy(from, bytes) = origin else {
        return Err(Failure::new(Layer::Mounts, "an add-on is a copy"));
    };
    copy_file(root, &kept, from, bytes)?;
    let held = openat(root, kept.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .at(Layer::Mounts, what())?;
    let tree = detach(&held).at(Layer::Mounts, what())?;
    set_attributes(tree.as_fd(), RDONLY | NOSUID | NODEV, false, None).at(Layer::Mounts, what())?;
    // The directory may be the command's own to change: no link is followed, and none leads out.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let target =
        openat2(directory, inside, flags, Mode::empty(), resolve).at(Layer::Mounts, what())?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &target, "", empty).at(Layer::Mounts, what())
}

fn attach(root: &OwnedFd, target: &str, tree: &OwnedFd) -> Result<(), Failure> {
    move_mount(tree, "", root, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at(Layer::Mounts, format_args!("mount /{target}"))
}

fn attach_file(root: &OwnedFd, target: &str, tree: &OwnedFd) -> Result<(), Failure> {
    write_file(root, target, b"")?;
    attach(root, target, tree)
}

fn write_file(root: &OwnedFd, target: &str, content: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = Path::new(target).parent().and_then(Path::to_str) {
        directories(root, folder)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(root, target, flags, Mode::from(0o555))
        .at(Layer::Mounts, format_args!("make /{target}"))?;
    File::from(file).write_all(content).at(Layer::Mounts, format_args!("write /{target}"))
}

fn directories(root: &OwnedFd, path: &str) -> Result<(), Failure> {
    let mut so_far = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far.push_str(part);
        match mkdirat(root, so_far.as_str(), Mode::from(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => {
                return Err(Failure::new(Layer::Mounts, format_args!("make /{so_far}: {error}")));
            }
        }
        so_far.push('/');
    }
    Ok(())
}

fn pivot(root: &OwnedFd) -> rustix::io::Result<()> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}
