//! The file itself: opening under a lock, reading, appending, writing anew.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use pve_access::Release;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use secrets::private_file::FileError;
use serde::{Deserialize, Serialize};

use super::frame::{Chain, Fault, Frames};
use crate::error::StartError;
use crate::limits::{CHUNK_BYTES, OPEN_TRIES};
use crate::state::State;
use crate::state::record::{Record, Restoring};

/// What this program writes and the only thing it reads.
const FORMAT: u32 = 1;

/// What tells a damaged first line from a file of another kind.
const MARK: &str = "proxward_mock_state";

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    proxward_mock_state: u32,
    /// Major release of the API, which decides about roles and rights.
    release: u8,
    /// Tells one seed from another.
    seed: String,
}

/// An open and locked state file.
pub(crate) struct StateFile {
    path: PathBuf,
    header: Header,
    file: File,
    /// Bytes that are known to be on the disk.
    length: u64,
    chain: Chain,
    /// [`Self::length`] when everything was written last.
    base: u64,
    /// After a failed sync the system may show bytes that are not on the disk and never will be
    /// (fsync(2)); only a new file is sure again.
    is_suspect: bool,
    /// Makes the next writes or syncs fail.
    #[cfg(test)]
    pub(super) fails: Fails,
}

/// What a state file held.
pub(crate) struct Opened {
    pub(crate) file: StateFile,
    /// `None` in a new file.
    pub(crate) state: Option<State>,
    /// What was found and is to be said, one line each.
    pub(crate) notes: Vec<String>,
}

impl StateFile {
    /// Opens or creates the file and locks it until it is dropped.
    ///
    /// # Errors
    /// [`StartError::StateFile`]: the file is not private, another mock has it, it is damaged, or
    /// holds another release.
    pub(crate) fn open(path: &Path, release: Release, seed: String) -> Result<Opened, StartError> {
        let header = Header { proxward_mock_state: FORMAT, release: major(release), seed };
        let file = locked(path)?;
        let mut opened = Self {
            path: path.to_owned(),
            header,
            file,
            length: 0,
            chain: Chain::default(),
            base: 0,
            is_suspect: true,
            #[cfg(test)]
            fails: Fails::default(),
        };
        let size = opened.file.metadata().map_err(|error| fault(path, error))?.len();
        if size == 0 {
            return Ok(Opened { file: opened, state: None, notes: Vec::new() });
        }
        let read = opened.read(release)?;
        let mut notes = Vec::new();
        if read.torn {
            let rest = size.saturating_sub(read.length);
            notes.push(format!(
                "state file {}: the last {rest} bytes were never completely written, and no \
                 answer waited for less; they are cut off",
                path.display()
            ));
            opened.file.set_len(read.length).map_err(|error| fault(path, error))?;
            opened.file.sync_all().map_err(|error| fault(path, error))?;
        }
        if read.header.seed != opened.header.seed {
            notes.push(format!(
                "state file {} was filled from another seed; a seed fills new files only",
                path.display()
            ));
        }
        opened.header = read.header;
        (opened.length, opened.chain, opened.base) = (read.length, read.chain, read.length);
        opened.is_suspect = false;
        Ok(Opened { file: opened, state: Some(read.state), notes })
    }

