//! Puts together what is known about a connection's other end.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use identity::peer::{OVERFLOW_ID, accepted_credentials, groups, pidfd};
use limits::Keyed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{fstat, fstatfs};

use super::cgroup::{self, Place};
use super::{Peer, SubIds};
use crate::limits::{ATTESTED, ATTESTED_PROCESSES, PEER_GROUPS, PROC_FILE};

/// `PID_FS_MAGIC`: there an inode is one process for ever (Linux 6.9).
const PID_FS: u64 = 0x5049_4446;

/// Finds out who connected.
pub(crate) struct Attestor {
    /// `/proc`; tests have their own.
    proc: PathBuf,
    /// Replaced by a reload.
    subids: RwLock<SubIds>,
    /// Whether a process may be known by its number alone.
    by_number: bool,
    seen: Mutex<Keyed<u64, Seen>>,
}

/// What `/proc` said about a process, and when.
#[derive(Clone)]
struct Seen {
    at: Duration,
    place: Place,
    uid_map: Arc<str>,
}

/// Why a peer is not known; for logs, and for `doctor`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unknown {
    #[error("the kernel does not say who it is: {0}")]
    Kernel(#[from] identity::peer::PeerError),
    #[error("its user has no number on this host")]
    Unmapped,
    #[error("its process has ended")]
    Gone,
    #[error(
        "the kernel tells only its process's number, which may be another's by now; boot Linux 6.5, \
         or name pidfd in broker.allow_degraded"
    )]
    NumberOnly,
    #[error("its control group can not be read; the broker needs to see /proc/PID of all users")]
    Hidden,
}

impl Attestor {
    /// `by_number`: kernels before 6.5 have no more than that, and a number may be another's by the
    /// time it is looked at.
    pub(crate) fn new(proc: PathBuf, subids: SubIds, by_number: bool) -> Self {
        let subids = RwLock::new(subids);
        Self { proc, subids, by_number, seen: Mutex::new(Keyed::new(ATTESTED_PROCESSES)) }
    }

    /// Other subordinate ids from now on.
    pub(crate) fn set_subids(&self, subids: SubIds) {
        *self.subids.write().unwrap_or_else(PoisonError::into_inner) = subids;
    }

    /// Who is at the other end of `stream`, which came through the socket `socket`.
    ///
    /// The kernel's word is about the moment of connecting. What `/proc` says is about now, so
    /// the process is looked at afterwards once more: had it ended in between, its number could
    /// already be another's.
    pub(crate) fn attest(
        &self,
        stream: impl AsFd,
        socket: &Arc<str>,
        now: Duration,
    ) -> Result<Peer, Unknown> {
        let stream = stream.as_fd();
        let found = accepted_credentials(stream)?;
        if found.uid == OVERFLOW_ID {
            return Err(Unknown::Unmapped);
        }
        let process = pidfd(stream)?;
        if process.is_none() && !self.by_number {
            return Err(Unknown::NumberOnly);
        }
        let seen = self.process(found.pid, process.as_ref(), now)?;
        let inner_uid = inner_id(&seen.uid_map, found.uid);
        let identity = inner_uid == Some(found.uid) && is_whole(&seen.uid_map);
        let place = match seen.place {
            Place::Host | Place::Unit(_) if !identity => Place::Foreign,
            place => place,
        };
        let subids = self.subids.read().unwrap_or_else(PoisonError::into_inner);
        let range = subids.find(found.uid, found.gid).cloned();
        Ok(Peer {
            uid: found.uid,
            gid: found.gid,
            groups: own_groups(stream)?,
            pid: found.pid,
            place,
            inner_uid,
            mapped: span(&seen.uid_map, found.uid),
            range,
            socket: Arc::clone(socket),
        })
    }

    fn process(&self, pid: i32, pidfd: Option<&OwnedFd>, now: Duration) -> Result<Seen, Unknown> {
        let name = pidfd.and_then(|fd| lasting_name(fd.as_fd()));
        let mut table = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = name.and_then(|name| table.get(&name))
            && now.saturating_sub(seen.at) < ATTESTED
        {
            return Ok(seen.clone());
        }
        let file = |what: &str| read(&self.proc.join(pid.to_string()).join(what));
        let (cgroup, uid_map) = (file("cgroup"), file("uid_map"));
        if pidfd.is_some_and(|fd| has_ended(fd.as_fd())) {
            return Err(Unknown::Gone);
        }
        let (Some(cgroup), Some(uid_map)) = (cgroup, uid_map) else {
            return Err(Unknown::Hidden);
        };
        let place = cgroup::place(&cgroup).ok_or(Unknown::Hidden)?;
        let seen = Seen { at: now, place, uid_map: uid_map.into() };
        if let Some(name) = name {
            *table.entry(now, &name, || seen.clone()) = seen.clone();
        }
        Ok(seen)
    }
}

/// Whether this kernel gives descriptors of peers' processes (Linux 6.5).
pub(crate) fn kernel_tells_processes() -> bool {
    let pair = std::os::unix::net::UnixStream::pair();
    pair.is_ok_and(|(one, _other)| matches!(pidfd(&one), Ok(Some(_))))
}

/// Supplementary groups, as many as are kept for a connection: rules for groups only give, so one
/// that is left out takes something away.
fn own_groups(stream: BorrowedFd<'_>) -> Result<Vec<u32>, Unknown> {
    let mut groups = groups(stream)?;
    groups.truncate(PEER_GROUPS);
    groups.shrink_to_fit();
    Ok(groups)
}

