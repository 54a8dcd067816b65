//! One file, one owner, through redb.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, TableError,
};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use secrets::private_file::create_dir;

use crate::error::StoreError;
use crate::limits::{CACHE_BYTES, LOAD_ENTRIES};
use crate::store::{Change, Entry, Store, Table, check};

/// The file in the directory.
const FILE: &str = "state.redb";

/// A new file before it is complete.
const NEW: &str = "state.redb.new";

/// Number of the layout below; a file with a higher one is refused.
const FORMAT: u64 = 1;

/// The table of facts about the file itself.
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("proxward");
const FORMAT_FACT: &str = "format";

/// Expiry as seconds and nanoseconds, then the value.
type Row = (u64, u32, &'static [u8]);

type Reopen = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// A store in `DIR/state.redb`. Opened once: the directory is locked as long as this lives.
pub struct Redb {
    path: PathBuf,
    reopen: Reopen,
    /// None after a failure of the medium: redb wants to be opened anew then.
    database: Option<Database>,
    /// Holds the lock; last, so that the file is closed before the next owner may open it.
    _lock: Option<OwnedFd>,
}

impl Redb {
    /// Opens the store in `directory`, or makes directory (0700) and file (0600). The whole
    /// file is read and its checksums are compared, so a damaged one is found here.
    ///
    /// # Errors
    /// [`StoreError`]: who else has it, what is damaged, what is missing.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        create_dir(directory).map_err(|error| StoreError::Directory(Arc::new(error)))?;
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        if !path.exists() {
            create(directory, &path)?;
        }
        let file = path.clone();
        let reopen = move || {
            let file = open_file(&file).map_err(DatabaseError::from)?;
            // redb would make a new store of an empty file, which this one once was not.
            if file.metadata().map_err(DatabaseError::from)?.len() == 0 {
                return Err(StorageError::Corrupted("the file is empty".to_owned()).into());
            }
            builder().create_file(file)
        };
        let mut store = Self { path, reopen: Box::new(reopen), database: None, _lock: Some(lock) };
        store.verify()?;
        Ok(store)
    }

    /// Reads everything once. redb panics over some damaged pages (a length beyond the page's
    /// end), so that a panic here is one more word for damage.
    fn verify(&mut self) -> Result<(), StoreError> {
        let reopen = &self.reopen;
        let read = catch_unwind(AssertUnwindSafe(|| {
            let mut database = reopen()?;
            database.check_integrity()?;
            Ok((read_format(&database)?, database))
        }));
        let Ok(read) = read else {
            return Err(self.damaged("a page makes no sense"));
        };
        let (format, database) = read.map_err(|error| self.fault("open", error))?;
        match format {
            FORMAT => {
                self.database = Some(database);
                Ok(())
            }
            0 => Err(self.damaged("it does not say its format")),
            found => {
                let path = self.path.clone();
                Err(StoreError::Format { path, found, known: FORMAT })
            }
        }
    }

    /// Runs one operation; after a failure of the medium the file is closed, so that the next
    /// call begins with what is on the disk.
    fn with<T>(
        &mut self,
        doing: &'static str,
        run: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.reopen)().map_err(|error| self.fault(doing, error.into()))?,
        };
        let outcome = run(&database).map_err(|error| self.fault(doing, error));
        if outcome.is_ok() {
            self.database = Some(database);
        }
        outcome
    }

    fn fault(&self, doing: &'static str, error: redb::Error) -> StoreError {
        let path = self.path.clone();
        match error {
            redb::Error::Io(cause) if is_full(&cause) => {
                StoreError::Full { path, cause: Arc::new(cause) }
            }
            redb::Error::Io(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                self.damaged("it is too short")
            }
            redb::Error::Io(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                self.damaged("it is no state file")
            }
            redb::Error::Io(cause) => StoreError::Io { path, doing, cause: Arc::new(cause) },
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
            other => self.damaged(&other.to_string()),
        }
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.to_owned() }
    }
}

impl Store for Redb {
    fn load(&mut self, table: Table) -> Result<Vec<Entry>, StoreError> {
        let entries = self.with("read", |database| read(database, table))?;
        if entries.len() > LOAD_ENTRIES {
            return Err(StoreError::Entries { path: self.path.clone() });
        }
        Ok(entries)
    }

    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.with("read", |database| read_one(database, table, key))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        check(changes)?;
        if changes.is_empty() {
            return Ok(());
        }
        self.with("write", |database| write(database, changes))
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redb({})", self.path.display())
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], Row> {
    TableDefinition::new(table.name())
}

