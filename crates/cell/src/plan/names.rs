//! Names of a policy: resolved once, outside, and written into the cell's `/etc/hosts`.
//!
//! A cell has no resolver, so it can neither look up other names nor send anything out by asking.

use std::net::{IpAddr, ToSocketAddrs as _};

use netpolicy::{AddressClass, canonical, class};

use serde::{Deserialize, Serialize};

use super::{PlanError, Planned as _};
use crate::layer::Layer;
use crate::limits::ADDRESSES_OF_NAME;
use crate::policy::{Destination, Policy, Whom};

/// What the names of a policy stand for, as long as the cell lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names(Vec<(String, Vec<IpAddr>)>);

impl Names {
    /// The addresses of a name.
    pub(crate) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.0.iter().find(|(known, _)| known == name).map_or(&[], |(_, addresses)| addresses)
    }

    /// The cell's `/etc/hosts`.
    pub(crate) fn hosts(&self) -> String {
        let mut text = String::from("127.0.0.1 localhost cell\n::1 localhost cell\n");
        for (name, addresses) in self.0.iter().filter(|(name, _)| name != "localhost") {
            for address in addresses {
                text.push_str(&format!("{address} {name}\n"));
            }
        }
        text
    }
}

/// Resolves every name of the policy.
pub(crate) fn pin(policy: &Policy) -> Result<Names, PlanError> {
    let mut names = Names::default();
    for Destination { whom, .. } in &policy.connect {
        let Whom::Name(name) = whom else { continue };
        if !names.addresses(name).is_empty() {
            continue;
        }
        let found = (name.as_str(), 0)
            .to_socket_addrs()
            .planned(Layer::Plan, format_args!("resolve {name}"))?;
        let mut addresses: Vec<IpAddr> = found.map(|one| canonical(one.ip())).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_OF_NAME);
        if let Some(bad) = addresses.iter().find(|address| !may_be_named(name, **address)) {
            let what = format_args!("{name} stands for {bad}, which only an address may name");
            return Err(PlanError::new(Layer::Plan, what));
        }
        names.0.push((name.clone(), addresses));
    }
    Ok(names)
}

/// Whoever answers for a name must not be able to point it at this machine or at nothing.
fn may_be_named(name: &str, address: IpAddr) -> bool {
    use AddressClass::{Private, Public, SharedCgnat, UniqueLocal};
    matches!(class(address), Public | Private | UniqueLocal | SharedCgnat) || name == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pinned_and_shown_in_hosts() {
        let connect = vec!["localhost:80".parse().unwrap(), "192.0.2.1:443".parse().unwrap()];
        let names = pin(&Policy { connect, ..Policy::default() }).unwrap();
        assert!(names.addresses("localhost").iter().all(IpAddr::is_loopback));
        assert_eq!(names.hosts().lines().count(), 2);
        assert!(!may_be_named("evil.example", "127.0.0.1".parse().unwrap()));
        assert!(!may_be_named("evil.example", "169.254.169.254".parse().unwrap()));
    }
}
