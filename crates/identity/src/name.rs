//! `name@realm` and `name@realm!token` by the rules of `PVE::Auth::Plugin` (PVE 8 and 9).

use std::fmt;
use std::str::FromStr;

/// Most characters of a whole user id, realm included (`verify_username`, schema `maxLength`).
pub const USER_MAX_CHARS: usize = 64;
/// Fewest characters of a whole user id (`verify_username`).
pub const USER_MIN_CHARS: usize = 3;
/// Most characters of a realm given alone (schema of `/access/domains`, `maxLength`).
///
/// PVE does not apply it to the realm inside a user id, and neither does [`UserId`].
pub const REALM_MAX_CHARS: usize = 32;

/// Why a text is not a name. `Display` quotes the text with control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Fewer than [`USER_MIN_CHARS`] characters.
    #[error("user name {0:?} is too short: at least 3 characters, as in name@realm")]
    UserTooShort(String),
    /// More than [`USER_MAX_CHARS`] characters; the text itself is not kept.
    #[error("user name is too long: {0} characters, at most 64")]
    UserTooLong(usize),
    /// Not `[^\s:/]+@realm`.
    #[error("{0:?} is not a user name: expected name@realm without blanks, ':' or '/'")]
    User(String),
    /// More than [`REALM_MAX_CHARS`] characters; the text itself is not kept.
    #[error("realm is too long: {0} characters, at most 32")]
    RealmTooLong(usize),
    /// Not `[A-Za-z][A-Za-z0-9.\-_]+`.
    #[error("{0:?} is not a realm: expected a letter, then letters, digits, '.', '-' or '_'")]
    Realm(String),
    /// Not `user@realm!name` with the name `[A-Za-z][A-Za-z0-9.\-_]+`.
    #[error("{0:?} is not an API token id: expected user@realm!name")]
    Token(String),
}

/// An authentication realm such as `pam`, `pve` or `corp-ldap`; compared with case, as PVE does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Realm(String);

impl Realm {
    /// The realm as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Realm {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let chars = text.chars().count();
        if chars > REALM_MAX_CHARS {
            return Err(NameError::RealmTooLong(chars));
        }
        if !is_realm(text) {
            return Err(NameError::Realm(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A user of PVE, `name@realm`.
///
/// The name may hold any character but blanks, `:` and `/`: also `@` (the last one splits),
/// `!`, and control characters other than blanks, because PVE accepts them. Print it with
/// `{:?}` where a terminal or a plain-text log reads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId {
    name: String,
    realm: Realm,
}

impl UserId {
    /// The part before the last `@`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part after the last `@`.
    pub fn realm(&self) -> &Realm {
        &self.realm
    }

    /// Whether this is `root@pam`, whom PVE lets pass every check (`PVE::RPCEnvironment`).
    pub fn is_root(&self) -> bool {
        self.name == "root" && self.realm.0 == "pam"
    }
}

impl FromStr for UserId {
    type Err = NameError;

    /// `verify_username` of `PVE::Auth::Plugin`, except that Perl's `$` would let one newline
    /// at the end pass.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let chars = text.chars().count();
        if chars < USER_MIN_CHARS {
            return Err(NameError::UserTooShort(text.to_owned()));
        }
        if chars > USER_MAX_CHARS {
            return Err(NameError::UserTooLong(chars));
        }
        match text.rsplit_once('@') {
            Some((name, realm)) if is_user_name(name) && is_realm(realm) => {
                Ok(Self { name: name.to_owned(), realm: Realm(realm.to_owned()) })
            }
            _ => Err(NameError::User(text.to_owned())),
        }
    }
}

/// An API token of a user, `name@realm!token`; the id only, never its secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId {
    user: UserId,
    name: String,
}

impl TokenId {
    /// The token `name` of `user`; the name must match `[A-Za-z][A-Za-z0-9.\-_]+`.
    pub fn new(user: UserId, name: &str) -> Result<Self, NameError> {
        if !is_realm(name) {
            return Err(NameError::Token(format!("{user}!{name}")));
        }
        Ok(Self { user, name: name.to_owned() })
    }

    /// The user the token belongs to.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The part after the last `!`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for TokenId {
    type Err = NameError;

    /// `split_tokenid` of `PVE::AccessControl`. A user name may hold `!`; the last one splits.
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.rsplit_once('!') {
            Some((user, name)) if is_realm(name) => {
                Ok(Self { user: user.parse()?, name: name.to_owned() })
            }
            _ => Err(NameError::Token(text.to_owned())),
        }
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.realm)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}!{}", self.user, self.name)
    }
}

