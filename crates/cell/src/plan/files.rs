//! Files of a cell, pinned: held open as mounts where this process may, by identity otherwise.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::{PlanError, Planned as _};
use crate::blueprint::{DirectoryMount, FileMount, Kind, Source};
use crate::layer::Layer;
use crate::limits::COPY_BYTES;
use crate::sys;

/// The one directory, opened once. Whatever happens to its path later, this is what is mounted.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    held: OwnedFd,
    owner: (u32, u32),
    identity: (u64, u64),
    read_only: bool,
}

impl Directory {
    /// Opens the directory, and makes the mount point for the scratch space in it.
    pub(crate) fn open(path: &Path, read_only: bool) -> Result<Self, PlanError> {
        let what = || format!("open the directory {}", path.display());
        let path = path.canonicalize().planned(Layer::Plan, what())?;
        if path == Path::new("/") {
            return Err(PlanError::new(Layer::Plan, "the directory can not be /"));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = openat(CWD, &path, flags, Mode::empty()).planned(Layer::Plan, what())?;
        let found = rustix::fs::fstat(&held).planned(Layer::Plan, what())?;
        make_scratch(&held, (found.st_uid, found.st_gid))?;
        Ok(Self {
            path,
            held,
            owner: (found.st_uid, found.st_gid),
            identity: (found.st_dev, found.st_ino),
            read_only,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path in the cell of something in the directory.
    pub(crate) fn inside(&self, path: &Path) -> Option<String> {
        let rest = path.strip_prefix(&self.path).ok()?;
        Some(format!("/cell/{}", rest.display()))
    }

    /// Could the command change a file here?
    fn writable_inside(&self, path: &Path) -> bool {
        !self.read_only && path.starts_with(&self.path)
    }

    /// The directory as the launcher mounts it. With `owner_becomes`, files of the directory's
    /// owner are that user's inside, and what that user makes is the owner's outside.
    pub(crate) fn mount(
        &self,
        owner_becomes: Option<u32>,
        handed: &mut Handed,
        degraded: &[Layer],
    ) -> Result<DirectoryMount, PlanError> {
        let source = match owner_becomes {
            None => Source::Path {
                path: utf8(&self.path)?,
                device: self.identity.0,
                inode: self.identity.1,
            },
            Some(uid) => {
                let tree = detached(&self.held)
                    .planned(Layer::Mounts, format_args!("mount {}", self.path.display()))?;
                let mapped = sys::process::id_map(self.owner, uid).and_then(|(map, holder)| {
                    handed.holder = Some(holder);
                    Ok(sys::mount::set_attributes(tree.as_fd(), 0, false, Some(map.as_fd()))?)
                });
                if !degraded.contains(&Layer::IdMap) {
                    mapped.planned(
                        Layer::IdMap,
                        format_args!("map the owner of {}", self.path.display()),
                    )?;
                }
                handed.tree(tree)
            }
        };
        Ok(DirectoryMount { source, read_only: self.read_only })
    }
}

/// An empty directory to mount on. Never a link: it would lead the mount elsewhere.
fn make_scratch(directory: &OwnedFd, owner: (u32, u32)) -> Result<(), PlanError> {
    let made = mkdirat(directory, "scratch", Mode::RWXU);
    if made.is_ok() && rustix::process::geteuid().is_root() {
        let (uid, gid) = (rustix::fs::Uid::from_raw(owner.0), rustix::fs::Gid::from_raw(owner.1));
        let _ = rustix::fs::chownat(
            directory,
            "scratch",
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        );
    }
    let found = statat(directory, "scratch", AtFlags::SYMLINK_NOFOLLOW);
    let is_directory = |mode| FileType::from_raw_mode(mode) == FileType::Directory;
    match (made, found) {
        (_, Ok(found)) if is_directory(found.st_mode) => Ok(()),
        (Err(error), Err(_)) => Err(PlanError::new(
            Layer::Scratch,
            format_args!("make 'scratch' in the directory: {error}; make it by hand, empty"),
        )),
        _ => Err(PlanError::new(
            Layer::Scratch,
            "'scratch' in the directory is not a directory; /cell/scratch is mounted there",
        )),
    }
}

/// Descriptors that go to the launcher, in the order the blueprint counts them.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    descriptors: Vec<OwnedFd>,
    /// Of the mapping of the directory; waited for with the rest.
    holder: Option<sys::process::Holder>,
}

impl Handed {
    /// Those that are open already, in their order.
    pub(crate) fn of(descriptors: Vec<OwnedFd>) -> Self {
        Self { descriptors, holder: None }
    }

    /// Them, to be owned.
    pub(crate) fn into_descriptors(self) -> Vec<OwnedFd> {
        self.descriptors
    }

    /// Something the launcher only has to keep open.
    pub(crate) fn keep(&mut self, fd: OwnedFd) {
        self.descriptors.push(fd);
    }

    fn next(&mut self, fd: OwnedFd) -> u32 {
        self.descriptors.push(fd);
        u32::try_from(self.descriptors.len() - 1).unwrap_or(u32::MAX)
    }

    fn tree(&mut self, fd: OwnedFd) -> Source {
        Source::Tree(self.next(fd))
    }
}

/// The files of a cell beside its directory.
#[derive(Debug)]
pub(crate) struct Files<'d> {
    directory: &'d Directory,
    /// May this process make mounts?
    by_tree: bool,
    targets: BTreeSet<String>,
    pub(crate) mounts: Vec<FileMount>,
    pub(crate) handed: Handed,
}

impl<'d> Files<'d> {
    pub(crate) fn new(directory: &'d Directory, by_tree: bool) -> Self {
        let (targets, mounts, handed) = (BTreeSet::new(), Vec::new(), Handed::default());
        Self { directory, by_tree, targets, mounts, handed }
    }

    /// Adds a file at `target`; the first of two with the same target stays.
    pub(crate) fn add(&mut self, path: &Path, target: &str, kind: Kind) -> Result<(), PlanError> {
        if !self.targets.insert(target.to_owned()) {
            return Ok(());
        }
        let what = || format!("open {}", path.display());
        let source = if self.directory.writable_inside(path) {
            let file = File::open(path).planned(Layer::Plan, what())?;
            let bytes = file.metadata().planned(Layer::Plan, what())?.len();
            if bytes > COPY_BYTES {
                let what = format_args!(
                    "{} is in the writable directory and larger than 256 MiB; \
                    keep it elsewhere",
                    path.display()
                );
                return Err(PlanError::new(Layer::Plan, what));
            }
            Source::Copy { number: self.handed.next(file.into()), bytes }
        } else if self.by_tree {
            let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let held = openat(CWD, path, flags, Mode::empty()).planned(Layer::Plan, what())?;
            self.handed.tree(detached(&held).planned(Layer::Mounts, what())?)
        } else {
            let found = path.metadata().planned(Layer::Plan, what())?;
            Source::Path { path: utf8(path)?, device: found.dev(), inode: found.ino() }
        };
        self.mounts.push(FileMount { target: target.to_owned(), source, kind });
        Ok(())
    }

    /// Adds something to read, at its own path.
    pub(crate) fn add_readable(&mut self, path: &Path) -> Result<(), PlanError> {
        let what = || format!("open {}", path.display());
        let found = path.canonicalize().planned(Layer::Plan, what())?;
        let target = utf8(path)?;
        let reserved = ["/cell", "/proc", "/dev", "/etc/hosts", "/etc/passwd", "/etc/group"];
        let taken = reserved.iter().any(|one| path.starts_with(one));
        if !path.is_absolute() || path == Path::new("/") || taken || target.contains("..") {
            let what = format_args!("{target} can not be made readable; give an absolute path");
            return Err(PlanError::new(Layer::Plan, what));
        }
        let kind = if found.is_dir() { Kind::DataDirectory } else { Kind::Data };
        self.add(&found, &target, kind)
    }
}

fn detached(held: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(held, "", flags)
}

fn utf8(path: &Path) -> Result<String, PlanError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| PlanError::new(Layer::Plan, format_args!("{} is not UTF-8", path.display())))
}