    /// Whether the next write has to be [`StateFile::replace`].
    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes, and how many of them are changes since everything was written.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.length, self.length.saturating_sub(self.base))
    }

    /// Appends one line and waits until it is on the disk. After an error the file is as before.
    pub(crate) fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let (mut line, mut chain) = (Vec::new(), self.chain);
        chain.write(&mut line, payload);
        let written = self.file.write_all_at(&line, self.length);
        #[cfg(test)]
        let written = written.and_then(|()| self.fails.fail(&self.fails.write));
        if let Err(error) = written.and_then(|()| self.sync()) {
            if self.file.set_len(self.length).is_err() {
                self.is_suspect = true;
            }
            return Err(error);
        }
        self.chain = chain;
        self.length += u64::try_from(line.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.file.sync_data();
        #[cfg(test)]
        let synced = synced.and_then(|()| self.fails.fail(&self.fails.sync));
        self.is_suspect |= synced.is_err();
        synced
    }

    /// Puts a new file with these contents into the place of this one. After an error the old
    /// one is still there.
    pub(crate) fn replace(&mut self, contents: &Contents) -> io::Result<()> {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = File::open(directory)?;
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // What a killed process left; the lock on the file itself says that no other writes it.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = write_new(&beside, &contents.bytes)
            .and_then(|file| std::fs::rename(&beside, &self.path).map(|()| file))
            .inspect_err(|_| {
                let _ = std::fs::remove_file(&beside);
            })?;
        // From here on the name leads to the new file, whatever happens.
        self.file = file;
        self.length = u64::try_from(contents.bytes.len()).unwrap_or(u64::MAX);
        (self.base, self.chain) = (self.length, contents.chain);
        let synced = directory.sync_all();
        self.is_suspect = synced.is_err();
        synced
    }

    /// Everything the cluster holds, as [`StateFile::replace`] takes it.
    pub(crate) fn contents(&self, state: &mut State) -> io::Result<Contents> {
        let mut contents = Contents { bytes: Vec::new(), chain: Chain::default() };
        let header = serde_json::to_vec(&self.header)?;
        contents.chain.write(&mut contents.bytes, &header);
        let mut chunk = Vec::new();
        state.everything(&mut |record| {
            push(&mut chunk, &record)?;
            if chunk.len() >= CHUNK_BYTES {
                contents.chunk(&mut chunk);
            }
            Ok(())
        })?;
        contents.chunk(&mut chunk);
        Ok(contents)
    }

    /// The cluster as the disk has it.
    pub(crate) fn reload(&mut self, release: Release) -> Result<State, StartError> {
        let read = self.read(release)?;
        (self.length, self.chain) = (read.length, read.chain);
        Ok(read.state)
    }

    fn read(&mut self, release: Release) -> Result<Contained, StartError> {
        self.file.seek(SeekFrom::Start(0)).map_err(|error| fault(&self.path, error))?;
        let read = read(&self.file, release).map_err(|unreadable| {
            let path = self.path.display();
            refused(&self.path, match unreadable {
                Unreadable::Foreign => "is no state file of a mock; name another".to_owned(),
                Unreadable::Format(found) => {
                    format!("has format {found}, this program reads {FORMAT}; name another file")
                }
                Unreadable::Damaged { line, offset } => format!(
                    "damaged in line {line}, at byte {offset}; put a copy in its place, or give \
                     up that line and all after it with: truncate -s {offset} {path}"
                ),
                Unreadable::Io(error) => format!("can not read: {error}"),
            })
        })?;
        if read.header.release != self.header.release {
            let kept = read.header.release;
            let text = format!("holds a cluster of release {kept}; start with --schema {kept}");
            return Err(refused(&self.path, text));
        }
        Ok(read)
    }
}

/// The bytes of a whole file.
pub(crate) struct Contents {
    bytes: Vec<u8>,
    chain: Chain,
}

impl Contents {
    fn chunk(&mut self, records: &mut Vec<u8>) {
        if !records.is_empty() {
            self.chain.write(&mut self.bytes, &bracketed(records));
            records.clear();
        }
    }
}

/// Adds a record to a list without its brackets.
pub(crate) fn push(list: &mut Vec<u8>, record: &Record<'_>) -> io::Result<()> {
    if !list.is_empty() {
        list.push(b',');
    }
    Ok(serde_json::to_writer(list, record)?)
}

/// The payload of a line.
pub(crate) fn bracketed(list: &[u8]) -> Vec<u8> {
    [b"[", list, b"]"].concat()
}

/// What the bytes of a state file say.
struct Contained {
    header: Header,
    state: State,
    chain: Chain,
    /// Bytes of whole lines.
    length: u64,
    /// Whether the rest of a line follows.
    torn: bool,
}

