//! Addresses and rules: what was read can be written and reads the same, and a policy opens no
//! address that its rules do not.
#![no_main]

use std::fmt::{Debug, Display};
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use netpolicy::{
    Action, AddressClass, AddressSet, Cidr, Host, HostPort, Policy, PortSet, Rule, Target,
    canonical, class,
};

const PORT: u16 = 443;

fuzz_target!(|text: &str| {
    reads_back::<Cidr>(text);
    reads_back::<Host>(text);
    reads_back::<HostPort>(text);
    reads_back::<PortSet>(text);
    reads_back::<Rule>(text);
    reads_back::<AddressSet>(text);
    if let Ok(set) = AddressSet::strict(text) {
        assert_eq!(text.parse(), Ok(set.clone()), "the dialects differ");
        assert_eq!(AddressSet::strict(&set.to_string()), Ok(set.clone()));
        check_ranges(&set);
    }
    check_policy(text);
});

fn reads_back<T: FromStr<Err: Debug + PartialEq> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert_eq!(written.parse(), Ok(value), "{written:?}");
    }
}

fn check_ranges(set: &AddressSet) {
    let mut last = None;
    for range in set.ranges() {
        assert!(range.0 <= range.1 && last < Some(range.0), "not sorted: {set}");
        last = Some(range.1);
    }
}

/// Lines that are rules make the policy, those that are addresses are what the name resolved to.
fn check_policy(text: &str) {
    let rules: Vec<Rule> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let resolved: Vec<IpAddr> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let Ok(policy) = Policy::new(rules) else {
        return;
    };
    let host = text.lines().next().unwrap_or_default();
    let Ok(allowed) = policy.check(host, &resolved, PORT) else {
        return;
    };
    let literal = match host.parse() {
        Ok(Host::Address(address)) => Some(address),
        _ => None,
    };
    assert!(!allowed.is_empty());
    for to in allowed {
        let address = to.ip();
        let asked = literal.map_or_else(
            || resolved.iter().any(|one| canonical(*one) == address),
            |literal| literal == address,
        );
        assert!(asked && to.port() == PORT, "{to} was not asked for");
        let sets = |action| {
            let rules = policy.rules().iter();
            let rules = rules.filter(move |rule| rule.action == action);
            rules.filter(|rule| rule.ports.contains(PORT)).filter_map(|rule| match &rule.target {
                Target::Addresses(set) => Some(set),
                Target::Host(_) | Target::Suffix(_) => None,
            })
        };
        assert!(!sets(Action::Deny).any(|set| set.contains(address)), "{to} is denied");
        if class(address) != AddressClass::Public {
            let ends = [Some(address), inner(address, 0), inner(address, 80)];
            let named = |end: &IpAddr| sets(Action::Allow).any(|set| set.names(*end));
            assert!(ends.iter().flatten().any(named), "{to} is {:?} and not named", class(address));
        }
    }
}

/// The IPv4 address that an IPv6 one carries so many bits from its end: 0 in NAT64, 80 in 6to4.
fn inner(address: IpAddr, shift: u32) -> Option<IpAddr> {
    let IpAddr::V6(outer) = address else {
        return None;
    };
    let bits = u32::try_from(outer.to_bits() >> shift & u128::from(u32::MAX)).ok()?;
    Some(Ipv4Addr::from(bits).into())
}
