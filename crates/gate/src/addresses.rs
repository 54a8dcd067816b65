//! Which addresses may use the gate at all: `ALLOW_FROM`, `DENY_FROM` and `POLICY` of stock,
//! judged by the client's true address.
//!
//! Judged before a connection gets a place, where its address is known there, and again for each
//! request: a request that came through a named proxy has its own address, and a reload applies
//! to connections that are open.

use std::net::IpAddr;

use netpolicy::AddressSet;
use serde::Deserialize;

/// What becomes of an address that is in both lists, or in none.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AddressPolicy {
    /// It is admitted: stock's default.
    #[default]
    Allow,
    /// It is not.
    Deny,
}

/// The lists in force. The default admits everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Admitted, unless they are in the other list too.
    pub allow: AddressSet,
    /// Not admitted, likewise.
    pub deny: AddressSet,
    /// For all others.
    pub policy: AddressPolicy,
}

impl AddressRules {
    /// Whether the address may use the gate (`PVE::APIServer::AnyEvent::check_host_access`).
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        match (self.allow.contains(client), self.deny.contains(client)) {
            (true, false) => true,
            (false, true) => false,
            _ => self.policy == AddressPolicy::Allow,
        }
    }

    /// Whether nobody is ever refused, so that nothing has to be looked at.
    #[must_use]
    pub fn admits_all(&self) -> bool {
        self.deny.is_empty() && self.policy == AddressPolicy::Allow
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressPolicy, AddressRules};

    fn rules(allow: &str, deny: &str, policy: AddressPolicy) -> AddressRules {
        AddressRules { allow: allow.parse().unwrap(), deny: deny.parse().unwrap(), policy }
    }

    #[test]
    fn the_table_of_the_manual() {
        use AddressPolicy::{Allow, Deny};
        for (client, policy, admitted) in [
            ("10.1.0.1", Allow, true),
            ("10.1.0.1", Deny, true),
            ("10.2.0.1", Allow, false),
            ("10.2.0.1", Deny, false),
            ("10.3.0.1", Allow, true),
            ("10.3.0.1", Deny, false),
            ("192.0.2.1", Allow, true),
            ("192.0.2.1", Deny, false),
            ("::ffff:10.2.0.1", Allow, false),
            ("::ffff:10.1.0.1", Deny, true),
            ("2001:db8::1", Deny, false),
        ] {
            let rules = rules("10.1.0.0/16,10.3.0.0/16", "10.2.0.0/15", policy);
            assert_eq!(rules.admits(client.parse().unwrap()), admitted, "{client} {policy:?}");
        }
    }

    #[test]
    fn nothing_is_looked_at_when_nobody_is_refused() {
        assert!(AddressRules::default().admits_all());
        assert!(rules("10.0.0.0/8", "", AddressPolicy::Allow).admits_all());
        assert!(!rules("", "10.0.0.0/8", AddressPolicy::Allow).admits_all());
        assert!(!rules("all", "", AddressPolicy::Deny).admits_all());
    }
}
