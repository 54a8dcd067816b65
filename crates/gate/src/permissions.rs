//! What a caller may do, as Proxmox VE says it: asked with the caller's own credential, and
//! remembered for a few seconds.
//!
//! The gate evaluates no access list: it asks for one path at a time and takes the answer as it
//! is. An answer is kept under the hash of the credential, so that nobody inherits another
//! one's; what is not an answer is not kept. Everything kept is dropped when `user.cfg` changes,
//! and what is kept of a caller when the session ends or Proxmox VE does not believe the
//! credential any more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use pve_access::{Privilege, Privileges};
use serde_json::Value;

use crate::caller::Caller;
use crate::credential::Headers;
use crate::head::Parts;
use crate::hygiene::HeadLines;
use crate::limits::{
    PERMISSION_PATH, PERMISSIONS_ALL_BYTES, PERMISSIONS_BYTES, PERMISSIONS_FOR, PERMISSIONS_KEPT,
};
use crate::login::encode;
use crate::refusal::Refusal;
use crate::session::Id;
use crate::stack::Peer;
use crate::upstream::{Outbound, UpstreamError};

/// The answers of the last seconds.
#[derive(Default)]
pub(crate) struct Permissions(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<Id, Answer>,
    /// What stands for all privileges of a caller, and until when it is believed.
    sets: HashMap<Id, (Id, Duration)>,
    /// Grows with everything that drops answers: one that was asked for before is not kept.
    dropped: u64,
}

struct Answer {
    caller: Id,
    held: Privileges,
    /// On the monotonic clock.
    until: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// There is no caller, or Proxmox VE does not believe who it is.
    NotLoggedIn,
    /// The caller may not ask, or the path is none.
    Refused,
    Upstream(UpstreamError),
}

impl Unknown {
    /// What the caller is told; `refused` where Proxmox VE did not let them ask.
    pub(crate) fn refusal(self, refused: Refusal) -> Refusal {
        match self {
            Self::NotLoggedIn => Refusal::NotLoggedIn,
            Self::Refused => refused,
            Self::Upstream(error) => error.refusal(),
        }
    }
}

impl Permissions {
    /// The privileges of the caller at a path of the access list (`/vms/100`).
    ///
    /// # Errors
    /// [`Unknown`]; nothing may be granted then.
    pub(crate) async fn of(
        &self,
        peer: &Peer,
        caller: &Caller<'_>,
        parts: &Parts,
        path: &str,
    ) -> Result<Privileges, Unknown> {
        let id = caller.id().ok_or(Unknown::NotLoggedIn)?;
        if path.len() > PERMISSION_PATH || !path.starts_with('/') {
            return Err(Unknown::Refused);
        }
        let clock = &peer.worker.shared.clock;
        let key = key(id, path);
        let before = {
            let kept = self.kept();
            if let Some(answer) =
                kept.answers.get(&key).filter(|answer| answer.until > clock.monotonic())
            {
                return Ok(answer.held);
            }
            kept.dropped
        };
        // The time is that of the question: what has changed since then may not be in the answer.
        let until = clock.monotonic() + PERMISSIONS_FOR;
        let held = ask(peer, caller, parts, path).await;
        if matches!(held, Err(Unknown::NotLoggedIn)) {
            self.forget(id);
        }
        let held = held?;
        let mut kept = self.kept();
        if kept.dropped == before {
            let now = clock.monotonic();
            if kept.answers.len() >= PERMISSIONS_KEPT {
                kept.answers.retain(|_, answer| answer.until > now);
            }
            if kept.answers.len() < PERMISSIONS_KEPT {
                kept.answers.insert(key, Answer { caller: id, held, until });
            } else {
                peer.worker.shared.metrics.limit("permissions");
            }
        }
        Ok(held)
    }

    /// What stands for all the privileges of the caller: the same for two callers when Proxmox VE
    /// says the same of both, everywhere.
    ///
    /// # Errors
    /// [`Unknown`]; nothing may be shared then.
    pub(crate) async fn whole(
        &self,
        peer: &Peer,
        caller: &Caller<'_>,
        parts: &Parts,
    ) -> Result<Id, Unknown> {
        let id = caller.id().ok_or(Unknown::NotLoggedIn)?;
        let clock = &peer.worker.shared.clock;
        let before = {
            let kept = self.kept();
            let known = kept.sets.get(&id).filter(|(_, until)| *until > clock.monotonic());
            if let Some((set, _)) = known {
                return Ok(*set);
            }
            kept.dropped
        };
        let until = clock.monotonic() + PERMISSIONS_FOR;
        let target = PathAndQuery::from_static("/api2/json/access/permissions");
        let body = ask_for(peer, caller, parts, &target, PERMISSIONS_ALL_BYTES).await;
        if matches!(body, Err(Unknown::NotLoggedIn)) {
            self.forget(id);
        }
        // Written anew, so that the order of its members says nothing.
        let set: Option<Value> = serde_json::from_slice(&body?).ok();
        let data = set.as_ref().and_then(|set| set.get("data")).filter(|data| data.is_object());
        let data = data.ok_or(Unknown::Refused)?.to_string();
        let set = Id::of(data.as_bytes());
        let mut kept = self.kept();
        if kept.dropped == before {
            let now = clock.monotonic();
            if kept.sets.len() >= PERMISSIONS_KEPT {
                kept.sets.retain(|_, (_, until)| *until > now);
            }
            if kept.sets.len() < PERMISSIONS_KEPT {
                kept.sets.insert(id, (set, until));
            }
        }
        Ok(set)
    }

