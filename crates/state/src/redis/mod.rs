//! One server for several processes, through the protocol of Redis and Valkey.
//!
//! A commit is one script, so it is whole; its record in the feed tells every other process what
//! to look at anew ([`Feed`]). What is acknowledged is as durable as the server makes it, which
//! [`Redis::doubts`] asks it about.
//!
//! The client is our own, of two hundred lines: the `redis` crate would bring 37 packages, and
//! bounds neither the length of an answer nor that of an array.

mod feed;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod layout;
mod link;
mod resp;
mod script;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrets::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};

use self::link::Link;
use self::resp::{Command, Reply};
use crate::error::StoreError;
use crate::limits::{FEED_LENGTH, LOAD_ENTRIES, SCAN_COUNT};
use crate::store::{Change, Entry, Store, Table, check};

pub use feed::{Feed, Following, News};

/// A connection as bytes.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// Makes a connection, encrypted or not: which server is the right one is the caller's to judge.
/// Its time is bounded here.
pub type Dial = Box<dyn Fn() -> Dialling + Send + Sync>;

/// Which server, and as whom.
pub struct RedisOptions {
    /// What errors call it; nothing secret.
    pub name: String,
    /// The way to it.
    pub dial: Dial,
    /// Account; none: the server's `default`.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// Number of the database.
    pub database: u32,
    /// Begins every key. Processes that share a prefix share everything.
    pub prefix: String,
}

/// A store on a server that others use too.
pub struct Redis {
    link: Link,
    server: Arc<Server>,
}

/// What this process knows of its server, whichever connection told it.
struct Server {
    options: RedisOptions,
    /// Tells this process from the others.
    origin: String,
    marks: AtomicU64,
    known: Mutex<Option<Known>>,
    /// How often the server was found to have lost something.
    losses: AtomicU64,
    begun: Instant,
    /// When the feed was heard last, in milliseconds since `begun`.
    heard: AtomicU64,
}

/// The newest record of the feed that was seen or made.
struct Known {
    number: u64,
    mark: String,
}

impl Redis {
    /// Connects.
    ///
    /// # Errors
    /// [`StoreError`]: nobody answers, the password is wrong, it is something else.
    pub fn open(options: RedisOptions) -> Result<Self, StoreError> {
        let name = options.name.clone();
        let system = |error| StoreError::Unreachable { name: name.clone(), cause: Arc::new(error) };
        let origin = secrets::random::hex().map_err(system)?.expose().clone();
        let server = Arc::new(Server {
            options,
            origin,
            marks: AtomicU64::new(0),
            known: Mutex::new(None),
            losses: AtomicU64::new(0),
            begun: Instant::now(),
            heard: AtomicU64::new(0),
        });
        let mut link = Link::new(Arc::clone(&server)).map_err(system)?;
        link.check()?;
        server.hear();
        Ok(Self { link, server })
    }

