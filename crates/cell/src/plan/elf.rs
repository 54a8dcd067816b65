//! Which loader and which libraries does an executable want? (elf(5), ld.so(8))

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::limits::ELF_TABLE_BYTES;

/// What an ELF file asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The loader's path; none for a static program.
    pub(super) interpreter: Option<String>,
    /// Names of libraries.
    pub(super) needed: Vec<String>,
    /// Directories to look in first, with `$ORIGIN` as written.
    pub(super) paths: Vec<String>,
}

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const TAG_NEEDED: u64 = 1;
const TAG_STRINGS: u64 = 5;
const TAG_RPATH: u64 = 15;
const TAG_RUNPATH: u64 = 29;
/// Longest text that is read.
const STRING: u64 = 4096;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const ENTRY: usize = 16;

/// A segment of the file.
#[derive(Debug, Clone, Copy)]
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Reads the headers of a 64-bit x86 ELF file; none when it is something else or is damaged.
pub(super) fn wanted(file: &File) -> Option<Wanted> {
    read(&|offset, size| {
        let size = usize::try_from(size.min(ELF_TABLE_BYTES)).ok()?;
        let mut bytes = vec![0; size];
        let read = file.read_at(&mut bytes, offset).ok()?;
        bytes.truncate(read);
        Some(bytes)
    })
}

/// The same over bytes in memory.
pub(super) fn over(bytes: &[u8]) -> Option<Wanted> {
    read(&|offset, size| {
        let start = usize::try_from(offset).ok()?;
        let rest = bytes.get(start..)?;
        let size = usize::try_from(size.min(ELF_TABLE_BYTES)).ok()?;
        Some(rest.get(..size).unwrap_or(rest).to_vec())
    })
}

/// Loader and libraries, for a fuzz target.
#[cfg(fuzzing)]
pub(crate) fn wanted_of(bytes: &[u8]) -> Option<(Option<String>, Vec<String>)> {
    over(bytes).map(|wanted| (wanted.interpreter, wanted.needed))
}

/// The same over any source of bytes.
fn read(at: &dyn Fn(u64, u64) -> Option<Vec<u8>>) -> Option<Wanted> {
    let header = at(0, HEADER as u64)?;
    let is_x86_64 = header.starts_with(b"\x7fELF\x02\x01") && half(&header, 18)? == 62;
    if !is_x86_64 || usize::from(half(&header, 54)?) != PROGRAM_HEADER {
        return None;
    }
    let count = u64::from(half(&header, 56)?);
    let table = at(long(&header, 32)?, count * PROGRAM_HEADER as u64)?;
    let segments: Vec<Segment> =
        table.chunks_exact(PROGRAM_HEADER).map(segment).collect::<Option<_>>()?;
    let of = |kind| segments.iter().find(move |segment| segment.kind == kind);

    let mut wanted = Wanted::default();
    if let Some(one) = of(INTERPRETER) {
        wanted.interpreter = Some(text(&at(one.offset, one.size)?, 0)?);
    }
    let Some(dynamic) = of(DYNAMIC) else { return Some(wanted) };
    let entries = at(dynamic.offset, dynamic.size)?;
    let entries: Vec<(u64, u64)> = entries
        .chunks_exact(ENTRY)
        .map(|entry| Some((long(entry, 0)?, long(entry, 8)?)))
        .collect::<Option<_>>()?;
    let value = |tag| entries.iter().find(|entry| entry.0 == tag).map(|entry| entry.1);
    let strings = file_offset(&segments, value(TAG_STRINGS)?)?;
    // One text at a time: the table of a program that exports its symbols has megabytes.
    let string = |offset: u64| text(&at(strings.checked_add(offset)?, STRING)?, 0);
    for (tag, offset) in &entries {
        match *tag {
            TAG_NEEDED => wanted.needed.push(string(*offset)?),
            TAG_RPATH | TAG_RUNPATH => {
                let paths = string(*offset)?;
                wanted.paths.extend(paths.split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    Some(wanted)
}

fn segment(bytes: &[u8]) -> Option<Segment> {
    Some(Segment {
        kind: u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?),
        offset: long(bytes, 8)?,
        address: long(bytes, 16)?,
        size: long(bytes, 32)?,
    })
}

/// Where the file holds what is loaded at an address.
fn file_offset(segments: &[Segment], address: u64) -> Option<u64> {
    let holds = |one: &&Segment| {
        one.kind == LOAD && address >= one.address && address - one.address < one.size
    };
    let segment = segments.iter().find(holds)?;
    segment.offset.checked_add(address - segment.address)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Text up to the NUL.
fn text(bytes: &[u8], at: usize) -> Option<String> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest.get(..end)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_test_wants_its_loader_and_the_c_library() {
        let own = File::open("/proc/self/exe").unwrap();
        let wanted = wanted(&own).unwrap();
        assert!(wanted.interpreter.unwrap().contains("ld-"));
        assert!(wanted.needed.iter().any(|name| name.starts_with("libc.")), "{:?}", wanted.needed);
    }

    #[test]
    fn what_is_no_elf_file_is_none() {
        assert_eq!(over(b"#!/bin/sh\n"), None);
        assert_eq!(over(&[0; 64]), None);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0_usize..4096, byte: u8, cut in 0_usize..4096) {
            let mut bytes = std::fs::read("/proc/self/exe").unwrap();
            bytes.truncate(1 << 16);
            bytes[at] = byte;
            let _ = over(&bytes);
            let _ = over(&bytes[..cut]);
        }
    }
}
