//! One run that is watched instead of refused: what would a policy have to grant?
//!
//! The cell is a whole one. What a policy can grant and this one does not, the supervisor does for
//! the command and writes down: connections, names, files outside. Everything else is refused as
//! ever.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use netpolicy::{Cidr, PortSet, Transport};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::paths::{View, normal};
use crate::blueprint::Blueprint;
use crate::limits::OBSERVED;
use crate::policy::{Destination, Policy, Whom};

/// Files that programs open at their start when they are there, and do without.
const DISPENSABLE: [&str; 9] = [
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl/openssl.cnf",
    "/usr/lib/locale",
    "/usr/share/locale",
    "/usr/lib/x86_64-linux-gnu/gconv",
    "/sys",
];

/// What one run was seen to need.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The policy it was run with, and what would have sufficed.
    pub policy: Policy,
    /// What no policy says, or what somebody should look at; a line each.
    pub notes: Vec<String>,
}

/// The one who writes down.
#[derive(Debug)]
pub(crate) struct Observer {
    seen: Mutex<Seen>,
    view: View,
    /// Has the command a user of its own, so that it reads only what everybody may?
    privileged: bool,
}

#[derive(Debug, Default)]
struct Seen {
    names: Vec<(String, Vec<IpAddr>)>,
    connections: BTreeSet<(SocketAddr, bool)>,
    files: BTreeSet<PathBuf>,
    programs: BTreeSet<PathBuf>,
    listened: BTreeSet<u16>,
    /// Something more than [`OBSERVED`] of a kind.
    more: bool,
}

impl Observer {
    pub(crate) fn new(blueprint: &Blueprint) -> Self {
        Self {
            seen: Mutex::default(),
            view: View::of(blueprint),
            privileged: !blueprint.user_namespace,
        }
    }

    pub(crate) fn connection(&self, to: SocketAddr, transport: Transport) {
        let mut seen = self.lock();
        if seen.connections.len() >= OBSERVED {
            seen.more = true;
            return;
        }
        let to = SocketAddr::new(netpolicy::canonical(to.ip()), to.port());
        seen.connections.insert((to, transport == Transport::Udp));
    }

    pub(crate) fn name(&self, name: &str, addresses: &[IpAddr]) {
        let mut seen = self.lock();
        if let Some((_, known)) = seen.names.iter_mut().find(|(known, _)| known == name) {
            known.extend(addresses);
        } else if seen.names.len() < OBSERVED {
            seen.names.push((name.to_owned(), addresses.to_vec()));
        } else {
            seen.more = true;
        }
    }

    pub(crate) fn listened(&self, port: u16) {
        self.lock().listened.insert(port);
    }

    pub(crate) fn program(&self, path: &Path) {
        if let Some(path) = self.outside(path) {
            self.lock().programs.insert(path);
        }
    }

    /// Something outside that the command may be shown, by the path it used. None: what it asks for
    /// is the cell's own, is not there, or is not for its user to read.
    pub(crate) fn outside(&self, path: &Path) -> Option<PathBuf> {
        let path = normal(path)?;
        (!self.view.has(&path) && self.may_see(&path)).then_some(path)
    }

    fn may_see(&self, path: &Path) -> bool {
        let Ok(found) = path.metadata() else { return false };
        if !self.privileged {
            return true;
        }
        // A mount that a policy makes does not change who may read.
        let mode = found.permissions().mode();
        let needed = if found.is_dir() { 0o005 } else { 0o004 };
        let above = path.ancestors().skip(1);
        let enters = |folder: &Path| folder.metadata().is_ok_and(|one| one.mode() & 0o001 != 0);
        (found.is_dir() || found.is_file())
            && mode & needed == needed
            && above.into_iter().all(enters)
    }

    /// Opens it for reading, and writes that down.
    pub(crate) fn open(&self, path: &Path, flags: u64) -> Result<OwnedFd, Errno> {
        let directory = OFlags::DIRECTORY.bits() & u32::try_from(flags & 0xffff_ffff).unwrap_or(0);
        let wanted = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::from_bits_retain(directory);
        let opened = openat(CWD, path, wanted, Mode::empty())?;
        self.file(path);
        Ok(opened)
    }

