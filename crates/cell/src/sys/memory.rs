//! Waiting long in little memory: what was only needed while a cell was built is given back.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::event::{PollFd, poll};
use rustix::io::Errno;

use crate::limits::{IDLE, MAPS_BYTES, timespec};

/// How a process of one thread waits. Once nothing has come for [`IDLE`], the pages it does not
/// need for waiting are forgotten, and again after each time it had something to do.
#[derive(Debug)]
pub(crate) struct Wait {
    /// Where programs and libraries are mapped. Opened early, because process 1 of a cell can not
    /// later. A copy of a process has the same places.
    maps: Option<File>,
    /// How long nothing has come; none once that was long enough.
    quiet: Option<Duration>,
}

/// Bytes below the innermost frame that stay: what a signal or a call needs.
const STACK_KEPT: usize = 8 << 10;

impl Wait {
    /// Of this process, and of copies of it.
    pub(crate) fn of_this_process() -> Self {
        Self { maps: File::open("/proc/self/maps").ok(), quiet: Some(Duration::ZERO) }
    }

    /// Of a process with more threads, or with more to do than wait: gives nothing back.
    pub(crate) fn plain() -> Self {
        Self { maps: None, quiet: None }
    }

    /// As poll(2): how many are ready, 0 when `timeout` is over.
    ///
    /// # Errors
    ///
    /// Those of poll(2); `EINTR` is one.
    pub(crate) fn poll(
        &mut self,
        watched: &mut [PollFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<usize, Errno> {
        let Some(quiet) = self.quiet else {
            let ready = poll(watched, timeout.map(timespec).as_ref());
            // Something was done, so there is something to give back next time.
            self.quiet = self.maps.as_ref().map(|_| Duration::ZERO).filter(|_| ready != Ok(0));
            return ready;
        };
        let first = timeout.unwrap_or(IDLE).min(IDLE.saturating_sub(quiet));
        let ready = poll(watched, Some(&timespec(first)));
        if ready != Ok(0) {
            self.quiet = Some(Duration::ZERO);
            return ready;
        }
        self.quiet = Some(quiet + first).filter(|quiet| *quiet < IDLE);
        let rest = timeout.map(|timeout| timeout.saturating_sub(first));
        if self.quiet.is_some() {
            return Ok(0);
        }
        let ranges = self.unneeded();
        // SAFETY: gives free memory of the allocator back, no other.
        unsafe { libc::malloc_trim(0) };
        let ready = forget_and_poll(&ranges, watched, rest);
        if ready != Ok(0) {
            self.quiet = Some(Duration::ZERO);
        }
        ready
    }

    /// Pages of code, and of the stack that is not in use.
    fn unneeded(&self) -> Vec<(usize, usize)> {
        let mut maps = vec![0; MAPS_BYTES];
        let mut length = 0;
        // At places, never by the file's own position: copies of this process share that one, and
        // half a line would be another range.
        while let Some(file) = &self.maps
            && let Some(room) = maps.get_mut(length..)
            && let Ok(count @ 1..) = file.read_at(room, u64::try_from(length).unwrap_or(u64::MAX))
        {
            length += count;
        }
        let here = std::ptr::from_ref(&length).addr();
        let lines = maps.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == b'\n');
        let whole = lines.filter_map(|line| str::from_utf8(line).ok()?.strip_suffix('\n'));
        whole.filter_map(|line| clean_range(line).or_else(|| unused_stack(line, here))).collect()
    }
}

/// The last page of code that is needed is this function's: a process that waits here holds no
/// other, and all that do hold the same.
#[inline(never)]
fn forget_and_poll(
    ranges: &[(usize, usize)],
    watched: &mut [PollFd<'_>],
    timeout: Option<Duration>,
) -> Result<usize, Errno> {
    let timeout = timeout.map(timespec);
    for (start, end) in ranges {
        let at: *mut libc::c_void = std::ptr::with_exposed_provenance_mut(*start);
        // SAFETY: private mappings of files that were never written to, so the file has the same
        // bytes and code that runs again is read again; or stack far below every frame. Nothing is
        // unmapped.
        unsafe { libc::madvise(at, end - start, libc::MADV_DONTNEED) };
    }
    poll(watched, timeout.as_ref())
}

/// The part of the stack below what is in use.
fn unused_stack(line: &str, here: usize) -> Option<(usize, usize)> {
    if !line.ends_with("[stack]") {
        return None;
    }
    let (start, end) = range(line)?;
    let unused = here.checked_sub(STACK_KEPT)? & !0xfff;
    (start < unused && here < end).then_some((start, unused))
}

/// A line of maps (proc_pid_maps(5)) that holds code, or the constants at a file's beginning:
/// pages the loader writes to have other rights or another offset.
fn clean_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_whitespace();
    let (range, rights, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let path = fields.nth(2)?;
    let clean = rights == "r-xp" || rights == "r--p" && offset.bytes().all(|byte| byte == b'0');
    if !clean || !path.starts_with('/') {
        return None;
    }
    self::range(range)
}

fn range(line: &str) -> Option<(usize, usize)> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?)).filter(|(start, end)| start < end)
}