/// A number that no other process will ever have, where the kernel gives one.
fn lasting_name(pidfd: BorrowedFd<'_>) -> Option<u64> {
    // A property of the kernel, not of the descriptor: asked once.
    static IS_PIDFS: OnceLock<bool> = OnceLock::new();
    let is_pidfs = IS_PIDFS.get_or_init(|| {
        let magic = fstatfs(pidfd).ok().and_then(|system| u64::try_from(system.f_type).ok());
        magic == Some(PID_FS)
    });
    if *is_pidfs { fstat(pidfd).ok().map(|stat| stat.st_ino) } else { None }
}

/// A pidfd becomes readable when its process ends.
fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).map_or(true, |ready| ready > 0)
}

fn read(path: &std::path::Path) -> Option<String> {
    let mut text = String::new();
    let limit = u64::try_from(PROC_FILE).unwrap_or(u64::MAX);
    File::open(path).ok()?.take(limit).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The id inside the namespace of `map` (`/proc/PID/uid_map`: inside, outside, count).
pub(crate) fn inner_id(map: &str, outer: u32) -> Option<u32> {
    map.lines().filter_map(row).find_map(|(inside, outside, count)| {
        let offset = outer.checked_sub(outside)?;
        (offset < count).then(|| inside.checked_add(offset)).flatten()
    })
}

/// First and last id outside of the row of `map` that holds `outer`.
fn span(map: &str, outer: u32) -> Option<(u32, u32)> {
    let spans = map.lines().filter_map(row);
    let mut spans = spans
        .filter_map(|(_, first, count)| Some((first, first.checked_add(count.checked_sub(1)?)?)));
    spans.find(|(first, last)| (*first..=*last).contains(&outer))
}

/// Whether it is the host's own: every id as it is.
fn is_whole(map: &str) -> bool {
    let mut rows = map.lines().filter_map(row);
    rows.next() == Some((0, 0, u32::MAX)) && rows.next().is_none()
}

fn row(line: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = line.split_ascii_whitespace().map(|number| number.parse::<u32>().ok());
    let row = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::peer::PeerError;
    use std::os::unix::net::UnixStream;

    fn attestor(cgroup: &str, uid_map: &str) -> (tempfile::TempDir, Attestor) {
        let proc = tempfile::tempdir().unwrap();
        let own = proc.path().join(std::process::id().to_string());
        std::fs::create_dir(&own).unwrap();
        std::fs::write(own.join("cgroup"), cgroup).unwrap();
        std::fs::write(own.join("uid_map"), uid_map).unwrap();
        let own_uid = rustix::process::getuid().as_raw();
        let subids = SubIds::parse(&format!("x:{}:9", own_uid.max(1)), "");
        let attestor = Attestor::new(proc.path().to_owned(), subids, false);
        (proc, attestor)
    }

    const WHOLE: &str = "         0          0 4294967295\n";

    #[test]
    fn a_container_is_told_from_the_host() {
        let (one, _other) = UnixStream::pair().unwrap();
        let socket: Arc<str> = "default".into();
        let place = |cgroup: &str, map: &str| {
            let (_proc, attestor) = attestor(cgroup, map);
            attestor.attest(&one, &socket, Duration::ZERO).map(|peer| peer.place)
        };
        assert_eq!(place("0::/\n", WHOLE).unwrap(), Place::Host);
        assert_eq!(place("0::/lxc/101/ns\n", WHOLE).unwrap(), Place::Container("101".into()));
        assert_eq!(place("0::/\n", "0 100000 65536\n").unwrap(), Place::Foreign);
        assert!(matches!(place("", WHOLE), Err(Unknown::Hidden)));
        let empty = Attestor::new("/nonexistent".into(), SubIds::default(), false);
        assert!(matches!(empty.attest(&one, &socket, Duration::ZERO), Err(Unknown::Hidden)));
    }

    #[test]
    fn findings_are_believed_for_a_while_only() {
        let (one, _other) = UnixStream::pair().unwrap();
        let socket: Arc<str> = "default".into();
        let (proc, attestor) = attestor("0::/\n", WHOLE);
        let place = |now| attestor.attest(&one, &socket, now).unwrap().place;
        assert_eq!(place(Duration::ZERO), Place::Host);
        let own = proc.path().join(std::process::id().to_string());
        std::fs::write(own.join("cgroup"), "0::/lxc/101\n").unwrap();
        assert_eq!(place(ATTESTED), Place::Container("101".into()));
    }

    #[test]
    fn a_process_that_has_ended_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
        let child = std::process::Command::new("python3").args(["-c", script]).arg(&path).status();
        assert!(child.unwrap().success());
        let (stream, _) = listener.accept().unwrap();
        let attestor = Attestor::new("/proc".into(), SubIds::default(), false);
        let found = attestor.attest(&stream, &"default".into(), Duration::ZERO).unwrap_err();
        let gone = matches!(found, Unknown::Gone | Unknown::Kernel(PeerError::Gone));
        assert!(gone || matches!(found, Unknown::NumberOnly), "{found}");
    }

    #[test]
    fn ids_inside_a_namespace() {
        let map = "         0     100000      65536\n  65536 1000 1\n";
        assert_eq!(inner_id(map, 100_000), Some(0));
        assert_eq!(inner_id(map, 100_033), Some(33));
        assert_eq!(inner_id(map, 1000), Some(65_536));
        assert_eq!(inner_id(map, 0), None);
        assert_eq!((span(map, 100_033), span(map, 0)), (Some((100_000, 165_535)), None));
        assert_eq!(inner_id("garbage", 0), None);
        assert!(is_whole(WHOLE) && !is_whole(map) && !is_whole("0 0 65536"));
    }
}
