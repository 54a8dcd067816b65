//! What other processes have changed, told in the order in which it happened.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};

use super::layout::{self, Note};
use super::link::Link;
use super::resp::{Command, Reply};
use super::{Known, Server, find, load};
use crate::error::StoreError;
use crate::limits::{FEED_COUNT, FEED_POLL, RECONNECT_PAUSES};
use crate::store::{Entry, Table};

/// What has happened to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An entry as it is now.
    Set {
        /// Where.
        table: Table,
        /// What.
        entry: Entry,
        /// Whether this process has set it.
        own: bool,
    },
    /// An entry has another end.
    Extended {
        /// Where.
        table: Table,
        /// Which.
        key: Vec<u8>,
        /// As in [`Entry`].
        expires: Duration,
        /// Whether this process has done that.
        own: bool,
    },
    /// There is no entry with this key any more.
    Gone {
        /// Where.
        table: Table,
        /// Which.
        key: Vec<u8>,
    },
    /// All entries of a table: something was missed, and what is not among these is gone.
    All {
        /// Which.
        table: Table,
        /// What there is.
        entries: Vec<Entry>,
        /// The server had lost what it had acknowledged: all sessions are ended, and whoever still
        /// knows what else should be there puts it there again.
        lost: bool,
    },
}

/// Tables that are told of as a whole.
const SHARED: [Table; 4] = [Table::Sessions, Table::Bans, Table::Tokens, Table::Attempts];

/// The way to what others do; clones are the same one. Nothing is read before [`Feed::follow`].
#[derive(Clone)]
pub struct Feed {
    server: Arc<Server>,
    /// The number of the last record that is part of what is loaded.
    from: u64,
}

/// A feed that is followed. Dropping it ends that, within [`FEED_POLL`].
pub struct Following {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    pub(super) fn new(server: Arc<Server>) -> Self {
        let from = server.known().as_ref().map_or(0, |known| known.number);
        Self { server, from }
    }

    /// Tells what happens, in a thread of its own that waits for the listener.
    ///
    /// # Errors
    /// The system has no thread or descriptor left.
    pub fn follow(&self, listener: impl FnMut(News) + Send + 'static) -> io::Result<Following> {
        let link = Link::new(Arc::clone(&self.server))?;
        let over = Arc::new(AtomicBool::new(false));
        let mut follower = Follower {
            link,
            server: Arc::clone(&self.server),
            at: self.from,
            over: Arc::clone(&over),
            listener: Box::new(listener),
        };
        let thread = std::thread::Builder::new().name("state-feed".to_owned());
        let thread = Some(thread.spawn(move || follower.run())?);
        Ok(Following { over, thread })
    }

    /// How long nothing was heard from the server. Under a second where all is well; what others
    /// have revoked since then is not known here.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.server.heard.load(Ordering::Relaxed));
        self.server.begun.elapsed().saturating_sub(heard)
    }

    /// How often the server was found to have lost what it had acknowledged.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.server.losses.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feed({})", self.server.options.name)
    }
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Following")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Follower {
    link: Link,
    server: Arc<Server>,
    /// The number of the last record that was told.
    at: u64,
    over: Arc<AtomicBool>,
    listener: Box<dyn FnMut(News) + Send>,
}

/// One commit of somebody.
struct Record {
    number: u64,
    mark: String,
    notes: Vec<Note>,
}

impl Follower {
    fn run(&mut self) {
        let mut failing = false;
        while !self.over.load(Ordering::Relaxed) {
            match self.step() {
                Ok(()) if failing => {
                    info!(target: "state", server = self.server.options.name, "reached again");
                    failing = false;
                }
                Ok(()) => {}
                Err(cause) => {
                    if !failing {
                        warn!(target: "state", %cause, "nothing is heard of other processes");
                    }
                    failing = true;
                    std::thread::sleep(self.link.pause().clamp(RECONNECT_PAUSES.0, FEED_POLL));
                }
            }
        }
    }

