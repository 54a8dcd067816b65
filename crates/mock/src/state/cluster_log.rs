//! What `cluster/log` shows: who logged in, which tasks started and ended (`PVE::Cluster::log_msg`,
//! the ring buffer of pmxcfs).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::kept_secret::Word;
use crate::limits::CLUSTER_LOG;

/// Priority of every entry here: informational (RFC 5424 section 6.2.1).
const INFORMATIONAL: u8 = 6;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    number: u64,
    time: u64,
    node: String,
    user: String,
    #[serde(deserialize_with = "tag")]
    tag: Word,
    pid: u32,
    message: String,
}

fn tag<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    super::kept_secret::word_of(from, &["cluster", "pvedaemon"])
}

/// Newest first, bounded.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterLog {
    entries: VecDeque<LogEntry>,
    last: u64,
    /// The number of the last entry that was handed out to be kept.
    kept: u64,
}

impl ClusterLog {
    /// With the line that pmxcfs writes first.
    pub(crate) fn new(node: &str, started: Duration) -> Self {
        let mut log = Self::default();
        log.push(started, node, "root", "cluster", 1, "starting cluster log".to_owned());
        log
    }

    /// Adds a line of the daemon on `node` about something `user` did.
    pub(crate) fn add(&mut self, now: Duration, node: &str, user: &str, pid: u32, message: String) {
        self.push(now, node, user, "pvedaemon", pid, message);
    }

    /// What came since the last time, oldest first.
    pub(crate) fn take_new(&mut self) -> impl Iterator<Item = &LogEntry> {
        let kept = std::mem::replace(&mut self.kept, self.last);
        self.entries.iter().rev().filter(move |entry| entry.number > kept)
    }

    /// When the last entry was made.
    pub(crate) fn latest(&self) -> Duration {
        Duration::from_secs(self.entries.front().map_or(0, |entry| entry.time))
    }

    /// Everything, oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter().rev()
    }

    /// Puts an entry back that was handed out; they come in their order.
    pub(crate) fn restore(&mut self, entry: LogEntry) {
        (self.last, self.kept) = (entry.number, entry.number);
        self.entries.push_front(entry);
        self.entries.truncate(CLUSTER_LOG);
    }

    /// Newest first; only the lines about `user` when it is given.
    pub(crate) fn list(&self, user: Option<&str>, most: usize) -> Vec<Value> {
        let seen = self.entries.iter().filter(|one| user.is_none_or(|user| one.user == user));
        let shown = seen.take(most).map(|one| {
            json!({
                "id": format!("{}:{}", one.number, one.node),
                "uid": one.number.to_string(),
                "time": one.time,
                "pri": INFORMATIONAL,
                "tag": one.tag,
                "pid": one.pid,
                "node": one.node,
                "user": one.user,
                "msg": one.message,
            })
        });
        shown.collect()
    }

    fn push(
        &mut self,
        now: Duration,
        node: &str,
        user: &str,
        tag: &'static str,
        pid: u32,
        message: String,
    ) {
        self.last += 1;
        self.entries.push_front(LogEntry {
            number: self.last,
            time: now.as_secs(),
            node: node.to_owned(),
            user: user.to_owned(),
            tag,
            pid,
            message,
        });
        self.entries.truncate(CLUSTER_LOG);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_numbered_newest_first_and_bounded() {
        let mut log = ClusterLog::new("n", Duration::ZERO);
        for at in 0..CLUSTER_LOG + 5 {
            let user = if at % 2 == 0 { "a@pve" } else { "b@pve" };
            log.add(Duration::from_secs(9), "n", user, 7, format!("line {at}"));
        }
        let listed = log.list(None, usize::MAX);
        assert_eq!(listed.len(), CLUSTER_LOG);
        assert_eq!(listed[0]["msg"], format!("line {}", CLUSTER_LOG + 4));
        assert_eq!(listed[0]["id"], format!("{}:n", CLUSTER_LOG + 6));
        let own = log.list(Some("b@pve"), 3);
        assert!(own.len() == 3 && own.iter().all(|one| one["user"] == "b@pve"));
    }
}