#[cfg(test)]
mod tests {
    use rustix::event::PollFlags;

    use super::*;

    #[test]
    fn only_code_and_constants_of_files_are_released() {
        let yes = "55d0-55e0 r-xp 00001000 08:01 7 /usr/bin/x";
        assert_eq!(clean_range(yes), Some((0x55d0, 0x55e0)));
        assert!(clean_range("10-20 r--p 00000000 08:01 7 /usr/bin/x").is_some());
        for no in [
            "10-20 r--p 00003000 08:01 7 /usr/bin/x",
            "10-20 rw-p 00001000 08:01 7 /usr/bin/x",
            "10-20 r-xp 00000000 00:00 0 [vdso]",
            "10-20 rwxp 00000000 00:00 0",
        ] {
            assert_eq!(clean_range(no), None, "{no}");
        }
    }

    #[test]
    fn the_stack_in_use_stays() {
        let line = "7ffd00000000-7ffd00100000 rw-p 00000000 00:00 0 [stack]";
        let here = 0x7ffd_000f_0010;
        assert_eq!(unused_stack(line, here), Some((0x7ffd_0000_0000, 0x7ffd_000e_e000)));
        assert_eq!(unused_stack(line, 0x1000_0000), None);
        assert_eq!(unused_stack("10-20 rw-p 0 00:00 0 [heap]", 0x18), None);
    }

    #[test]
    fn a_process_goes_on_after_its_pages_are_forgotten_and_forgets_them_again() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut wait = Wait::of_this_process();
        for _ in 0..2 {
            let watched = &mut [PollFd::new(&reader, PollFlags::IN)];
            assert_eq!(wait.poll(watched, Some(IDLE * 2)), Ok(0));
            assert_eq!(wait.quiet, None);
            rustix::io::write(&writer, b"x").unwrap();
            assert_eq!(wait.poll(watched, None), Ok(1));
            assert_eq!(wait.quiet, Some(Duration::ZERO));
            rustix::io::read(&reader, &mut [0; 1]).unwrap();
        }
    }

    #[test]
    fn short_looks_add_up_and_something_to_do_starts_anew() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut wait = Wait::of_this_process();
        let watched = &mut [PollFd::new(&reader, PollFlags::IN)];
        let look = IDLE / 2;
        assert_eq!(wait.poll(watched, Some(look)), Ok(0));
        assert_eq!(wait.quiet, Some(look));
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(wait.poll(watched, Some(look)), Ok(1));
        rustix::io::read(&reader, &mut [0; 1]).unwrap();
        for quiet in [Some(look), None, None] {
            assert_eq!(wait.poll(watched, Some(look)), Ok(0));
            assert_eq!(wait.quiet, quiet);
        }
    }
}
