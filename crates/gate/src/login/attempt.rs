//! One try to get in, as it is counted.

use std::fmt;
use std::net::IpAddr;

use crate::limits::USER_TEXT;

/// Where a login can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// `/api2/json/access/ticket`.
    Json,
    /// `/api2/extjs/access/ticket` and the other formats for browsers (`html`, `htmljs`), which
    /// say the outcome in the body.
    Extjs,
    /// The second step of `access/ticket`.
    Tfa,
    /// `access/openid/login`.
    OpenId,
    /// A call with an API token that is not valid.
    ApiToken,
    /// A call with a ticket that is forged or has expired.
    Ticket,
}

impl Channel {
    /// The word in log, audit and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Extjs => "extjs",
            Self::Tfa => "tfa",
            Self::OpenId => "openid",
            Self::ApiToken => "api_token",
            Self::Ticket => "ticket",
        }
    }

    /// What the line for fail2ban gives as the reason. Our words only.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Json | Self::Extjs => "invalid credentials",
            Self::Tfa => "invalid second factor",
            Self::OpenId => "OpenID login refused",
            Self::ApiToken => "invalid API token",
            Self::Ticket => "invalid ticket",
        }
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
    /// Neither counts: Proxmox VE was not reached or answered 5xx, or a second step follows.
    Undecided,
}

/// An account as a client wrote it: bounded, and without a character that could end a field or
/// a line anywhere it is written.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct UserText(Box<str>);

impl UserText {
    /// Keeps letters, digits and `@ . _ + - !`, which is all that ordinary accounts and tokens
    /// consist of; anything else becomes `?`. At most [`USER_TEXT`] characters.
    pub(crate) fn new(text: &str) -> Self {
        let known = |c: char| matches!(c, '0'..='9' | 'A'..='Z' | 'a'..='z' | '@' | '.' | '_' | '+' | '-' | '!');
        if text.len() <= USER_TEXT && text.bytes().all(|byte| known(byte.into())) {
            return Self(text.into());
        }
        let kept = text.chars().take(USER_TEXT).map(|c| if known(c) { c } else { '?' });
        Self(kept.collect::<String>().into_boxed_str())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last `@`, without the name of a token.
    fn realm(&self) -> Option<Self> {
        let (user, _) = self.0.split_once('!').unwrap_or((&self.0, ""));
        user.rsplit_once('@').map(|(_, realm)| Self(realm.into()))
    }
}

impl fmt::Display for UserText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) channel: Channel,
    /// The true address.
    pub(crate) client: IpAddr,
    /// `name@realm`, or `name@realm!token` for an API token; None where none was given.
    pub(crate) user: Option<UserText>,
    /// None where neither the account nor the request says one.
    pub(crate) realm: Option<UserText>,
    /// A mark of the ticket, where it is one that was lawful once and has expired: the tab that
    /// was left open over night asks ten times with the same one, and that is no guess.
    pub(crate) expired: Option<u64>,
}

impl Attempt {
    /// A try with an account as the client wrote it; its realm is the account's.
    pub(crate) fn new(channel: Channel, client: IpAddr, user: Option<&str>) -> Self {
        let user = user.filter(|user| !user.is_empty()).map(UserText::new);
        let realm = user.as_ref().and_then(UserText::realm);
        Self { channel, client, user, realm, expired: None }
    }

    /// A try with only a realm: OpenID.
    pub(crate) fn of_realm(channel: Channel, client: IpAddr, realm: Option<&str>) -> Self {
        Self { realm: realm.map(UserText::new), ..Self::new(channel, client, None) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Channel, UserText};
    use proptest::prelude::*;

    #[test]
    fn accounts_have_realms_and_tokens_those_of_their_user() {
        let realm = |user| {
            let attempt = Attempt::new(Channel::Json, "192.0.2.1".parse().unwrap(), Some(user));
            attempt.realm.map(|realm| realm.to_string())
        };
        assert_eq!(realm("root@pam").as_deref(), Some("pam"));
        assert_eq!(realm("a@b@ldap").as_deref(), Some("ldap"));
        assert_eq!(realm("root@pam!ci@x").as_deref(), Some("pam"));
        assert_eq!(realm("root"), None);
        assert_eq!(realm(""), None);
    }

    proptest! {
        #[test]
        fn no_account_can_end_a_field_or_a_line(text in any::<String>()) {
            let kept = UserText::new(&text);
            let kept = kept.as_str();
            prop_assert!(kept.len() <= 128);
            prop_assert!(!kept.contains([' ', '=', ';', ':', '"', '\n', '\r', '<', '%', '\0']));
            prop_assert!(kept.is_ascii());
        }
    }
}
