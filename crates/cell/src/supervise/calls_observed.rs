//! Calls by path. To a cell that is observed files outside are shown, and written down; of one whose
//! denials are recorded with paths they are recorded, and the kernel decides.

use std::ffi::CString;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use rustix::io::Errno;

use super::calls::{Calls, Reply};
use super::memory::Memory;
use super::observe::Observer;
use crate::sys::file::{self, Looked};
use crate::sys::seccomp::{Notification, give_descriptor, still_waits};

/// Open flags that more than read.
const WRITES: u64 = 0o3 | 0o100 | 0o1000 | 0o10_000_000; // O_ACCMODE, O_CREAT, O_TRUNC, O_PATH

/// What a call wants of a path: where its arguments are.
#[derive(Debug, Clone, Copy)]
enum Wish {
    /// Open, with flags.
    Open { flags: usize },
    /// Its attributes, into a buffer; with flags that may say not to follow a link.
    Look { how: Looked, into: usize, flags: Option<usize> },
    /// Whether it is there.
    Reach,
    /// Where a link leads, into a buffer of a size.
    Link { into: usize, size: usize },
    /// Run it.
    Execute,
}

/// Number, place of the path among the arguments, and what is wanted.
const WISHES: [(libc::c_long, usize, Wish); 13] = [
    (libc::SYS_open, 0, Wish::Open { flags: 1 }),
    (libc::SYS_openat, 1, Wish::Open { flags: 2 }),
    (libc::SYS_stat, 0, Wish::Look { how: Looked::Stat, into: 1, flags: None }),
    (libc::SYS_lstat, 0, Wish::Look { how: Looked::Lstat, into: 1, flags: None }),
    (libc::SYS_newfstatat, 1, Wish::Look { how: Looked::Stat, into: 2, flags: Some(3) }),
    (libc::SYS_statx, 1, Wish::Look { how: Looked::Statx, into: 4, flags: Some(2) }),
    (libc::SYS_access, 0, Wish::Reach),
    (libc::SYS_faccessat, 1, Wish::Reach),
    (libc::SYS_faccessat2, 1, Wish::Reach),
    (libc::SYS_readlink, 0, Wish::Link { into: 1, size: 2 }),
    (libc::SYS_readlinkat, 1, Wish::Link { into: 2, size: 3 }),
    (libc::SYS_execve, 0, Wish::Execute),
    (libc::SYS_execveat, 1, Wish::Execute),
];

/// The answer to a call by path; none for other calls, and for those that are refused whatever the
/// path.
pub(super) fn answer(calls: &mut Calls<'_>, call: &Notification) -> Option<Reply> {
    let number = libc::c_long::from(call.number);
    let (_, at, wish) = *WISHES.iter().find(|(known, ..)| *known == number)?;
    let at = call.arguments.get(at).copied().unwrap_or(0);
    let observer = calls.observer();
    if let (Wish::Execute, Some(observer)) = (wish, observer.filter(|_| calls.is_armed())) {
        calls.path(call, at).inspect(|path| observer.program(path));
        return Some(Reply::Answer(Err(Errno::ACCESS)));
    }
    if !calls.would_be_allowed(call) {
        return None;
    }
    // Before its execution the command has another memory, and nothing of it is of interest.
    let path = if calls.is_armed() { calls.path(call, at) } else { None };
    let Some(path) = path else { return Some(Reply::Continue) };
    let Some(observer) = observer else {
        calls.record_path(&path);
        return Some(Reply::Continue);
    };
    let outside = observer.outside(&path);
    let granted = outside.and_then(|path| grant(calls, call, observer, &path, wish));
    Some(granted.unwrap_or(Reply::Continue))
}

/// None: as if nobody had looked.
fn grant(
    calls: &mut Calls<'_>,
    call: &Notification,
    observer: &Observer,
    path: &Path,
    wish: Wish,
) -> Option<Reply> {
    let argument = |at: usize| call.arguments.get(at).copied().unwrap_or(0);
    let answered = match wish {
        Wish::Open { flags } => {
            if argument(flags) & WRITES != 0 {
                return None;
            }
            let opened = observer.open(path, argument(flags));
            let given = opened
                .and_then(|opened| give_descriptor(calls.listener(), call.id, opened.as_fd()));
            match given {
                Ok(()) => return Some(Reply::Later),
                Err(error) => Err(error),
            }
        }
        Wish::Look { how, into, flags } => {
            observer.looked_at(path);
            let text = CString::new(path.as_os_str().as_bytes()).ok()?;
            let bytes = file::look(&text, how, flags.map_or(0, argument));
            bytes.and_then(|bytes| write(calls, call, argument(into), &bytes)).map(|()| 0)
        }
        Wish::Reach => {
            observer.looked_at(path);
            Ok(0)
        }
        Wish::Link { into, size } => {
            let mut bytes = std::fs::read_link(path).ok()?.into_os_string().into_vec();
            bytes.truncate(usize::try_from(argument(size)).unwrap_or(0));
            let length = i64::try_from(bytes.len()).unwrap_or(0);
            write(calls, call, argument(into), &bytes).map(|()| length)
        }
        Wish::Execute => return None,
    };
    Some(Reply::Answer(answered))
}

fn write(calls: &Calls<'_>, call: &Notification, at: u64, bytes: &[u8]) -> Result<(), Errno> {
    if !still_waits(calls.listener(), call.id) {
        return Err(Errno::SRCH);
    }
    Memory::write(call.thread, at, bytes)
}