fn read(database: &Database, table: Table) -> Result<Vec<Entry>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(definition(table)) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut entries = Vec::new();
    // One more than is allowed, for the caller to see it.
    for row in table.iter()?.take(LOAD_ENTRIES + 1) {
        let (key, row) = row?;
        let (seconds, nanos, value) = row.value();
        let expires = expiry(seconds, nanos);
        entries.push(Entry { key: key.value().to_vec(), value: value.to_vec(), expires });
    }
    Ok(entries)
}

fn read_one(database: &Database, table: Table, key: &[u8]) -> Result<Option<Entry>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(definition(table)) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let row = table.get(key)?;
    Ok(row.map(|row| {
        let (seconds, nanos, value) = row.value();
        Entry { key: key.to_vec(), value: value.to_vec(), expires: expiry(seconds, nanos) }
    }))
}

fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for change in changes {
        match change {
            Change::Put { table, entry } => {
                let mut table = transaction.open_table(definition(*table))?;
                table.insert(entry.key.as_slice(), row(entry.expires, &entry.value))?;
            }
            Change::Update { table, entry } => {
                let mut table = transaction.open_table(definition(*table))?;
                if table.get(entry.key.as_slice())?.is_some() {
                    table.insert(entry.key.as_slice(), row(entry.expires, &entry.value))?;
                }
            }
            Change::Extend { table, key, expires } => {
                let mut table = transaction.open_table(definition(*table))?;
                let value = table.get(key.as_slice())?.map(|old| old.value().2.to_vec());
                if let Some(value) = value {
                    table.insert(key.as_slice(), row(*expires, &value))?;
                }
            }
            Change::Delete { table, key } => {
                transaction.open_table(definition(*table))?.remove(key.as_slice())?;
            }
            Change::Prune { table, now } => {
                let mut table = transaction.open_table(definition(*table))?;
                table.retain(|_, (seconds, nanos, _)| expiry(seconds, nanos) > *now)?;
            }
        }
    }
    // Durability::Immediate, redb's default: synced when this returns.
    transaction.commit()?;
    Ok(())
}

fn row(expires: Duration, value: &[u8]) -> (u64, u32, &[u8]) {
    (expires.as_secs(), expires.subsec_nanos(), value)
}

/// Nanoseconds are under a second in every file that we wrote.
fn expiry(seconds: u64, nanos: u32) -> Duration {
    Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()))
}

/// 0 when it is not said.
fn read_format(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let facts = match transaction.open_table(FACTS) {
        Ok(facts) => facts,
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    Ok(facts.get(FORMAT_FACT)?.map_or(0, |format| format.value()))
}

/// A new file appears under its name only when it is complete, so an incomplete one can not be
/// taken for an empty store.
fn create(directory: &Path, path: &Path) -> Result<(), StoreError> {
    let new = directory.join(NEW);
    let io = |cause: io::Error| {
        let path = new.clone();
        match is_full(&cause) {
            true => StoreError::Full { path, cause: Arc::new(cause) },
            false => StoreError::Io { path, doing: "create", cause: Arc::new(cause) },
        }
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&new, flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(file.map_err(|errno| io(errno.into()))?);
    fill(file).map_err(|error| match error {
        redb::Error::Io(cause) => io(cause),
        other => io(io::Error::other(other.to_string())),
    })?;
    std::fs::rename(&new, path).map_err(io)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)
}

fn fill(file: File) -> Result<(), redb::Error> {
    write_format(&builder().create_file(file)?)
}

fn write_format(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(FACTS)?.insert(FORMAT_FACT, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// redb locks the file while it is open; this holds also while it is opened anew.
fn lock(directory: &Path) -> Result<OwnedFd, StoreError> {
    let path = || directory.to_owned();
    let fault = |errno: Errno| {
        let cause = Arc::new(errno.into());
        StoreError::Io { path: path(), doing: "lock", cause }
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty()).map_err(fault)?;
    match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(fd),
        Err(Errno::WOULDBLOCK) => Err(StoreError::InUse { path: path() }),
        Err(errno) => Err(fault(errno)),
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests;
