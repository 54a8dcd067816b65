//! The values' way through the pipe: `NAME\0VALUE\0` for each.

use super::marker::Marker;
use super::{EnvironError, TOTAL_MAX_BYTES};
use crate::SecretString;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::pipe::PipeFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use zeroize::Zeroizing;

/// Names with their values, in the caller's order.
pub(super) type Pairs = Vec<(String, SecretString)>;

/// Which of `names` are set, also to an empty text.
pub(super) fn from_environment(names: &[&str]) -> Result<Pairs, EnvironError> {
    let mut pairs = Pairs::new();
    for &name in names {
        if let Some(value) = std::env::var_os(name) {
            let value = value.into_string().map_err(|_| EnvironError::NotUtf8(name.to_owned()))?;
            pairs.push((name.to_owned(), SecretString::new(value)));
        }
    }
    Ok(pairs)
}

/// Fills a new pipe; its read end stays open over an exec, its write end is closed.
pub(super) fn send(pairs: &Pairs) -> Result<(OwnedFd, Marker), EnvironError> {
    let bytes = encode(pairs)?;
    // Non-blocking: when the kernel gives less than the usual 64 KiB (pipe-user-pages-soft),
    // that is an error and not a process that waits for itself.
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(|errno| failed("create a pipe", errno))?;
    File::from(writer)
        .write_all(&bytes)
        .map_err(|source| EnvironError::Io { doing: "write to the pipe", source })?;
    rustix::io::fcntl_setfd(&reader, FdFlags::empty())
        .map_err(|errno| failed("keep the pipe open", errno))?;
    let fd = u32::try_from(reader.as_raw_fd()).map_err(|_| failed("name the pipe", Errno::BADF))?;
    Ok((reader, Marker::own(fd)))
}

/// Empties the pipe that the marker names. Never waits: whatever is not a pipe is refused
/// before it is opened, and a pipe that still has a writer is not ours.
pub(super) fn receive(
    marker: &Marker,
    names: &[&str],
) -> Result<BTreeMap<String, SecretString>, EnvironError> {
    let path = marker.path();
    match std::fs::metadata(&path) {
        Ok(meta) if meta.file_type().is_fifo() => {}
        Ok(_) => return Err(EnvironError::Marker("the descriptor is not a pipe")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(EnvironError::Marker("the descriptor is not open"));
        }
        Err(source) => {
            return Err(EnvironError::Io { doing: "look at the pipe", source });
        }
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let pipe = rustix::fs::open(&path, flags, Mode::empty())
        .map_err(|errno| failed("open the pipe", errno))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(TOTAL_MAX_BYTES + 1));
    let most = u64::try_from(TOTAL_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    match File::from(pipe).take(most).read_to_end(&mut bytes) {
        Ok(_) => decode(&bytes, names),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(EnvironError::Marker("the pipe has another writer"))
        }
        Err(source) => Err(EnvironError::Io { doing: "read the pipe", source }),
    }
}

fn encode(pairs: &Pairs) -> Result<Zeroizing<Vec<u8>>, EnvironError> {
    let size: usize = pairs.iter().map(|(name, value)| name.len() + value.expose().len() + 2).sum();
    if size > TOTAL_MAX_BYTES {
        return Err(EnvironError::TooLarge);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    for (name, value) in pairs {
        for part in [name, value.expose()] {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0);
        }
    }
    Ok(bytes)
}

fn decode(bytes: &[u8], names: &[&str]) -> Result<BTreeMap<String, SecretString>, EnvironError> {
    const MALFORMED: EnvironError = EnvironError::Marker("the pipe holds something else");
    if bytes.len() > TOTAL_MAX_BYTES {
        return Err(EnvironError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| MALFORMED)?;
    // The first start sends something, each part with its end: an empty pipe was not filled
    // by it, and a cut one lost a part.
    let mut parts = text.strip_suffix('\0').ok_or(MALFORMED)?.split('\0');
    let mut taken = BTreeMap::new();
    while let Some(name) = parts.next() {
        let value = parts.next().ok_or(MALFORMED)?;
        let known = names.contains(&name);
        if !known || taken.insert(name.to_owned(), SecretString::from(value)).is_some() {
            return Err(MALFORMED);
        }
    }
    Ok(taken)
}

fn failed(doing: &'static str, errno: Errno) -> EnvironError {
    EnvironError::Io { doing, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(list: &[(&str, &str)]) -> Pairs {
        list.iter().map(|(n, v)| ((*n).to_owned(), SecretString::from(*v))).collect()
    }

    #[test]
    fn a_pipe_carries_the_largest_lawful_load() {
        let value = "x".repeat(TOTAL_MAX_BYTES - 3);
        let (_reader, marker) = send(&pairs(&[("A", &value)])).unwrap();
        let taken = receive(&marker, &["A"]).unwrap();
        assert!(taken.get("A").unwrap().same_as(&value));
        let more = format!("{value}x");
        assert!(matches!(send(&pairs(&[("A", &more)])), Err(EnvironError::TooLarge)));
    }

    #[test]
    fn a_pipe_is_emptied_once() {
        let (_reader, marker) = send(&pairs(&[("A", "canary")])).unwrap();
        assert_eq!(receive(&marker, &["A"]).unwrap().len(), 1);
        assert!(matches!(receive(&marker, &["A"]), Err(EnvironError::Marker(_))));
    }

    #[test]
    fn forged_descriptors_are_refused_without_waiting() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let marker = |fd: &dyn AsRawFd| Marker::own(u32::try_from(fd.as_raw_fd()).unwrap());
        let refused = |marker: &Marker| receive(marker, &["A"]).unwrap_err().to_string();
        assert!(refused(&marker(&reader)).contains("another writer"));
        drop(writer);
        assert!(refused(&marker(&reader)).contains("something else"));
        assert!(refused(&marker(&tempfile::tempfile().unwrap())).contains("not a pipe"));
        assert!(refused(&marker(&File::open("/dev/null").unwrap())).contains("not a pipe"));
        assert!(refused(&Marker::own(u32::MAX)).contains("not open"));
    }

    #[test]
    fn foreign_content_is_refused() {
        for bytes in [
            &b""[..],
            b"A",
            b"A\0",
            b"A\0x",
            b"A\0x\0B",
            b"A\0x\0A\0y\0",
            b"C\0x\0",
            b"A\0\xff\0",
            b"\0\0",
            b"A\0x\0\0",
        ] {
            assert!(decode(bytes, &["A", "B"]).is_err(), "{bytes:?}");
        }
        let taken = decode(b"A\0x\0B\0\0", &["A", "B"]).unwrap();
        assert!(taken.get("A").unwrap().same_as("x") && taken.get("B").unwrap().same_as(""));
    }

    proptest! {
        #[test]
        fn what_was_sent_is_received(a in "[^\\x00]{0,40}", b in "[^\\x00]{0,40}") {
            let bytes = encode(&pairs(&[("A", &a), ("B", &b)])).unwrap();
            let taken = decode(&bytes, &["A", "B"]).unwrap();
            prop_assert!(taken.get("A").unwrap().same_as(&a) && taken.get("B").unwrap().same_as(&b));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0u8..4, 0..40)) {
            let _ = decode(&bytes, &["\u{1}", "\u{2}"]);
        }
    }
}
