//! Privileges as a set of bits.

use std::fmt;

use serde::ser::{Serialize, Serializer};

use crate::roles;

/// One privilege, such as `VM.Audit`. Ordered by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Privilege(u8);

/// A set of privileges.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Privileges(u64);

/// What a subject may do at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// The privileges in force.
    pub held: Privileges,
    /// Those of them that are in force below the path too. For display only: evaluation at a
    /// deeper path starts anew from the list.
    pub propagated: Privileges,
}

/// No release has a privilege of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown privilege {0:?}; see the names in `pveum role list`")]
pub struct UnknownPrivilege(pub String);

impl Privilege {
    /// By name, exact case. Privileges of every known release are found.
    pub fn parse(name: &str) -> Option<Self> {
        roles::number(name).map(Self)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        roles::name(self.0)
    }
}

impl Privileges {
    /// No privilege.
    pub const EMPTY: Self = Self(0);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The set of the named privileges.
    pub fn parse<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, UnknownPrivilege> {
        let parse =
            |name| Privilege::parse(name).ok_or_else(|| UnknownPrivilege(str::to_owned(name)));
        names.into_iter().map(parse).collect()
    }

    /// Whether the privilege is in the set.
    pub fn contains(self, privilege: Privilege) -> bool {
        self.0 >> privilege.0 & 1 == 1
    }

    /// Whether all privileges of the other set are in this one.
    pub fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether any privilege of the other set is in this one.
    pub fn contains_any(self, other: Self) -> bool {
        other.0 & self.0 != 0
    }

    /// Privileges of either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Privileges of both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The privileges in the order of their names.
    pub fn iter(self) -> impl Iterator<Item = Privilege> {
        (0..64).map(Privilege).filter(move |privilege| self.contains(*privilege))
    }
}

impl Permissions {
    /// Everything in `privileges`, propagated.
    pub(crate) fn all(privileges: Privileges) -> Self {
        Self { held: privileges, propagated: privileges }
    }

    pub(crate) fn add(&mut self, privileges: Privileges, propagate: bool) {
        self.held = self.held.union(privileges);
        if propagate {
            self.propagated = self.propagated.union(privileges);
        }
    }

    pub(crate) fn intersection(self, other: Self) -> Self {
        Self {
            held: self.held.intersection(other.held),
            propagated: self.propagated.intersection(other.propagated),
        }
    }

    /// The privileges with their propagate flags, in the order of their names.
    pub fn iter(self) -> impl Iterator<Item = (Privilege, bool)> {
        self.held.iter().map(move |privilege| (privilege, self.propagated.contains(privilege)))
    }
}

impl Serialize for Permissions {
    /// As PVE shows them: each privilege with its propagate flag, 0 or 1.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(self.iter().map(|(privilege, flag)| (privilege.name(), u8::from(flag))))
    }
}

impl FromIterator<Privilege> for Privileges {
    fn from_iter<I: IntoIterator<Item = Privilege>>(privileges: I) -> Self {
        Self(privileges.into_iter().fold(0, |bits, privilege| bits | 1 << privilege.0))
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Privileges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sets_agree() {
        let set = Privileges::parse(["VM.Audit", "Sys.Audit"]).unwrap();
        let names: Vec<_> = set.iter().map(Privilege::name).collect();
        assert_eq!(names, ["Sys.Audit", "VM.Audit"]);
        assert!(set.contains_all(Privileges::EMPTY) && !set.contains_any(Privileges::EMPTY));
        let unknown = Privileges::parse(["VM.Audit", "vm.audit"]).unwrap_err();
        assert_eq!(unknown, UnknownPrivilege("vm.audit".to_owned()));
    }

    #[test]
    fn a_privsep_token_loses_propagation_its_user_lacks() {
        let audit = Privileges::parse(["VM.Audit"]).unwrap();
        let token = Permissions::all(audit);
        let user = Permissions { held: audit, propagated: Privileges::EMPTY };
        assert_eq!(token.intersection(user), user);
    }
}
