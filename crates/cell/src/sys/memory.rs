//! Giving memory back that is only needed while a cell is built.

use std::fs::File;
use std::io::{Read as _, Seek as _};

/// Where this process's programs and libraries are mapped. Opened early, because process 1 of a cell
/// can not later; read when it is needed. A copy of a process has the same places.
#[derive(Debug, Default)]
pub(crate) struct Program(Option<File>);

/// Bytes below the innermost frame that stay: what a signal or a call needs.
const STACK_KEPT: usize = 16 << 10;

impl Program {
    /// Of this process, and of copies of it.
    pub(crate) fn of_this_process() -> Self {
        Self(File::open("/proc/self/maps").ok())
    }

    /// Forgets pages of code, of free memory and of the stack that is not in use; code that runs
    /// again is read again. A waiting process needs few. Only for processes of one thread.
    pub(crate) fn release(&self) {
        let mut maps = String::new();
        let Some(mut file) = self.0.as_ref() else { return };
        if file.rewind().is_err() || file.read_to_string(&mut maps).is_err() {
            return;
        }
        let here = std::ptr::from_ref(&maps).addr();
        let clean = maps.lines().filter_map(clean_range);
        let unused = maps.lines().filter_map(|line| unused_stack(line, here));
        let ranges: Vec<(usize, usize)> = clean.chain(unused).collect();
        drop(maps);
        for (start, end) in ranges {
            let at: *mut libc::c_void = std::ptr::with_exposed_provenance_mut(start);
            // SAFETY: private mappings of files that were never written to, so the file has the
            // same bytes; or stack far below every frame. Nothing is unmapped.
            unsafe { libc::madvise(at, end - start, libc::MADV_DONTNEED) };
        }
        // SAFETY: gives free memory of the allocator back, no other.
        unsafe { libc::malloc_trim(0) };
    }
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
    Some((number(start)?, number(end)?))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(unused_stack(line, here), Some((0x7ffd_0000_0000, 0x7ffd_000e_c000)));
        assert_eq!(unused_stack(line, 0x1000_0000), None);
        assert_eq!(unused_stack("10-20 rw-p 0 00:00 0 [heap]", 0x18), None);
    }

    #[test]
    fn a_program_goes_on_after_its_pages_are_released() {
        Program::of_this_process().release();
        assert_eq!("still here".len(), 10);
    }
}