    /// What others change from here on. Take it before the first [`Store::load`]: what changes
    /// meanwhile is told then, and nothing is missed.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed::new(Arc::clone(&self.server))
    }

    /// Why what is acknowledged may be lost with a crash of the server; nothing where it is set up
    /// to keep everything.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn doubts(&mut self) -> Result<Vec<String>, StoreError> {
        let mut doubts = Vec::new();
        for (key, wanted) in
            [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")]
        {
            let request = Command::new(&[b"CONFIG", b"GET", key.as_bytes()]);
            match self.link.call(&request, Duration::ZERO) {
                Ok(Reply::Array(pair)) => match pair.as_slice() {
                    [_, Reply::Bulk(value)] if value == wanted.as_bytes() => {}
                    [_, Reply::Bulk(value)] => {
                        let value = String::from_utf8_lossy(value);
                        doubts.push(format!("{key} is {value:?} there; set it to {wanted:?}"));
                    }
                    _ => doubts.push(format!("it does not know {key}")),
                },
                Ok(_) => return Err(self.server.senseless()),
                Err(StoreError::Declined { said, .. }) => {
                    doubts.push(format!("it does not say what {key} is ({said})"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(doubts)
    }

    fn script(script: &str, server: &Server) -> Command {
        Command::new(&[b"EVAL", script.as_bytes(), b"1", server.options.prefix.as_bytes()])
    }
}

impl Store for Redis {
    fn load(&mut self, table: Table) -> Result<Vec<Entry>, StoreError> {
        load(&mut self.link, &self.server, table)
    }

    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        find(&mut self.link, &self.server, table, key)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        check(changes)?;
        if changes.is_empty() {
            return Ok(());
        }
        let first = self.try_commit(changes);
        match first {
            // It went back in time while it was connected. A new connection sees to that.
            Err(StoreError::Declined { said, .. }) if said.starts_with("LOST") => {
                self.link.check()?;
                self.try_commit(changes)
            }
            outcome => outcome,
        }
    }
}

impl Redis {
    fn try_commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let server = &self.server;
        let mark = server.mark();
        let known = server.known().as_ref().map_or(0, |known| known.number);
        let record = layout::record(changes);
        let mut request = Self::script(script::COMMIT, server)
            .with(mark.as_bytes())
            .with(known.to_string().as_bytes())
            .with(FEED_LENGTH.to_string().as_bytes())
            .with(&record);
        changes.iter().for_each(|change| push(&mut request, change));
        let Reply::Integer(number) = self.link.call(&request, Duration::ZERO)? else {
            return Err(server.senseless());
        };
        let number = u64::try_from(number).map_err(|_| server.senseless())?;
        let mut known = server.known();
        if !record.is_empty() && known.as_ref().is_none_or(|known| known.number < number) {
            *known = Some(Known { number, mark });
        }
        Ok(())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", self.server.options.name)
    }
}

impl Server {
    /// A name for the next record.
    fn mark(&self) -> String {
        format!("{}-{}", self.origin, self.marks.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a record of this name was made here.
    fn is_own(&self, mark: &str) -> bool {
        mark.strip_prefix(&self.origin).is_some_and(|rest| rest.starts_with('-'))
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        // It guards plain assignments.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, of: &str) -> Vec<u8> {
        format!("{}:{of}", self.options.prefix).into_bytes()
    }

    fn hear(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    fn unreachable(&self, cause: io::Error) -> StoreError {
        StoreError::Unreachable { name: self.options.name.clone(), cause: Arc::new(cause) }
    }

    fn declined(&self, said: &str) -> StoreError {
        // What a script says, some servers call an error once more.
        let said: String = said.strip_prefix("ERR ").unwrap_or(said).chars().take(200).collect();
        let name = self.options.name.clone();
        match said.strip_prefix("FORMAT ") {
            Some(found) => StoreError::Layout { name, found: found.to_owned() },
            None => StoreError::Declined { name, said },
        }
    }

    /// An answer of a form that was not asked for.
    fn senseless(&self) -> StoreError {
        self.unreachable(io::Error::other("its answer makes no sense; is it a Redis server?"))
    }
}

fn push(request: &mut Command, change: &Change) {
    let (op, table, key, value, score) = match change {
        Change::Put { table, entry } => {
            ("put", table, &*entry.key, layout::row(entry), entry.expires)
        }
        Change::Update { table, entry } => {
            ("update", table, &*entry.key, layout::row(entry), entry.expires)
        }
        Change::Extend { table, key, expires } => {
            ("extend", table, &**key, layout::head(*expires), *expires)
        }
        Change::Delete { table, key } => ("delete", table, &**key, Vec::new(), Duration::ZERO),
        // By whole seconds: what ends within this one goes with the next.
        Change::Prune { table, now } => {
            let now = Duration::from_secs(now.as_secs());
            ("prune", table, &b""[..], Vec::new(), now)
        }
    };
    let score = layout::score(score);
    for word in [op.as_bytes(), table.name().as_bytes(), key, &value, score.as_bytes()] {
        request.push(word);
    }
}

fn find(
    link: &mut Link,
    server: &Server,
    table: Table,
    key: &[u8],
) -> Result<Option<Entry>, StoreError> {
    let request = Command::new(&[b"HGET", &server.key(table.name()), key]);
    match link.call(&request, Duration::ZERO)? {
        Reply::Nil => Ok(None),
        Reply::Bulk(row) => Ok(layout::entry(key.to_vec(), &row)),
        _ => Err(server.senseless()),
    }
}

/// Row by row, so that no answer is large. One that is changed meanwhile may come in either state,
/// and the feed tells of it.
fn load(link: &mut Link, server: &Server, table: Table) -> Result<Vec<Entry>, StoreError> {
    let rows = server.key(table.name());
    let count = SCAN_COUNT.to_string();
    let mut entries: HashMap<Vec<u8>, Entry> = HashMap::new();
    let mut cursor = b"0".to_vec();
    // An empty step is lawful, an endless walk is not.
    for _ in 0..LOAD_ENTRIES {
        let request = Command::new(&[b"HSCAN", &rows, &cursor, b"COUNT", count.as_bytes()]);
        let Reply::Array(parts) = link.call(&request, Duration::ZERO)? else {
            return Err(server.senseless());
        };
        let [Reply::Bulk(next), Reply::Array(found)] = parts.as_slice() else {
            return Err(server.senseless());
        };
        for pair in found.chunks_exact(2) {
            let [Reply::Bulk(key), Reply::Bulk(row)] = pair else {
                return Err(server.senseless());
            };
            // What is not ours to read is nothing to go by.
            entries.extend(layout::entry(key.clone(), row).map(|entry| (key.clone(), entry)));
        }
        if entries.len() > LOAD_ENTRIES {
            break;
        }
        if next == b"0" {
            return Ok(entries.into_values().collect());
        }
        cursor.clone_from(next);
    }
    Err(StoreError::TooMany { name: server.options.name.clone() })
}