    /// Writes down that a file was looked at. Of directories only the opened ones count: every path
    /// leads through some.
    pub(crate) fn looked_at(&self, path: &Path) {
        if !path.is_dir() {
            self.file(path);
        }
    }

    fn file(&self, path: &Path) {
        if DISPENSABLE.iter().any(|one| path.starts_with(one)) {
            return;
        }
        let mut seen = self.lock();
        if seen.files.len() >= OBSERVED {
            seen.more = true;
            return;
        }
        seen.files.insert(path.to_owned());
    }

    /// The smallest policy that would have sufficed.
    pub(crate) fn observation(&self, base: &Policy) -> Observation {
        let seen = self.lock();
        let mut policy = base.clone();
        policy.restrict = None;
        policy.dir =
            base.dir.as_ref().map(|dir| dir.canonicalize().unwrap_or_else(|_| dir.clone()));
        policy.connect = seen.destinations();
        let mut read = base.read.clone();
        for path in &seen.files {
            // In order, so a directory comes before what is in it.
            if !read.iter().any(|above| path.starts_with(above)) {
                read.push(path.clone());
            }
        }
        policy.read = read;
        Observation { policy, notes: seen.notes() }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// By name where the address was an answer to one.
    fn destinations(&self) -> Vec<Destination> {
        let mut all: Vec<Destination> = Vec::new();
        for (to, udp) in &self.connections {
            let name = self.names.iter().find(|(_, addresses)| addresses.contains(&to.ip()));
            let whom = match name {
                Some((name, _)) => Whom::Name(name.clone()),
                None => Whom::Network(Cidr::around(to.ip(), u8::MAX)),
            };
            let transport = if *udp { Transport::Udp } else { Transport::Tcp };
            let destination = Destination { whom, ports: PortSet::one(to.port()), transport };
            if !all.contains(&destination) {
                all.push(destination);
            }
        }
        all
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, addresses) in &self.names {
            let used = self.connections.iter().any(|(to, _)| addresses.contains(&to.ip()));
            if !used {
                notes.push(format!("it asked for the name {name} and did not connect there"));
            }
        }
        for port in &self.listened {
            notes.push(format!("it listened on {port}; publish = [{port}] lets others reach it"));
        }
        for path in &self.programs {
            let path = path.display();
            notes.push(format!("it wanted to start {path}; only profile 'build' allows that"));
        }
        if self.more {
            notes.push(format!("more than {OBSERVED} things of a kind; the rest is not here"));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observer() -> Observer {
        Observer {
            seen: Mutex::default(),
            view: View::for_test(&["/etc/hosts"], &["/srv/known"]),
            privileged: true,
        }
    }

    #[test]
    fn what_is_outside_is_told_from_what_is_the_cells() {
        let observer = observer();
        for own in
            ["/etc/hosts", "/cell/x", "/srv/known/x", "/proc/self/maps", "x", "/cell/../etc/hosts"]
        {
            assert_eq!(observer.outside(Path::new(own)), None, "{own}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (open, secret) = (folder.path().join("open"), folder.path().join("secret"));
        for (file, mode) in [(&open, 0o644), (&secret, 0o600)] {
            std::fs::write(file, "x").unwrap();
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(observer.outside(&open), Some(open.clone()));
        assert_eq!(observer.outside(&secret), None, "only its owner may read it");
    }

    #[test]
    fn the_policy_is_the_smallest() {
        let observer = observer();
        observer.name("api.example", &["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()]);
        observer.name("unused.example", &[]);
        for to in ["192.0.2.1:443", "192.0.2.2:443", "[::ffff:192.0.2.9]:80"] {
            observer.connection(to.parse().unwrap(), Transport::Tcp);
        }
        observer.connection("192.0.2.9:53".parse().unwrap(), Transport::Udp);
        for path in ["/srv/data/a", "/srv/data", "/srv/datum", "/etc/ld.so.cache"] {
            observer.file(Path::new(path));
        }
        let Observation { policy, notes } = observer.observation(&Policy::default());
        let connect: Vec<String> = policy.connect.iter().map(ToString::to_string).collect();
        assert_eq!(connect, ["api.example:443", "192.0.2.9:53/udp", "192.0.2.9:80"]);
        assert_eq!(policy.read, [PathBuf::from("/srv/data"), PathBuf::from("/srv/datum")]);
        assert_eq!(notes.len(), 1, "{notes:?}");
    }
}
