//! What a rule gives, and on what.

use std::fmt;
use std::str::FromStr;

use broker_api::{Group, VERBS, Verb};
use serde::{Deserialize, Serialize};

/// A group (`read`) or one verb (`sensors.read`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// All verbs of the group, and of no other.
    Group(Group),
    /// One verb.
    Verb(&'static Verb),
}

/// `local`, `node/pve2`, `node/*`, `file/NAME`, `command/NAME` or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TargetPattern {
    /// This one.
    One(String),
    /// All of this kind, written `KIND/*`.
    Kind(String),
    /// Everything, written `*`.
    All,
}

/// A word that names nothing; it says what was meant, when that can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WordError(String);

impl Selector {
    pub(crate) fn covers(self, verb: &Verb) -> bool {
        match self {
            Self::Group(group) => verb.group == group,
            Self::Verb(one) => one == verb,
        }
    }

    pub(crate) fn group(self) -> Group {
        match self {
            Self::Group(group) => group,
            Self::Verb(verb) => verb.group,
        }
    }
}

impl FromStr for Selector {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        if let Some(group) = Group::ALL.into_iter().find(|group| group.name() == text) {
            return Ok(Self::Group(group));
        }
        Verb::find(text).map(Self::Verb).ok_or_else(|| {
            let known = Group::ALL.into_iter().map(Group::name);
            let known = known.chain(VERBS.iter().map(|verb| verb.name));
            let nearest = known.min_by_key(|name| distance(name, text)).unwrap_or("read");
            let meant = match distance(nearest, text) {
                0..=3 => format!("did you mean {nearest}?"),
                _ => "write read, write, admin or a verb (`proxward broker verbs`)".to_owned(),
            };
            WordError(format!("no group and no verb; {meant}"))
        })
    }
}

impl TargetPattern {
    /// This host.
    #[must_use]
    pub fn local() -> Self {
        Self::One("local".to_owned())
    }

    pub(crate) fn covers(&self, target: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == target,
            Self::Kind(kind) => target.split_once('/').is_some_and(|(word, _)| word == kind),
        }
    }
}

impl FromStr for TargetPattern {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        let refused = || {
            WordError(
                "expected local, node/NAME, file/NAME, command/NAME, one of these with * as \
                 NAME, or *"
                    .to_owned(),
            )
        };
        if text == "*" {
            return Ok(Self::All);
        }
        if text == "local" {
            return Ok(Self::local());
        }
        let (kind, name) = text.split_once('/').ok_or_else(refused)?;
        let known = VERBS.iter().any(|verb| verb.target.is_some_and(|(word, _)| word == kind));
        let plain = !name.is_empty()
            && name.len() <= 256
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        match (known, name) {
            (true, "*") => Ok(Self::Kind(kind.to_owned())),
            (true, _) if plain => Ok(Self::One(text.to_owned())),
            _ => Err(refused()),
        }
    }
}

/// Edits between two words (Levenshtein), for suggestions only: both are short.
fn distance(one: &str, other: &str) -> usize {
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut row = vec![i + 1];
        let (mut left, pairs) = (i + 1, above.iter().zip(above.iter().skip(1)));
        for ((diagonal, up), b) in pairs.zip(other.bytes()) {
            left = (diagonal + usize::from(a != b)).min(up + 1).min(left + 1);
            row.push(left);
        }
        above = row;
    }
    above.last().copied().unwrap_or(usize::MAX)
}

impl TryFrom<String> for Selector {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => f.write_str(group.name()),
            Self::Verb(verb) => f.write_str(verb.name),
        }
    }
}

impl TryFrom<String> for TargetPattern {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        text.parse()
    }
}

impl From<TargetPattern> for String {
    fn from(pattern: TargetPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::One(one) => f.write_str(one),
            Self::Kind(kind) => write!(f, "{kind}/*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_are_refused_with_the_one_meant() {
        let refused = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
        assert!(refused("raed").contains("did you mean read?"));
        assert!(refused("sensor.read").contains("did you mean sensors.read?"));
        assert!(refused("everything at once").contains("write read, write, admin"));
        assert_eq!("read".parse::<Selector>().unwrap(), Selector::Group(Group::Read));
        assert_eq!((distance("read", "read"), distance("abc", ""), distance("", "ab")), (0, 3, 2));
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn targets_cover_what_they_say() {
        let covers =
            |pattern: &str, target| pattern.parse::<TargetPattern>().unwrap().covers(target);
        assert!(covers("*", "local") && covers("*", "node/pve2"));
        assert!(covers("local", "local") && !covers("local", "node/pve2"));
        assert!(covers("node/*", "node/pve2") && !covers("node/*", "local"));
        assert!(
            !covers("node/*", "file/x")
                && covers("node/a", "node/a")
                && !covers("node/a", "node/ab")
        );
        for wrong in ["", "nodes/*", "node/", "node/a*", "local/x", "node", "node/a b"] {
            assert!(wrong.parse::<TargetPattern>().is_err(), "{wrong}");
        }
    }
}