pub(crate) enum Unreadable {
    /// Without our first line.
    Foreign,
    /// Of a later program.
    Format(u32),
    Damaged {
        /// Counted from 1.
        line: u64,
        /// Where it starts.
        offset: u64,
    },
    Io(io::Error),
}

fn read(from: impl Read, release: Release) -> Result<Contained, Unreadable> {
    let mut frames = Frames::new(BufReader::new(from));
    let first = match frames.next().map(|line| line.map(serde_json::from_slice)) {
        Ok(Some(first)) => first,
        Err(Fault::Io(error)) => return Err(Unreadable::Io(error)),
        _ if frames.bad_line_holds(MARK) => {
            return Err(Unreadable::Damaged { line: 1, offset: 0 });
        }
        _ => return Err(Unreadable::Foreign),
    };
    let header: Header = first.map_err(|_| Unreadable::Foreign)?;
    if header.proxward_mock_state != FORMAT {
        return Err(Unreadable::Format(header.proxward_mock_state));
    }
    let mut restoring = Restoring::new(release);
    let torn = loop {
        let (line, offset) = (frames.lines + 1, frames.offset);
        let records: Vec<Record<'_>> = match frames.next() {
            Ok(None) => break false,
            Ok(Some(payload)) => {
                serde_json::from_slice(payload).map_err(|_| Unreadable::Damaged { line, offset })?
            }
            Err(Fault::Torn) => break true,
            Err(Fault::Damaged) => return Err(Unreadable::Damaged { line, offset }),
            Err(Fault::Io(error)) => return Err(Unreadable::Io(error)),
        };
        records.into_iter().for_each(|record| restoring.apply(record));
    };
    let (length, chain) = (frames.offset, frames.chain);
    let nobody = Unreadable::Damaged { line: frames.lines, offset: length };
    let state = restoring.finish().ok_or(nobody)?;
    Ok(Contained { header, state, chain, length, torn })
}

/// Whether bytes are a state file; for the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn is_readable(bytes: &[u8]) -> bool {
    read(bytes, Release::V9).is_ok()
}

fn major(release: Release) -> u8 {
    match release {
        Release::V8 => 8,
        Release::V9 => 9,
    }
}

/// Opens the file, made when it does not exist, under a lock that no other process has.
fn locked(path: &Path) -> Result<File, StartError> {
    let taken = || refused(path, "another mock has it open; end that one or name another file");
    for _ in 0..OPEN_TRIES {
        let file = secrets::private_file::open(path).map_err(|error| match error {
            FileError::Io { source, doing, .. } => {
                refused(path, format!("can not {doing}: {source}; name a place to write to"))
            }
            other => StartError::StateFile(format!("state file {other}")),
        })?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(taken()),
            Err(errno) => return Err(fault(path, errno.into())),
        }
        // Between opening and locking, the file may have been replaced by the mock that had it.
        let own = file.metadata().map_err(|error| fault(path, error))?;
        if std::fs::metadata(path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()))
        {
            return Ok(file);
        }
    }
    Err(taken())
}

/// Writes a file that nobody else may read, locked before it gets its name.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let private = Mode::RUSR | Mode::WUSR;
    let file = File::from(rustix::fs::open(path, flags, private)?);
    // The umask may have taken bits of the owner away.
    rustix::fs::fchmod(file.as_fd(), private)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    Ok(file)
}

fn refused(path: &Path, text: impl AsRef<str>) -> StartError {
    StartError::StateFile(format!("state file {}: {}", path.display(), text.as_ref()))
}

#[expect(clippy::needless_pass_by_value, reason = "ends a map_err")]
fn fault(path: &Path, error: io::Error) -> StartError {
    refused(path, error.to_string())
}

#[cfg(test)]
pub(in crate::durable) use tests::Fails;

#[cfg(test)]
mod tests;
