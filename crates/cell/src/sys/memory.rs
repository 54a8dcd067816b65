//! Giving memory back that is only needed while a cell is built.

/// Where this process's programs and libraries are mapped, as far as those pages can be read again
/// from their files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program(Vec<(usize, usize)>);

impl Program {
    /// Of this process, and of copies of it.
    pub(crate) fn of_this_process() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self(maps.lines().filter_map(clean_range).collect())
    }

    /// Forgets the pages; what is used again is read again. A waiting process needs few.
    pub(crate) fn release(&self) {
        for (start, end) in &self.0 {
            let at: *mut libc::c_void = std::ptr::with_exposed_provenance_mut(*start);
            // SAFETY: private mappings of files that were never written to, so the file has the
            // same bytes; nothing is unmapped.
            unsafe { libc::madvise(at, end - start, libc::MADV_DONTNEED) };
        }
        if !self.0.is_empty() {
            // SAFETY: gives free memory of the allocator back, no other.
            unsafe { libc::malloc_trim(0) };
        }
    }
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
    let (start, end) = range.split_once('-')?;
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
    fn a_program_goes_on_after_its_pages_are_released() {
        Program::of_this_process().release();
        assert_eq!("still here".len(), 10);
    }
}