    /// Drops what is kept of a caller.
    pub(crate) fn forget(&self, caller: Id) {
        let mut kept = self.kept();
        kept.answers.retain(|_, answer| answer.caller != caller);
        kept.sets.remove(&caller);
        kept.dropped += 1;
    }

    /// Drops everything: the access lists have changed.
    pub(crate) fn clear(&self) {
        let mut kept = self.kept();
        kept.answers.clear();
        kept.sets.clear();
        kept.dropped += 1;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(caller: Id, path: &str) -> Id {
    Id::of(&[&caller.0, path.as_bytes()].concat())
}

/// Asks Proxmox VE, with the credential of the caller and no other.
async fn ask(
    peer: &Peer,
    caller: &Caller<'_>,
    parts: &Parts,
    path: &str,
) -> Result<Privileges, Unknown> {
    let mut target = b"/api2/json/access/permissions?path=".to_vec();
    encode(&mut target, path.as_bytes());
    let target = PathAndQuery::try_from(target).map_err(|_| Unknown::Refused)?;
    let body = ask_for(peer, caller, parts, &target, PERMISSIONS_BYTES).await?;
    let broken = || UpstreamError::Broken("permissions that can not be read".to_owned());
    read(&body, path).ok_or_else(|| Unknown::Upstream(broken()))
}

/// The body of a 200.
async fn ask_for(
    peer: &Peer,
    caller: &Caller<'_>,
    parts: &Parts,
    target: &PathAndQuery,
    limit: usize,
) -> Result<Bytes, Unknown> {
    let lines = question_lines(caller, parts);
    let outbound = Outbound { method: &Method::GET, target, lines };
    let answer = peer.worker.upstream.call(&outbound, &Bytes::new()).await;
    let answer = answer.map_err(Unknown::Upstream)?;
    match answer.head.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => return Err(Unknown::NotLoggedIn),
        _ => return Err(Unknown::Refused),
    }
    let broken = || UpstreamError::Broken("the permissions of a caller".to_owned());
    let body = answer.body.whole(limit).await;
    body.ok().flatten().ok_or_else(|| Unknown::Upstream(broken()))
}

fn question_lines(caller: &Caller<'_>, parts: &Parts) -> HeadLines {
    let credential = caller.lines(&Headers::of(parts), &Method::GET);
    let rows = [
        ("Host", parts.headers.get(HOST)),
        ("Cookie", credential.cookie.as_ref()),
        ("Authorization", credential.authorization.as_ref()),
        ("Accept", Some(&HeaderValue::from_static("application/json"))),
    ];
    let mut lines = HeadLines::new();
    for (name, value) in rows {
        if let Some(value) = value {
            lines.add(name, value.as_bytes());
        }
    }
    lines
}

/// `{"data":{PATH:{PRIVILEGE:FLAG}}}`; what is not there is not granted, nor what no known
/// release has.
fn read(body: &[u8], path: &str) -> Option<Privileges> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let data = body.get("data")?.as_object()?;
    let Some(here) = data.get(path) else { return Some(Privileges::EMPTY) };
    Some(here.as_object()?.keys().filter_map(|name| Privilege::parse(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_said_is_not_granted() {
        let body = br#"{"data":{"/vms/100":{"VM.Audit":1,"VM.Console":0,"New.Thing":1}}}"#;
        let held = read(body, "/vms/100").unwrap();
        let names: Vec<_> = held.iter().map(Privilege::name).collect();
        // The flag says whether it propagates, not whether it is held.
        assert_eq!(names, ["VM.Audit", "VM.Console"]);
        assert_eq!(read(body, "/vms"), Some(Privileges::EMPTY));
        for broken in ["", "{}", "{\"data\":null}", "{\"data\":{\"/vms\":1}}"] {
            assert_eq!(read(broken.as_bytes(), "/vms"), None, "{broken}");
        }
    }

    #[test]
    fn nobody_inherits_anything() {
        let permissions = Permissions::default();
        let held = Privileges::parse(["VM.Audit"]).unwrap();
        let (one, two) = (Id([1; 32]), Id([2; 32]));
        for caller in [one, two] {
            let answer = Answer { caller, held, until: Duration::MAX };
            permissions.kept().answers.insert(key(caller, "/"), answer);
        }
        assert!(key(one, "/") != key(two, "/"));
        permissions.forget(one);
        assert!(!permissions.kept().answers.contains_key(&key(one, "/")));
        assert_eq!(permissions.kept().answers.len(), 1);
        permissions.clear();
        assert!(permissions.kept().answers.is_empty());
    }

    proptest! {
        #[test]
        fn any_answer_is_read(body in "[{}\":a/0,]{0,40}") {
            read(body.as_bytes(), "/a");
        }
    }
}
