//! Paths as a cell sees them: which are its own, and which attempts at others are recorded.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::blueprint::{Blueprint, Kind};
use crate::limits::{RECORDED_PATH, RECORDED_PATHS};
use crate::sys::seccomp::Notification;

/// Directories that are the cell's own.
const OWN: [&str; 3] = ["/cell", "/proc", "/dev"];

/// What is there in a cell.
#[derive(Debug)]
pub(super) struct View {
    files: BTreeSet<PathBuf>,
    /// Directories whose whole content is.
    folders: Vec<PathBuf>,
}

impl View {
    pub(super) fn of(blueprint: &Blueprint) -> Self {
        let etc = blueprint.etc.iter().map(|(name, _)| Path::new("/etc").join(name));
        let is_folder = |kind: Kind| kind == Kind::DataDirectory;
        let (folders, files): (Vec<_>, Vec<_>) =
            blueprint.files.iter().partition(|file| is_folder(file.kind));
        let path = |target: &String| PathBuf::from(target);
        Self {
            files: files.iter().map(|file| path(&file.target)).chain(etc).collect(),
            folders: folders.iter().map(|file| path(&file.target)).collect(),
        }
    }

    /// Whether the cell has something under this path, which is a [`normal`] one.
    pub(super) fn has(&self, path: &Path) -> bool {
        OWN.iter().any(|own| path.starts_with(own))
            || self.files.contains(path)
            || self.folders.iter().any(|folder| path.starts_with(folder))
    }

    /// Whether it is a directory on the way to something that the cell has.
    fn leads_through(&self, path: &Path) -> bool {
        let own = OWN.iter().map(Path::new);
        let mut all = own.chain(self.files.iter().chain(&self.folders).map(PathBuf::as_path));
        all.any(|one| one.starts_with(path))
    }

    #[cfg(test)]
    pub(super) fn for_test(files: &[&str], folders: &[&str]) -> Self {
        let all = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        Self { files: all(files).into_iter().collect(), folders: all(folders) }
    }
}

/// Which attempts at paths have been recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    view: View,
    told: BTreeSet<PathBuf>,
}

impl Recorded {
    pub(super) fn new(view: View) -> Self {
        Self { view, told: BTreeSet::new() }
    }

    /// What to record of a path that the command used: something that is there outside and not in
    /// the cell, the first time. What is nowhere was not refused: programs look for much that is
    /// not there. A relative path is taken as one from `/cell`, where every cell is.
    pub(super) fn first_time(&mut self, path: &Path) -> Option<String> {
        let path = normal(&Path::new("/cell").join(path))?;
        if self.view.has(&path) || self.view.leads_through(&path) || self.told.contains(&path) {
            return None;
        }
        path.symlink_metadata().ok()?;
        let text = shown(&path);
        if self.told.len() < RECORDED_PATHS {
            self.told.insert(path);
        }
        Some(text)
    }
}

/// An absolute path without `.` and `..`, by its text.
pub(super) fn normal(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => {
                normal.pop();
            }
            _ => {}
        }
    }
    Some(normal)
}

/// A path as a record shows it.
pub(super) fn shown(path: &Path) -> String {
    let text = path.to_string_lossy();
    let ends = text.char_indices().map(|(at, one)| at + one.len_utf8());
    let end = ends.take_while(|end| *end <= RECORDED_PATH).last().unwrap_or(0);
    let rest = if end < text.len() { "…" } else { "" };
    format!("{}{rest}", text.get(..end).unwrap_or_default())
}

/// Places of the paths among the arguments of calls that have some and may be refused.
const PATHS: &[(libc::c_long, &[usize])] = &[
    (libc::SYS_open, &[0]),
    (libc::SYS_openat, &[1]),
    (libc::SYS_creat, &[0]),
    (libc::SYS_mkdir, &[0]),
    (libc::SYS_mkdirat, &[1]),
    (libc::SYS_chmod, &[0]),
    (libc::SYS_fchmodat, &[1]),
    (libc::SYS_chown, &[0]),
    (libc::SYS_lchown, &[0]),
    (libc::SYS_fchownat, &[1]),
    (libc::SYS_mknod, &[0]),
    (libc::SYS_mknodat, &[1]),
    (libc::SYS_utime, &[0]),
    (libc::SYS_utimes, &[0]),
    (libc::SYS_futimesat, &[1]),
    (libc::SYS_execve, &[0]),
    (libc::SYS_execveat, &[1]),
    (libc::SYS_chdir, &[0]),
    (libc::SYS_chroot, &[0]),
    (libc::SYS_pivot_root, &[0, 1]),
    (libc::SYS_mount, &[0, 1]),
    (libc::SYS_umount2, &[0]),
    (libc::SYS_move_mount, &[1, 3]),
    (libc::SYS_open_tree, &[1]),
    (libc::SYS_mount_setattr, &[1]),
    (libc::SYS_fspick, &[1]),
    (libc::SYS_fsopen, &[0]),
    (libc::SYS_swapon, &[0]),
    (libc::SYS_swapoff, &[0]),
    (libc::SYS_acct, &[0]),
    (libc::SYS_uselib, &[0]),
    (libc::SYS_quotactl, &[1]),
    (libc::SYS_name_to_handle_at, &[1]),
    (libc::SYS_setxattr, &[0]),
    (libc::SYS_lsetxattr, &[0]),
    (libc::SYS_getxattr, &[0]),
    (libc::SYS_lgetxattr, &[0]),
    (libc::SYS_listxattr, &[0]),
    (libc::SYS_llistxattr, &[0]),
    (libc::SYS_removexattr, &[0]),
    (libc::SYS_lremovexattr, &[0]),
    (libc::SYS_memfd_create, &[0]),
];

/// Where in the caller's memory the paths of a refused call are.
pub(super) fn of_call(call: &Notification) -> impl Iterator<Item = u64> {
    let number = libc::c_long::from(call.number);
    let places = PATHS.iter().find(|(known, _)| *known == number).map_or(&[][..], |(_, at)| at);
    places.iter().filter_map(|at| call.arguments.get(*at).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_outside_alone_is_recorded_and_once() {
        let mut recorded = Recorded::new(View::for_test(&["/usr/bin/true"], &["/etc/ssl"]));
        assert_eq!(recorded.first_time(Path::new("/etc/passwd")).as_deref(), Some("/etc/passwd"));
        for not in [
            "/etc/passwd",
            "../etc/./passwd",
            "/usr/bin/true",
            "/usr",
            "/etc/ssl/none",
            "/",
            "own.txt",
            "/proc/1/environ",
            "/not/there",
        ] {
            assert_eq!(recorded.first_time(Path::new(not)), None, "{not}");
        }
    }

    #[test]
    fn long_paths_are_cut_between_characters() {
        let text = shown(Path::new(&"ä".repeat(RECORDED_PATH)));
        assert_eq!((text.len(), text.ends_with("ä…")), (RECORDED_PATH + "…".len(), true));
    }
}
