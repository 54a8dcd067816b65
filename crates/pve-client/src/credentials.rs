//! Who the client is.

use std::fmt;

use identity::{TokenId, UserId};
use secrets::SecretString;
use serde_json::Value;

use crate::encode::decode;

/// How the client proves who it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// Not at all; enough for `/access/domains` and little else.
    None,
    /// A password: logs in before the first call, and again when the ticket is refused.
    Password {
        /// The user.
        user: UserId,
        /// Its password.
        password: SecretString,
        /// The second factor of an account that has one. It serves for one login, as codes do.
        second_factor: Option<SecondFactor>,
    },
    /// A ticket obtained before: renewed in time, and useless once it is refused.
    Ticket {
        /// `PVE:user@realm:…`.
        ticket: SecretString,
        /// The CSRF prevention token that came with it.
        csrf: SecretString,
    },
    /// An API token.
    Token {
        /// `user@realm!name`.
        id: TokenId,
        /// Its secret, a UUID.
        secret: SecretString,
    },
}

/// One answer to a second-factor challenge.
#[derive(Debug)]
#[non_exhaustive]
pub enum SecondFactor {
    /// The six digits of an authenticator app.
    Totp(SecretString),
    /// A recovery key.
    Recovery(SecretString),
}

impl SecondFactor {
    /// As PVE takes it in place of the password (PVE::API2::AccessControl, `tfa-challenge`).
    pub(crate) fn response(&self) -> SecretString {
        let (kind, code) = match self {
            Self::Totp(code) => ("totp", code),
            Self::Recovery(key) => ("recovery", key),
        };
        SecretString::new(format!("{kind}:{}", code.expose().trim()))
    }
}

/// What a login gives.
pub struct Ticket {
    /// `user@realm` as the server wrote it.
    pub user: String,
    /// The ticket, for the cookie `PVEAuthCookie`.
    pub ticket: SecretString,
    /// The token that calls other than GET must carry.
    pub csrf: SecretString,
    /// The cluster's name, when the node is in one.
    pub cluster: Option<String>,
    /// What the GUI shows for this user: area → privilege → 1.
    pub capabilities: Value,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("user", &self.user)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// The user in `PVE:user@realm:HEX8::signature`.
pub(crate) fn ticket_user(ticket: &str) -> Option<&str> {
    let user = ticket.strip_prefix("PVE:")?.split(':').next()?;
    (!user.is_empty() && !user.starts_with('!')).then_some(user)
}

/// The kinds of second factor in `PVE:!tfa!{"totp"%3Atrue,…}:HEX8::signature`: the keys with
/// anything but `false` or nothing behind them.
pub(crate) fn challenge_kinds(ticket: &str) -> Option<Vec<String>> {
    let body = ticket.strip_prefix("PVE:!tfa!")?.split(':').next()?;
    let challenge: Value = serde_json::from_str(&decode(body)).unwrap_or(Value::Null);
    let kinds = challenge.as_object().into_iter().flatten();
    let offered = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(left) => !left.is_empty(),
        _ => true,
    };
    Some(kinds.filter(|(_, value)| offered(value)).map(|(kind, _)| kind.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_tell_what_is_offered() {
        let kinds = |body: &str| challenge_kinds(&format!("PVE:!tfa!{body}:6B00CF36::sig=="));
        let recorded = r#"{"totp"%3Atrue,"recovery"%3A[0,1,2]}"#;
        assert_eq!(kinds(recorded).unwrap(), ["recovery", "totp"]);
        assert_eq!(kinds(r#"{"totp"%3Afalse,"recovery"%3A[],"u2f"%3Anull}"#), Some(Vec::new()));
        assert_eq!(kinds("%7B%22totp%22%3Atrue%7D").unwrap(), ["totp"]);
        assert_eq!(kinds("damaged"), Some(Vec::new()));
        assert_eq!(challenge_kinds("PVE:root@pam:6B00CF36::sig=="), None);
    }

    #[test]
    fn the_user_of_a_ticket() {
        assert_eq!(ticket_user("PVE:root@pam:6B00CF36::sig"), Some("root@pam"));
        for none in ["", "PVE:", "PVE::x", "PVEVNC:x", "PVE:!tfa!{}:6B00CF36::sig"] {
            assert_eq!(ticket_user(none), None, "{none:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::Password {
            user: "root@pam".parse().unwrap(),
            password: SecretString::new("hunter2".to_owned()),
            second_factor: Some(SecondFactor::Totp(SecretString::new("123456".to_owned()))),
        };
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("123456"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_ticket_is_answered(text: String) {
            let _ = (ticket_user(&text), challenge_kinds(&format!("PVE:!tfa!{text}")));
        }
    }
}
