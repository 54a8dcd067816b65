//! Whom a rule is about.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::peer::{Peer, Place};
use process::Accounts;

/// `uid:0`, `user:pulse`, `gid:33`, `group:www-data`, `unit:pulse.service`, `container:101`,
/// `container:101/33`, `container:101/*`, `cell:web`, `range:root`, `range:root/*`,
/// `socket:ct101`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PeerPattern {
    /// A user of the host.
    Uid(u32),
    /// A user of the host, by name.
    User(String),
    /// A group of the host, effective or supplementary.
    Gid(u32),
    /// A group of the host, by name.
    Group(String),
    /// A unit of the system.
    Unit(String),
    /// Users of a container; `None` is any container.
    Container(Option<String>, Inner),
    /// A cell.
    Cell(String),
    /// Users of any user namespace made of this account's subordinate ids.
    Range(String, Inner),
    /// Whatever comes through this socket.
    Socket(String),
}

/// A user as numbered inside a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inner {
    /// This one; 0, its root, when nothing is said.
    Uid(u32),
    /// All of them.
    Any,
}

/// A word that names no peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "peer: expected uid:N, user:NAME, gid:N, group:NAME, unit:NAME.service, container:ID, \
     container:ID/UID, container:ID/*, cell:NAME, range:ACCOUNT, range:ACCOUNT/* or socket:NAME"
)]
pub struct PatternError;

impl PeerPattern {
    /// Whether `peer` is one of them. A name that has not been resolved matches nobody.
    #[must_use]
    pub fn matches(&self, peer: &Peer) -> bool {
        match self {
            Self::Uid(uid) => peer.is_host() && peer.uid == *uid,
            Self::Gid(gid) => peer.is_host() && (peer.gid == *gid || peer.groups.contains(gid)),
            Self::User(_) | Self::Group(_) => false,
            Self::Unit(name) => peer.unit() == Some(name),
            Self::Container(wanted, inner) => match &peer.place {
                Place::Container(id) => {
                    wanted.as_ref().is_none_or(|wanted| wanted.as_str() == &**id)
                        && inner.matches(peer.inner_uid)
                }
                _ => false,
            },
            Self::Cell(name) => matches!(&peer.place, Place::Cell(id) if **id == **name),
            Self::Range(owner, inner) => {
                // In a container that is known, the container is the identity; a range would let
                // each unprivileged container pass for all others.
                peer.place == Place::Foreign
                    && peer.range.as_ref().is_some_and(|range| *range.owner == **owner)
                    && inner.matches(peer.inner_uid)
            }
            Self::Socket(name) => *peer.socket == **name,
        }
    }

    /// The same with numbers instead of names.
    pub(crate) fn resolve(&self, accounts: &Accounts) -> Result<Self, (&'static str, String)> {
        match self {
            Self::User(name) => {
                accounts.uid(name).map(Self::Uid).ok_or_else(|| ("user", name.clone()))
            }
            Self::Group(name) => {
                accounts.gid(name).map(Self::Gid).ok_or_else(|| ("group", name.clone()))
            }
            other => Ok(other.clone()),
        }
    }
}

impl Inner {
    fn matches(self, uid: Option<u32>) -> bool {
        match self {
            Self::Any => true,
            Self::Uid(wanted) => uid == Some(wanted),
        }
    }
}

impl FromStr for PeerPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (kind, name) = text.split_once(':').ok_or(PatternError)?;
        let plain = |name: &str| {
            let byte = |b: u8| b.is_ascii_alphanumeric() || b"._-@\\:/".contains(&b);
            !name.is_empty() && name.len() <= 128 && name.bytes().all(byte)
        };
        let number = || name.parse::<u32>().map_err(|_| PatternError);
        let word = |name: &str| plain(name).then(|| name.to_owned()).ok_or(PatternError);
        Ok(match kind {
            "uid" => Self::Uid(number()?),
            "gid" => Self::Gid(number()?),
            "user" => Self::User(word(name)?),
            "group" => Self::Group(word(name)?),
            "unit" => Self::Unit(word(name)?),
            "cell" => Self::Cell(word(name)?),
            "socket" => Self::Socket(word(name)?),
            "range" => {
                let (owner, inner) = split_inner(name)?;
                Self::Range(word(owner)?, inner)
            }
            "container" => {
                let (id, inner) = split_inner(name)?;
                let id = if id == "*" { None } else { Some(word(id)?) };
                Self::Container(id, inner)
            }
            _ => return Err(PatternError),
        })
    }
}

/// `101/33` into id and user. An id of another engine has a slash of its own: `docker/0f…`.
fn split_inner(text: &str) -> Result<(&str, Inner), PatternError> {
    match text.rsplit_once('/') {
        Some((id, "*")) => Ok((id, Inner::Any)),
        Some((id, uid)) if uid.bytes().all(|b| b.is_ascii_digit()) && uid.len() <= 10 => {
            uid.parse().map(|uid| (id, Inner::Uid(uid))).map_err(|_| PatternError)
        }
        _ => Ok((text, Inner::Uid(0))),
    }
}

impl TryFrom<String> for PeerPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<PeerPattern> for String {
    fn from(pattern: PeerPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for PeerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Gid(gid) => write!(f, "gid:{gid}"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Unit(name) => write!(f, "unit:{name}"),
            Self::Cell(name) => write!(f, "cell:{name}"),
            Self::Socket(name) => write!(f, "socket:{name}"),
            Self::Range(owner, inner) => write!(f, "range:{owner}{inner}"),
            Self::Container(Some(id), inner) => write!(f, "container:{id}{inner}"),
            Self::Container(None, inner) => write!(f, "container:*{inner}"),
        }
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("/*"),
            Self::Uid(uid) => write!(f, "/{uid}"),
        }
    }
}

impl PeerPattern {
    /// A stand-in peer that this pattern alone describes, for `policy simulate`.
    #[must_use]
    pub fn example(&self) -> Peer {
        let uid = |inner: &Inner| match inner {
            Inner::Uid(uid) => *uid,
            Inner::Any => 0,
        };
        let host = Peer {
            uid: u32::MAX - 2,
            gid: u32::MAX - 2,
            groups: Vec::new(),
            pid: 0,
            place: Place::Host,
            inner_uid: None,
            mapped: None,
            range: None,
            socket: Arc::from("default"),
        };
        match self {
            Self::Uid(uid) => Peer { uid: *uid, inner_uid: Some(*uid), ..host },
            Self::Gid(gid) => Peer { gid: *gid, ..host },
            Self::User(_) | Self::Group(_) => host,
            Self::Unit(name) => Peer { place: Place::Unit(name.as_str().into()), ..host },
            Self::Cell(name) => Peer { place: Place::Cell(name.as_str().into()), ..host },
            Self::Socket(name) => Peer { socket: name.as_str().into(), ..host },
            Self::Container(id, inner) => Peer {
                place: Place::Container(id.as_deref().unwrap_or("0").into()),
                inner_uid: Some(uid(inner)),
                ..host
            },
            Self::Range(owner, inner) => {
                let range = crate::peer::Range { owner: owner.as_str().into(), start: 1, end: 1 };
                let inner_uid = Some(uid(inner));
                Peer { place: Place::Foreign, range: Some(range), inner_uid, ..host }
            }
        }
    }
}
