//! API tokens as a request carries them: `Authorization: PVEAPIToken=USER@REALM!NAME=SECRET`.

use identity::TokenId;
use secrets::SecretString;

use crate::limits::MAX_TOKEN_BYTES;

/// A token that a client presented. Not verified.
#[derive(Debug)]
pub struct ApiToken {
    id: TokenId,
    secret: SecretString,
}

/// The text is no API token. PVE answers 401 `no tokenid specified` or the like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("invalid API token: longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// There is no `=` between name and secret.
    #[error("invalid API token: expected USER@REALM!NAME=SECRET")]
    NoSecret,
    /// The name is not `USER@REALM!NAME`.
    #[error("invalid API token: the name is not of the form USER@REALM!NAME")]
    Name,
}

impl ApiToken {
    /// Parses the value after `PVEAPIToken=`, already percent-decoded.
    ///
    /// The last `=` separates the secret: user names may hold one, secrets may not.
    pub fn parse(value: &str) -> Result<Self, TokenError> {
        if value.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (id, secret) = value.rsplit_once('=').ok_or(TokenError::NoSecret)?;
        let id = id.parse().map_err(|_| TokenError::Name)?;
        Ok(Self { id, secret: SecretString::new(secret.to_owned()) })
    }

    /// The name it was presented under.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// Whether the presented secret is the stored one, compared in constant time. A blank
    /// stored secret matches nothing.
    pub fn matches(&self, stored: &SecretString) -> bool {
        !stored.expose().is_empty() && self.secret.same_as(stored.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_equals_sign_separates_the_secret() {
        let token = ApiToken::parse("a=b@pve!ci=8e4f569a").unwrap();
        assert_eq!(token.id().to_string(), "a=b@pve!ci");
        assert!(token.matches(&SecretString::new("8e4f569a".to_owned())));
        assert!(!token.matches(&SecretString::new("8e4f569b".to_owned())));
        assert!(!format!("{token:?}").contains("8e4f569a"));
    }

    #[test]
    fn blank_secrets_never_match() {
        let token = ApiToken::parse("a@pve!ci=").unwrap();
        assert!(!token.matches(&SecretString::new(String::new())));
    }

    #[test]
    fn other_texts_are_refused() {
        let refused = |text: &str| ApiToken::parse(text).unwrap_err();
        assert_eq!(refused("a@pve!ci"), TokenError::NoSecret);
        assert_eq!(refused("a@pve=secret"), TokenError::Name);
        assert_eq!(refused("=secret"), TokenError::Name);
        assert_eq!(refused(&"x".repeat(MAX_TOKEN_BYTES + 1)), TokenError::TooLong);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            let _ = ApiToken::parse(&text);
        }
    }
}