    /// Waits for news, for a moment, and tells them. What was told when this fails is told again.
    fn step(&mut self) -> Result<(), StoreError> {
        let records = self.read()?;
        if records.is_empty() {
            // Nothing comes either when the server was emptied: then it has less than is known.
            self.link.check()?;
            self.server.hear();
            return Ok(());
        }
        for record in records {
            self.tell(record)?;
        }
        self.server.hear();
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<Record>, StoreError> {
        let (wait, count) = (FEED_POLL.as_millis().to_string(), FEED_COUNT.to_string());
        let request = Command::new(&[b"XREAD", b"COUNT", count.as_bytes()])
            .with(b"BLOCK")
            .with(wait.as_bytes())
            .with(b"STREAMS")
            .with(&self.server.key("feed"))
            .with(format!("{}-0", self.at).as_bytes());
        let reply = self.link.call(&request, FEED_POLL)?;
        records(&reply).ok_or_else(|| {
            self.link.close();
            self.server.senseless()
        })
    }

    fn tell(&mut self, record: Record) -> Result<(), StoreError> {
        let own = self.server.is_own(&record.mark);
        let lost = record.notes.contains(&Note::Lost);
        let whole = record.number != self.at.saturating_add(1)
            || record.notes.iter().any(|note| matches!(note, Note::Everything | Note::Lost));
        if whole {
            for table in SHARED {
                let entries = load(&mut self.link, &self.server, table)?;
                (self.listener)(News::All { table, entries, lost });
            }
        } else {
            let mut told = BTreeSet::new();
            for note in record.notes {
                self.tell_one(note, own, &mut told)?;
            }
        }
        self.at = record.number;
        let mut known = self.server.known();
        if known.as_ref().is_none_or(|known| known.number < record.number) {
            *known = Some(Known { number: record.number, mark: record.mark });
        }
        Ok(())
    }

    fn tell_one(
        &mut self,
        note: Note,
        own: bool,
        told: &mut BTreeSet<(Table, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        let news = match note {
            Note::Set { table, key } => {
                // What is there now is told once for a commit.
                if !told.insert((table, key.clone())) {
                    return Ok(());
                }
                match find(&mut self.link, &self.server, table, &key)? {
                    Some(entry) => News::Set { table, entry, own },
                    None => News::Gone { table, key },
                }
            }
            Note::Extended { table, key, expires } => News::Extended { table, key, expires, own },
            Note::Gone { table, key } => {
                // A commit may have made it anew after that.
                match find(&mut self.link, &self.server, table, &key)? {
                    Some(entry) => News::Set { table, entry, own },
                    None => News::Gone { table, key },
                }
            }
            Note::Everything | Note::Lost => return Ok(()),
        };
        (self.listener)(news);
        Ok(())
    }
}

/// The records of an answer to XREAD; None for what is none.
fn records(reply: &Reply) -> Option<Vec<Record>> {
    let streams = match reply {
        Reply::Nil => return Some(Vec::new()),
        Reply::Array(streams) => streams,
        _ => return None,
    };
    let [Reply::Array(stream)] = streams.as_slice() else { return None };
    let [_, Reply::Array(entries)] = stream.as_slice() else { return None };
    entries.iter().map(record).collect()
}

/// `[N-0, [m, MARK, c, RECORD]]`.
fn record(entry: &Reply) -> Option<Record> {
    let Reply::Array(parts) = entry else { return None };
    let [Reply::Bulk(id), Reply::Array(fields)] = parts.as_slice() else { return None };
    let number = std::str::from_utf8(id).ok()?.strip_suffix("-0")?.parse().ok()?;
    let field = |name: &[u8]| {
        fields.chunks_exact(2).find_map(|pair| match pair {
            [Reply::Bulk(key), Reply::Bulk(value)] if key == name => Some(value.as_slice()),
            _ => None,
        })
    };
    let mark = String::from_utf8_lossy(field(b"m")?).into_owned();
    // What a later version says in a way that is not known here: look at everything.
    let notes = layout::notes(field(b"c")?).unwrap_or_else(|| vec![Note::Everything]);
    Some(Record { number, mark, notes })
}
