//! Which names the file's lines may carry (`verify_*name` of `PVE::AccessControl`).

use identity::{TokenId, UserId};

/// Levels of nested pools.
const POOL_LEVELS: usize = 3;

/// `name@realm`.
pub(super) fn is_user(text: &str) -> bool {
    text.parse::<UserId>().is_ok()
}

/// Splits `name@realm!token`.
pub(super) fn split_token(text: &str) -> Option<(&str, &str)> {
    text.parse::<TokenId>().ok()?;
    text.rsplit_once('!')
}

/// A group or role.
pub(super) fn is_plain(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !text.is_empty() && text.bytes().all(allowed)
}

/// A pool with its parents.
pub(super) fn is_pool(text: &str) -> bool {
    text.split('/').count() <= POOL_LEVELS && text.split('/').all(is_plain)
}

/// A storage as a pool lists it.
pub(super) fn is_storage(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>, ok: fn(&u8) -> bool| b.is_some_and(ok);
    bytes.len() >= 2
        && is_plain(text)
        && edge(bytes.first(), u8::is_ascii_alphabetic)
        && edge(bytes.last(), u8::is_ascii_alphanumeric)
}

/// Digits only, as `\d+`.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storages_begin_and_end_as_pve_wants() {
        for name in ["local", "a1", "nfs-1.b_c"] {
            assert!(is_storage(name), "{name}");
        }
        for name in ["", "a", "1a", "a-", "inval!d"] {
            assert!(!is_storage(name), "{name}");
        }
    }

    #[test]
    fn pools_have_three_levels_at_most() {
        assert!(is_pool("a/b/c"));
        for name in ["a/b/c/d", "a//b", "/a", ""] {
            assert!(!is_pool(name), "{name}");
        }
    }

    #[test]
    fn a_token_is_split_from_its_user() {
        assert_eq!(split_token("joe!x@pve!ci-1"), Some(("joe!x@pve", "ci-1")));
        assert_eq!(split_token("joe@pve"), None);
        assert_eq!(split_token("joe@pve!1"), None);
    }
}
