//! Users and their rights, with the secrets that `user.cfg` does not hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest;
use pve_access::token::ApiToken;
use pve_access::user_cfg::{Token, UserConfig};
use pve_access::{Access, Capabilities, Permissions, Privileges, Release, Rights, Subject, roles};
use secrets::SecretString;

use super::kept_secret::KeptText;
use super::password::Password;
use super::tracked::Tracked;
use crate::error::StartError;
use crate::failure::Failure;

#[derive(Debug, Clone)]
pub(crate) struct Accounts {
    access: Access,
    pub(super) passwords: Tracked<String, Password>,
    /// Secrets by full token id.
    pub(super) tokens: Tracked<String, KeptText>,
    /// The configuration when changes were last taken; `None` while nobody keeps them.
    kept: Option<Box<UserConfig>>,
    /// Whether the configuration was changed since.
    touched: bool,
}

impl Accounts {
    pub(crate) fn new(
        user_cfg: &str,
        release: Release,
        passwords: Vec<(String, SecretString)>,
        tokens: Vec<(String, SecretString)>,
    ) -> Result<Self, StartError> {
        let parsed = Access::parse(release, user_cfg);
        let (access, warnings) = parsed.map_err(|error| StartError::UserCfg(error.to_string()))?;
        if let Some(warning) = warnings.first() {
            return Err(StartError::UserCfg(warning.to_string()));
        }
        Ok(Self {
            access,
            passwords: passwords
                .into_iter()
                .map(|(id, text)| (id, Password::Clear(text)))
                .collect(),
            tokens: tokens.into_iter().map(|(id, secret)| (id, KeptText(secret))).collect(),
            kept: None,
            touched: false,
        })
    }

    /// Accounts that were kept.
    pub(super) fn restored(
        release: Release,
        config: UserConfig,
        passwords: Tracked<String, Password>,
        tokens: Tracked<String, KeptText>,
    ) -> Self {
        let access = Access::new(release, config);
        Self { access, passwords, tokens, kept: None, touched: false }
    }

    /// Notes changes from now on.
    pub(super) fn track(&mut self) {
        self.kept = Some(Box::new(self.config().clone()));
        self.touched = false;
        self.passwords.track();
        self.tokens.track();
    }

    /// The configuration as it was at the last time, when it has been changed since.
    pub(super) fn take_touched(&mut self) -> Option<Box<UserConfig>> {
        if !std::mem::take(&mut self.touched) {
            return None;
        }
        let now = self.access.config().clone();
        self.kept.replace(Box::new(now))
    }

    pub(crate) fn release(&self) -> Release {
        self.access.release()
    }

    /// Changes the configuration in place.
    fn edit(&mut self, change: impl FnOnce(&mut UserConfig)) {
        self.touched = self.kept.is_some();
        self.access.edit(change);
    }

    pub(crate) fn config(&self) -> &UserConfig {
        self.access.config()
    }

