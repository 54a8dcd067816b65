//! Whether an account may be used at all.

use super::Access;
use crate::Subject;

/// Why an account or token may not be used. Clients are told only that authentication failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// No such user.
    #[error("no such user")]
    UserMissing,
    /// The user is disabled.
    #[error("the user is disabled")]
    UserDisabled,
    /// The user's expiry has passed.
    #[error("the user has expired")]
    UserExpired,
    /// No such token.
    #[error("no such API token")]
    TokenMissing,
    /// The token's expiry has passed.
    #[error("the API token has expired")]
    TokenExpired,
}

impl Access {
    /// Whether the user exists, is enabled and has not expired, and the same of a token.
    ///
    /// To be asked on every request, as PVE does: a ticket does not know that its user was
    /// disabled since. `now` is in seconds since 1970.
    pub fn check_account(&self, subject: &Subject, now: u64) -> Result<(), AccountError> {
        let user = self.config.users.get(subject.user()).ok_or(AccountError::UserMissing)?;
        if !user.enable {
            return Err(AccountError::UserDisabled);
        }
        if is_past(user.expire, now) {
            return Err(AccountError::UserExpired);
        }
        let Some(name) = subject.token() else {
            return Ok(());
        };
        let token = user.tokens.get(name).ok_or(AccountError::TokenMissing)?;
        if is_past(token.expire, now) {
            return Err(AccountError::TokenExpired);
        }
        Ok(())
    }
}

/// 0 is never.
fn is_past(expire: u64, now: u64) -> bool {
    expire != 0 && expire < now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Release;

    #[test]
    fn accounts_are_refused_for_the_first_reason() {
        let text = "user:on@pve:1:0:\nuser:off@pve:0:5:\nuser:old@pve:1:5:\n\
                    token:on@pve!ci:5:1:\ntoken:off@pve!ci:0:1:\n";
        let (access, _) = Access::parse(Release::V9, text).unwrap();
        let check = |name: &str, now| access.check_account(&name.parse().unwrap(), now);
        assert_eq!(check("root@pam", 9), Ok(()));
        assert_eq!(check("on@pve", 9), Ok(()));
        assert_eq!(check("no@pve", 9), Err(AccountError::UserMissing));
        assert_eq!(check("off@pve", 9), Err(AccountError::UserDisabled));
        assert_eq!(check("off@pve!ci", 9), Err(AccountError::UserDisabled));
        assert_eq!(check("old@pve", 5), Ok(()));
        assert_eq!(check("old@pve", 6), Err(AccountError::UserExpired));
        assert_eq!(check("on@pve!no", 5), Err(AccountError::TokenMissing));
        assert_eq!(check("on@pve!ci", 5), Ok(()));
        assert_eq!(check("on@pve!ci", 6), Err(AccountError::TokenExpired));
    }
}