/// `[^\s:/]+`
fn is_user_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c == ':' || c == '/')
}

/// `[A-Za-z][A-Za-z0-9.\-_]+`: two characters at least. Token names follow the same rule.
fn is_realm(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && text.len() >= 2
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(text: &str) -> Result<(String, String), NameError> {
        text.parse::<UserId>().map(|u| (u.name().to_owned(), u.realm().to_string()))
    }

    #[test]
    fn users_split_at_the_last_at_sign() {
        for (text, name, realm) in [
            ("root@pam", "root", "pam"),
            ("joe@example.org@corp-ldap", "joe@example.org", "corp-ldap"),
            ("@@pve", "@", "pve"),
            ("a!b@pve", "a!b", "pve"),
            ("jürgen@pve", "jürgen", "pve"),
            ("x@a.b-c_9", "x", "a.b-c_9"),
        ] {
            assert_eq!(user(text), Ok((name.to_owned(), realm.to_owned())), "{text}");
        }
    }

    #[test]
    fn texts_that_pve_refuses_are_refused() {
        for text in [
            "",
            "a@",
            "@pve",
            "a@p",
            "root",
            "ro ot@pam",
            "ro:ot@pam",
            "ro/ot@pam",
            "root@9pam",
            "root@pam!ci",
            "root@pam\n",
            "root@pam/x",
            "root@p:m",
            "ro\u{a0}ot@pam",
            "root@pám",
        ] {
            assert!(user(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn length_is_counted_in_characters_of_the_whole() {
        let longest = format!("{}@pve", "é".repeat(USER_MAX_CHARS - 4));
        assert!(user(&longest).is_ok());
        assert_eq!(user(&format!("é{longest}")), Err(NameError::UserTooLong(65)));
        assert_eq!(user("a@"), Err(NameError::UserTooShort("a@".to_owned())));
        assert!("r".repeat(32).parse::<Realm>().is_ok());
        assert_eq!("r".repeat(33).parse::<Realm>(), Err(NameError::RealmTooLong(33)));
        // the limit of a realm given alone does not hold inside a user id
        assert!(user(&format!("a@{}", "r".repeat(40))).is_ok());
    }

    #[test]
    fn tokens_split_at_the_last_bang() {
        let token: TokenId = "a!b@pve!ci-1".parse().unwrap();
        assert_eq!((token.user().to_string().as_str(), token.name()), ("a!b@pve", "ci-1"));
        for text in
            ["root@pam", "root@pam!", "root@pam!c", "root@pam!9c", "root!ci", "root@pam!a=b"]
        {
            assert!(text.parse::<TokenId>().is_err(), "{text:?}");
        }
        assert!(TokenId::new("root@pam".parse().unwrap(), "a b").is_err());
    }

    #[test]
    fn only_root_of_pam_is_root() {
        let root = |text: &str| text.parse::<UserId>().unwrap().is_root();
        assert!(root("root@pam"));
        assert!(!root("root@pve") && !root("Root@pam") && !root("root@PAM") && !root("a@root@pam"));
    }

    #[test]
    fn errors_escape_what_they_quote() {
        let error = "a\u{1b}[2J b@pam".parse::<UserId>().unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
    }

    proptest! {
        #[test]
        fn written_names_read_back(name in "[^\\s:/]{1,50}", realm in "[A-Za-z][A-Za-z0-9._-]{1,10}",
                                   token in "[A-Za-z][A-Za-z0-9._-]{1,40}") {
            let text = format!("{name}@{realm}");
            let user: UserId = text.parse().unwrap();
            prop_assert_eq!(user.to_string(), text);
            let id = TokenId::new(user, &token).unwrap();
            prop_assert_eq!(id.to_string().parse::<TokenId>(), Ok(id));
        }

        #[test]
        fn whatever_parses_is_written_as_it_came(text in "[a-c@!é]{0,6}@[a-c.9]{1,4}(![a-c9-]{0,3})?|.{0,80}") {
            if let Ok(user) = text.parse::<UserId>() {
                prop_assert_eq!(user.to_string(), text.as_str());
            }
            if let Ok(token) = text.parse::<TokenId>() {
                prop_assert_eq!(token.to_string(), text.as_str());
            }
            if let Ok(realm) = text.parse::<Realm>() {
                prop_assert_eq!(realm.to_string(), text.as_str());
            }
        }
    }
}