    /// Changes the configuration; a failing change leaves it as it was.
    pub(crate) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut UserConfig) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut config = self.access.config().clone();
        let value = change(&mut config)?;
        self.edit(|current| *current = config);
        Ok(value)
    }

    /// Puts an earlier configuration back.
    pub(crate) fn restore(&mut self, config: UserConfig) {
        self.edit(|current| *current = config);
    }

    /// Whether a user or token exists, is enabled and has not expired.
    pub(crate) fn is_active(&self, subject: &Subject, now: u64) -> bool {
        self.access.check_account(subject, now).is_ok()
    }

    pub(crate) fn exists(&self, user: &str) -> bool {
        self.config().users.contains_key(user)
    }

    pub(crate) fn groups_of(&self, user: &str) -> Vec<String> {
        self.config().groups_of(user).map(str::to_owned).collect()
    }

    pub(crate) fn privileges(&self, subject: &Subject, path: &str) -> Privileges {
        self.permissions(subject, path).held
    }

    /// For questions about many paths.
    pub(crate) fn rights<'a>(&'a self, subject: &'a Subject) -> Rights<'a> {
        self.access.rights(subject)
    }

    pub(crate) fn permissions(&self, subject: &Subject, path: &str) -> Permissions {
        self.access.permissions(subject, path)
    }

    pub(crate) fn effective(&self, subject: &Subject) -> BTreeMap<String, Permissions> {
        self.access.effective(subject)
    }

    pub(crate) fn capabilities(&self, subject: &Subject) -> Capabilities {
        self.access.capabilities(subject)
    }

    /// Name, privileges, and whether the role is predefined.
    pub(crate) fn roles(&self) -> Vec<(&str, Privileges, bool)> {
        let roles = self.access.all_roles().into_iter();
        roles.map(|(name, held)| (name, held, roles::is_predefined(name))).collect()
    }

    pub(crate) fn password_matches(&self, user: &str, given: &str) -> bool {
        self.passwords.get(user).is_some_and(|known| known.matches(given))
    }

    pub(crate) fn has_password(&self, user: &str) -> bool {
        self.passwords.contains_key(user)
    }

    pub(crate) fn set_password(&mut self, user: &str, password: String) {
        self.passwords.insert(user.to_owned(), Password::Clear(SecretString::new(password)));
    }

    /// The secret of a token, for the program that made it.
    pub(crate) fn token_secret(&self, id: &str) -> Option<&SecretString> {
        let (user, name) = id.split_once('!')?;
        let exists = self.config().users.get(user)?.tokens.contains_key(name);
        self.tokens.get(id).filter(|_| exists).map(|kept| &kept.0)
    }

    pub(crate) fn token_matches(&self, presented: &ApiToken) -> bool {
        let known = self.tokens.get(&presented.id().to_string());
        known.is_some_and(|known| presented.matches(&known.0))
    }

    /// Writes a token's settings and, when it is new, its secret.
    pub(crate) fn set_token(
        &mut self,
        user: &str,
        name: &str,
        token: Token,
        secret: Option<String>,
    ) {
        self.edit(|config| {
            if let Some(user) = config.users.get_mut(user) {
                user.tokens.insert(name.to_owned(), token);
            }
        });
        if let Some(secret) = secret {
            self.tokens.insert(format!("{user}!{name}"), KeptText(SecretString::new(secret)));
        }
    }

    pub(crate) fn delete_token(&mut self, user: &str, name: &str) {
        let id = format!("{user}!{name}");
        self.tokens.remove(&id);
        self.edit(|config| {
            if let Some(user) = config.users.get_mut(user) {
                user.tokens.remove(name);
            }
            config.acl.values_mut().for_each(|acl| {
                acl.tokens.remove(&id);
            });
        });
    }

    /// Removes a destroyed guest from pools and access rules (`remove_vm_access`).
    pub(crate) fn forget_guest(&mut self, vmid: u32) {
        let path = format!("/vms/{vmid}");
        self.edit(|config| {
            config.acl.retain(|at, _| at.as_str() != path);
            for pool in config.pools.values_mut() {
                pool.vms.remove(&u64::from(vmid));
            }
        });
    }

    /// Removes a user with everything that names it.
    pub(crate) fn delete_user(&mut self, user: &str) {
        self.passwords.remove(user);
        let is_theirs = |id: &str| id.strip_prefix(user).is_some_and(|rest| rest.starts_with('!'));
        self.tokens.retain(|id, _| !is_theirs(id));
        self.edit(|config| {
            config.users.remove(user);
            config.groups.values_mut().for_each(|group| {
                group.users.remove(user);
            });
            config.acl.values_mut().for_each(|acl| {
                acl.users.remove(user);
                acl.tokens.retain(|id, _| !is_theirs(id));
            });
        });
    }
}

/// SHA-1 in hex: what PVE calls a digest. It finds changed files; it protects nothing.
pub(crate) fn sha1_hex(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().iter().fold(String::with_capacity(40), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A random UUID for what is no secret. Without randomness it is empty.
pub(crate) fn random_uuid() -> String {
    secrets::random::uuid().map(|uuid| uuid.expose().clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_genuine_ones() {
        // The digest of an empty file, as genuine servers show it.
        assert_eq!(sha1_hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }

    #[test]
    fn a_deleted_user_leaves_nothing() {
        let text = "user:a@pve:1:0:::::\ntoken:a@pve!ci:0:1::\nuser:ab@pve:1:0:::::\n\
                    group:g:a@pve:\nacl:1:/:a@pve,a@pve!ci:PVEAuditor:\n";
        let token = vec![("a@pve!ci".to_owned(), SecretString::from("s"))];
        let mut accounts = Accounts::new(text, Release::V9, Vec::new(), token).unwrap();
        accounts.delete_user("a@pve");
        assert!(!accounts.exists("a@pve") && accounts.exists("ab@pve"));
        assert!(accounts.groups_of("a@pve").is_empty());
        assert!(accounts.tokens.is_empty());
        let acl = accounts.config().acl.values().next();
        assert!(acl.is_none_or(|acl| acl.users.is_empty() && acl.tokens.is_empty()));
    }

    #[test]
    fn a_failed_change_changes_nothing() {
        let mut accounts = Accounts::new("", Release::V9, Vec::new(), Vec::new()).unwrap();
        let failed: Result<(), Failure> = accounts.change(|config| {
            config.users.clear();
            Err(Failure::die("no"))
        });
        assert!(failed.is_err() && accounts.exists("root@pam"));
    }
}
