//! The three calls of Landlock (Documentation/userspace-api/landlock.rst).

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use super::check;

/// `struct landlock_ruleset_attr` as of ABI 6; older kernels take a shorter one.
#[repr(C)]
pub(crate) struct RulesetAttr {
    pub(crate) handled_access_fs: u64,
    pub(crate) handled_access_net: u64,
    pub(crate) scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

/// The ABI of the running kernel, 0 when Landlock is not there or not enabled.
pub(crate) fn abi() -> u32 {
    // SAFETY: asks for the version; no structure is passed.
    let version = check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    });
    version.ok().and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}

/// A ruleset; `size` is that of the structure in the running ABI.
///
/// # Errors
///
/// `EOPNOTSUPP` when Landlock is disabled, `EINVAL` when a handled right is unknown.
pub(crate) fn create(attr: &RulesetAttr, size: usize) -> Result<OwnedFd, Errno> {
    let size = size.min(size_of::<RulesetAttr>());
    // SAFETY: the structure is valid for the size given.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::from_ref(attr), size, 0_u32)
    })?;
    // SAFETY: the call has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Allows `access` on what `path` holds, beneath it when it is a directory.
///
/// # Errors
///
/// `EINVAL` when the rights do not fit the kind of file.
pub(crate) fn allow_beneath(
    ruleset: &OwnedFd,
    path: BorrowedFd<'_>,
    access: u64,
) -> Result<(), Errno> {
    let attr = PathBeneathAttr { allowed_access: access, parent_fd: path.as_raw_fd() };
    // SAFETY: the structure is valid and of the type that the rule type names.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_fd().as_raw_fd(),
            RULE_PATH_BENEATH,
            std::ptr::from_ref(&attr),
            0_u32,
        )
    })?;
    Ok(())
}

/// Puts the calling thread, and what it will start, under the ruleset for ever.
///
/// # Errors
///
/// `EPERM` when no-new-privileges is not set, `E2BIG` after sixteen rulesets.
pub(crate) fn restrict_self(ruleset: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: takes a descriptor and no pointer.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_fd().as_raw_fd(), 0_u32)
    })?;
    Ok(())
}
