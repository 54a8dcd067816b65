//! Whose rights are asked for.

use std::fmt;
use std::str::FromStr;

use identity::{Principal, TokenId, UserId};

/// A user (`name@realm`) or an API token (`name@realm!token`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    text: String,
    /// Length of the user's name in `text`.
    user: usize,
}

/// The text is neither a user nor a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither a user (name@realm) nor an API token (name@realm!token)")]
pub struct NotASubject;

impl Subject {
    /// `root@pam` itself, which has every right.
    pub fn root() -> Self {
        Self { text: "root@pam".to_owned(), user: "root@pam".len() }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The user, or the token's owner.
    pub fn user(&self) -> &str {
        self.text.get(..self.user).unwrap_or(&self.text)
    }

    /// The token's name after `!`.
    pub fn token(&self) -> Option<&str> {
        self.text.get(self.user + 1..)
    }

    /// Whether this is `root@pam`, not one of its tokens.
    pub fn is_root(&self) -> bool {
        self.text == "root@pam"
    }
}

impl TryFrom<&Principal> for Subject {
    type Error = NotASubject;

    /// Anonymous callers and local peers have no rights in PVE.
    fn try_from(principal: &Principal) -> Result<Self, NotASubject> {
        match principal {
            Principal::User(user) => Ok(user.into()),
            Principal::Token(token) => Ok(token.into()),
            Principal::Anonymous | Principal::Peer { .. } => Err(NotASubject),
        }
    }
}

impl From<&UserId> for Subject {
    fn from(user: &UserId) -> Self {
        let text = user.to_string();
        Self { user: text.len(), text }
    }
}

impl From<&TokenId> for Subject {
    fn from(token: &TokenId) -> Self {
        let text = token.to_string();
        // Neither realm nor token name may hold `!`, so the last one separates them.
        Self { user: text.rfind('!').unwrap_or(text.len()), text }
    }
}

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        if let Ok(user) = text.parse::<UserId>() {
            return Ok(Self::from(&user));
        }
        text.parse::<TokenId>().map(|token| Self::from(&token)).map_err(|_| NotASubject)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_told_from_users_with_exclamation_marks() {
        let subject = |text: &str| text.parse::<Subject>().unwrap();
        let token = subject("joe!x@pve!ci");
        assert_eq!((token.user(), token.token()), ("joe!x@pve", Some("ci")));
        let user = subject("joe!ci@pve");
        assert_eq!((user.user(), user.token()), ("joe!ci@pve", None));
        assert!("joe".parse::<Subject>().is_err());
        assert!(subject("root@pam") == Subject::root() && !subject("root@pam!ci").is_root());
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            if let Ok(subject) = text.parse::<Subject>() {
                prop_assert_eq!(subject.as_str(), text);
            }
        }
    }
}
