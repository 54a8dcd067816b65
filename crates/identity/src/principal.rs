//! The caller of one request.

use crate::{TokenId, UserId};
use std::fmt;

/// Who made a request, as far as it was proven.
///
/// `Display` is what the audit log shows: `anonymous`, `name@realm`, `name@realm!token`
/// or `uid 1000`. No PVE name can look like one of the other two forms, because a name
/// always holds `@` and never a blank.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// Nothing was proven.
    Anonymous,
    /// A user with a valid ticket.
    User(UserId),
    /// An API token.
    Token(TokenId),
    /// A local process at the other end of a unix socket, by its user.
    Peer {
        /// The effective uid when the peer connected, see [`crate::peer::credentials`].
        uid: u32,
    },
}

impl Principal {
    /// The PVE user behind the caller: of a token, the user it belongs to.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::Token(token) => Some(token.user()),
            Self::Anonymous | Self::Peer { .. } => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::User(user) => user.fmt(f),
            Self::Token(token) => token.fmt(f),
            Self::Peer { uid } => write!(f, "uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_acts_for_its_user_and_a_peer_for_none() {
        let user: UserId = "ops@pve".parse().unwrap();
        let token = Principal::Token("ops@pve!ci".parse().unwrap());
        assert_eq!(token.user(), Some(&user));
        assert_eq!(token.to_string(), "ops@pve!ci");
        assert_eq!(Principal::User(user.clone()).user(), Some(&user));
        assert_eq!(Principal::Peer { uid: 0 }.user(), None);
        assert_eq!(Principal::Peer { uid: 0 }.to_string(), "uid 0");
        assert_eq!(Principal::Anonymous.to_string(), "anonymous");
    }
}
