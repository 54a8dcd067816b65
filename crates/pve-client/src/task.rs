//! Tasks: calls that go on after their answer.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::encode::path;
use crate::error::ClientError;
use crate::limits::POLL_MIN;
use crate::params::Params;

/// The identifier of a task: `UPID:node:pid:pstart:starttime:type:id:user@realm:`
/// (PVE::Tools::upid_decode).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upid {
    text: String,
    node: String,
}

/// The text is no UPID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a task identifier; expected UPID:node:pid:pstart:starttime:type:id:user@realm:")]
pub struct NotAUpid;

impl Upid {
    /// The node the task runs on.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Upid {
    type Err = NotAUpid;

    fn from_str(text: &str) -> Result<Self, NotAUpid> {
        let fields: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, pstart, start, kind, id, user, ""] = fields.as_slice() else {
            return Err(NotAUpid);
        };
        let hex = |field: &str, lengths: std::ops::RangeInclusive<usize>| {
            lengths.contains(&field.len()) && field.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let node_ok = node.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !node.is_empty()
            && !node.starts_with('-')
            && !node.ends_with('-');
        let numbers_ok = hex(pid, 8..=8) && hex(pstart, 8..=9) && hex(start, 8..=8);
        let plain = |field: &str| !field.contains(char::is_whitespace);
        let words_ok =
            !kind.is_empty() && !user.is_empty() && [kind, id, user].iter().all(|f| plain(f));
        if !(node_ok && numbers_ok && words_ok) {
            return Err(NotAUpid);
        }
        Ok(Self { text: text.to_owned(), node: (*node).to_owned() })
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskStatus {
    /// `OK`.
    Ok,
    /// `WARNINGS: n`: done, with warnings in its log.
    Warnings(u64),
    /// Anything else: the error in PVE's words.
    Failed(String),
}

impl TaskStatus {
    /// `None` while the task runs.
    fn read(data: &Value) -> Option<Self> {
        if data.get("status").and_then(Value::as_str) != Some("stopped") {
            return None;
        }
        // A stopped task without an exit status was killed before it could write one.
        let exit = data.get("exitstatus").and_then(Value::as_str).unwrap_or("unexpected status");
        Some(match exit {
            "OK" => Self::Ok,
            _ => match exit.strip_prefix("WARNINGS: ").map(str::parse) {
                Some(Ok(count)) => Self::Warnings(count),
                _ => Self::Failed(exit.to_owned()),
            },
        })
    }
}

impl Client {
    /// Waits until the task has ended, looking every `poll` (at least [`POLL_MIN`]), for at most
    /// `deadline`. Transient failures on the way are waited out.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] while the task still runs (it goes on running); whatever makes its
    /// status unreadable.
    pub async fn wait_task(
        &self,
        upid: &Upid,
        deadline: Duration,
        poll: Duration,
    ) -> Result<TaskStatus, ClientError> {
        let start = Instant::now();
        let path = path(["nodes", upid.node(), "tasks", upid.as_str(), "status"]);
        loop {
            let left = deadline.saturating_sub(start.elapsed());
            let looked = tokio::time::timeout(left, self.get(&path, &Params::new())).await;
            match looked {
                Ok(Ok(reply)) => {
                    if let Some(status) = TaskStatus::read(&reply.data) {
                        return Ok(status);
                    }
                }
                Ok(Err(error)) if !error.is_transient() => return Err(error),
                Ok(Err(_)) | Err(_) => {}
            }
            let pause = poll.max(POLL_MIN);
            if start.elapsed() + pause >= deadline {
                return Err(ClientError::Timeout { what: "the task", after: deadline });
            }
            sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const UPID: &str = "UPID:pve1:0000A3F1:0012AB34:6B00CE44:qmstart:100:root@pam:";

    #[test]
    fn fields() {
        let upid: Upid = UPID.parse().unwrap();
        assert_eq!((upid.node(), upid.to_string().as_str()), ("pve1", UPID));
        let token = UPID.replace("root@pam", "root@pam!ci").replace(":100:", "::");
        token.parse::<Upid>().unwrap();
        for bad in [
            "",
            "UPID",
            UPID.trim_end_matches(':'),
            &UPID.replace("UPID", "upid"),
            &UPID.replace("pve1", "-pve1"),
            &UPID.replace("pve1", "pve1/.."),
            &UPID.replace("0000A3F1", "A3F1"),
            &UPID.replace("0000A3F1", "0000A3G1"),
            &UPID.replace("qmstart", ""),
            &UPID.replace("root@pam", ""),
            &UPID.replace("root@pam", "root pam"),
        ] {
            assert_eq!(bad.parse::<Upid>(), Err(NotAUpid), "{bad:?}");
        }
    }

    #[test]
    fn ends() {
        let read = |exit: Value| {
            TaskStatus::read(&json!({"status": "stopped", "exitstatus": exit})).unwrap()
        };
        assert_eq!(read(json!("OK")), TaskStatus::Ok);
        assert_eq!(read(json!("WARNINGS: 3")), TaskStatus::Warnings(3));
        let failed = |text: &str| TaskStatus::Failed(text.to_owned());
        assert_eq!(read(json!("WARNINGS: x")), failed("WARNINGS: x"));
        assert_eq!(read(json!("can't lock file")), failed("can't lock file"));
        assert_eq!(read(Value::Null), failed("unexpected status"));
        assert_eq!(TaskStatus::read(&json!({"status": "running"})), None);
        assert_eq!(TaskStatus::read(&Value::Null), None);
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(UPID:)?[^\n]{0,60}") {
            if let Ok(upid) = text.parse::<Upid>() {
                prop_assert_eq!(upid.to_string(), text);
            }
        }
    }
}
