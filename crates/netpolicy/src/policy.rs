//! The decision about an outgoing connection.

use std::net::{IpAddr, SocketAddr};

use crate::{
    bounds::{MAX_RESOLVED, MAX_RULES},
    class::{AddressClass, canonical, embedded, outer_class},
    host::Host,
    refused::Refused,
    rule::{Action, Rule},
};

/// Rules for outgoing connections. What no rule allows is refused; a policy without rules refuses
/// everything. The order of rules does not matter:
///
/// 1. A deny rule about the name, or about the address, ends it. About the address means also the
///    IPv4 address it carries (6to4, NAT64), so that `deny 10.0.0.0/8` can not be walked around.
/// 2. An allow rule has to be about the name or hold the address.
/// 3. An address that is not [public](AddressClass::Public) has to be
///    [named](crate::AddressSet::names) by an allow rule besides: neither `allow all` nor a name
///    that resolves to 127.0.0.1 opens the own host. The IPv4 address carried inside, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy(Vec<Rule>);

/// More than [`MAX_RULES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} rules, {MAX_RULES} at most: merge addresses into sets")]
pub struct TooManyRules(usize);

impl Policy {
    /// The policy of these rules.
    ///
    /// # Errors
    /// [`TooManyRules`].
    pub fn new(rules: Vec<Rule>) -> Result<Self, TooManyRules> {
        if rules.len() > MAX_RULES {
            return Err(TooManyRules(rules.len()));
        }
        Ok(Self(rules))
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Where a connection to `host` and `port` may go: connect to one of these and to nothing
    /// else, without asking the resolver again.
    ///
    /// `host` is as a URL has it, IPv6 in brackets or not. `resolved` are the addresses of a name
    /// (at most [`MAX_RESOLVED`] are looked at); for an address they are ignored, the address
    /// itself is judged. The answer keeps their order, without doubles, in [`canonical`] form,
    /// and holds only those allowed.
    ///
    /// # Errors
    /// [`Refused`] when none is allowed: for the name, or for the first address.
    pub fn check(
        &self,
        host: &str,
        resolved: &[IpAddr],
        port: u16,
    ) -> Result<Vec<SocketAddr>, Refused> {
        let host: Host = host.parse().map_err(Refused::Host)?;
        if port == 0 {
            return Err(Refused::Port);
        }
        let literal;
        let (name, addresses) = match &host {
            Host::Name(name) => (Some(name.as_str()), resolved),
            Host::Address(address) => {
                literal = [*address];
                (None, literal.as_slice())
            }
        };
        let asked = Asked { policy: self, host: &host.to_string(), name, port };
        asked.judge_name()?;
        let mut allowed = Vec::new();
        let mut refused = None;
        for address in addresses.iter().take(MAX_RESOLVED) {
            match asked.judge(canonical(*address)) {
                Ok(to) if allowed.contains(&to) => {}
                Ok(to) => allowed.push(to),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        if !allowed.is_empty() {
            return Ok(allowed);
        }
        Err(refused.unwrap_or_else(|| Refused::Unresolved { host: host.to_string() }))
    }
}

struct Asked<'a> {
    policy: &'a Policy,
    host: &'a str,
    name: Option<&'a str>,
    port: u16,
}

impl Asked<'_> {
    fn judge_name(&self) -> Result<(), Refused> {
        let denied = self.rules(Action::Deny).find(|rule| self.is_about_name(rule));
        denied.map_or(Ok(()), |rule| Err(self.denied(rule)))
    }

    fn judge(&self, address: IpAddr) -> Result<SocketAddr, Refused> {
        let inner = embedded(address).map(IpAddr::V4);
        let denied = self.rules(Action::Deny).find(|rule| {
            rule.addresses(self.port).is_some_and(|set| {
                set.contains(address) || inner.is_some_and(|inner| set.contains(inner))
            })
        });
        if let Some(rule) = denied {
            return Err(self.denied(rule));
        }
        for part in inner.into_iter().chain([address]) {
            if outer_class(part) != AddressClass::Public && !self.is_named(part) {
                return Err(self.not_named(address, part));
            }
        }
        if !self.is_allowed(address) {
            return Err(self.unlisted());
        }
        Ok(SocketAddr::new(address, self.port))
    }

    fn is_allowed(&self, address: IpAddr) -> bool {
        self.rules(Action::Allow).any(|rule| {
            self.is_about_name(rule)
                || rule.addresses(self.port).is_some_and(|set| set.contains(address))
        })
    }

    fn is_named(&self, address: IpAddr) -> bool {
        self.rules(Action::Allow)
            .any(|rule| rule.addresses(self.port).is_some_and(|set| set.names(address)))
    }

    fn is_about_name(&self, rule: &Rule) -> bool {
        self.name.is_some_and(|name| rule.is_about_name(name, self.port))
    }

    fn rules(&self, action: Action) -> impl Iterator<Item = &Rule> {
        self.policy.0.iter().filter(move |rule| rule.action == action)
    }

    fn denied(&self, rule: &Rule) -> Refused {
        let (host, rule) = (self.host.to_owned(), rule.to_string());
        Refused::Denied { host, port: self.port, rule }
    }

    fn not_named(&self, address: IpAddr, inner: IpAddr) -> Refused {
        let (host, class) = (self.host.to_owned(), outer_class(inner));
        Refused::Special { host, address, inner, port: self.port, class }
    }

    fn unlisted(&self) -> Refused {
        Refused::Unlisted { host: self.host.to_owned(), port: self.port }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Cidr, Target, cidr::tests::address, class};

    fn policy(rules: &[&str]) -> Policy {
        Policy::new(rules.iter().map(|rule| rule.parse().unwrap()).collect()).unwrap()
    }

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn check(
        rules: &[&str],
        host: &str,
        resolved: &[&str],
        port: u16,
    ) -> Result<Vec<String>, String> {
        match policy(rules).check(host, &ips(resolved), port) {
            Ok(to) => Ok(to.iter().map(ToString::to_string).collect()),
            Err(refused) => Err(refused.to_string()),
        }
    }

    #[test]
    fn default_is_deny_and_the_limit_holds() {
        assert_eq!(
            check(&[], "pve.example", &["8.8.8.8"], 443).unwrap_err(),
            "no rule allows pve.example port 443: add rule 'allow pve.example port 443' if it should be reachable"
        );
        let many = vec!["allow all".parse::<Rule>().unwrap(); MAX_RULES + 1];
        assert_eq!(Policy::new(many), Err(TooManyRules(MAX_RULES + 1)));
    }

    #[test]
    fn only_allowed_addresses_are_returned_in_order_without_doubles() {
        let rules = ["allow .example", "deny 9.9.9.0/24"];
        let resolved = ["10.0.0.1", "8.8.8.8", "9.9.9.9", "::ffff:8.8.8.8", "2606:4700::1", "::1"];
        assert_eq!(
            check(&rules, "a.example", &resolved, 443).unwrap(),
            ["8.8.8.8:443", "[2606:4700::1]:443"]
        );
    }

    #[test]
    fn deny_wins_wherever_it_stands() {
        for rules in [["allow all", "deny .evil.example"], ["deny .evil.example", "allow all"]] {
            assert_eq!(
                check(&rules, "x.EVIL.example.", &["8.8.8.8"], 443).unwrap_err(),
                "x.evil.example port 443 is denied by rule 'deny .evil.example': narrow that rule if it should be reachable"
            );
        }
        // the IPv4 address inside a transition address counts
        let rules = ["allow all", "deny 8.8.8.0/24"];
        for outer in ["64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"] {
            assert!(
                check(&rules, "x.example", &[outer], 443)
                    .unwrap_err()
                    .contains("is denied by rule")
            );
        }
        assert!(check(&["allow all", "deny all port 25"], "8.8.8.8", &[], 25).is_err());
        assert!(check(&["allow all", "deny all port 25"], "8.8.8.8", &[], 26).is_ok());
    }

    #[test]
    fn special_addresses_have_to_be_named() {
        assert_eq!(
            check(&["allow db.lan"], "db.lan", &["10.0.0.5"], 5432).unwrap_err(),
            "db.lan is at 10.0.0.5, which is a private address (RFC 1918): \
             add rule 'allow 10.0.0.5 port 5432' if it should be reachable"
        );
        assert_eq!(
            check(&["allow all"], "[64:ff9b::7f00:1]", &[], 80).unwrap_err(),
            "64:ff9b::7f00:1 leads to 127.0.0.1, which is a loopback address (RFC 1122 §3.2.1.3): \
             add rule 'allow 127.0.0.1 port 80' if it should be reachable"
        );
        let named = ["allow db.lan", "allow 10.0.0.5 port 5432"];
        assert_eq!(check(&named, "db.lan", &["10.0.0.5"], 5432).unwrap(), ["10.0.0.5:5432"]);
        assert_eq!(check(&named, "10.0.0.5", &[], 5432).unwrap(), ["10.0.0.5:5432"]);
        assert!(check(&named, "db.lan", &["10.0.0.5"], 22).is_err(), "named for one port");
        assert!(check(&named, "db.lan", &["10.0.0.6"], 5432).is_err());
        // NAT64 is opened for the internet, not for what is behind it
        let nat64 = ["allow 64:ff9b::/96"];
        assert!(check(&nat64, "x.example", &["64:ff9b::808:808"], 443).is_ok());
        assert!(check(&nat64, "x.example", &["64:ff9b::a00:5"], 443).is_err());
        let both = ["allow 64:ff9b::/96", "allow 10.0.0.0/8"];
        assert!(check(&both, "x.example", &["64:ff9b::a00:5"], 443).is_ok());
    }

    #[test]
    fn an_address_is_judged_as_it_stands() {
        // whatever the resolver is said to have answered
        assert!(check(&["allow all"], "127.0.0.1", &["8.8.8.8"], 80).is_err());
        assert_eq!(check(&["allow all"], "8.8.8.8", &["127.0.0.1"], 80).unwrap(), ["8.8.8.8:80"]);
    }

    #[test]
    fn nothing_to_judge() {
        assert_eq!(
            check(&["allow all"], "gone.example", &[], 443).unwrap_err(),
            "gone.example has no address: check the name and the resolver"
        );
        assert!(
            check(&["allow all"], "x.example", &["8.8.8.8"], 0).unwrap_err().starts_with("port 0")
        );
        let beyond = [vec!["10.0.0.1"; MAX_RESOLVED], vec!["8.8.8.8"]].concat();
        assert!(check(&["allow all"], "x.example", &beyond, 443).is_err());
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let network = (near_address(), prop_oneof![Just(0u8), 4..=32u8, Just(128)])
            .prop_map(|(address, prefix)| Cidr::around(address, prefix));
        let target = prop_oneof![
            3 => proptest::collection::vec(network, 1..4).prop_map(|set| Target::Addresses(set.into_iter().collect())),
            1 => Just(Target::Host("a.example".to_owned())),
            1 => Just(Target::Suffix(".example".to_owned())),
        ];
        let ports = prop_oneof![Just("any"), Just("443"), Just("1-400")];
        let rule = (target, ports, 0..4u8).prop_map(|(target, ports, kind)| Rule {
            action: if kind == 0 { Action::Deny } else { Action::Allow },
            target,
            ports: ports.parse().unwrap(),
        });
        proptest::collection::vec(rule, 0..6)
    }

    /// Few enough that rules and addresses meet.
    fn near_address() -> impl Strategy<Value = IpAddr> {
        let known = ips(&[
            "10.0.0.5",
            "8.8.8.8",
            "127.0.0.1",
            "64:ff9b::808:808",
            "64:ff9b::a00:5",
            "2002:a00:5::1",
            "::1",
            "2606::1",
            "64:ff9b:1::808:808",
        ]);
        prop_oneof![5 => proptest::sample::select(known), 1 => address()]
    }

    proptest! {
        /// Each address is returned if and only if the three rules of [`Policy`] say so.
        #[test]
        fn same_as_the_rules_read_out(rules in rules(), resolved in proptest::collection::vec(near_address(), 0..5), port in prop_oneof![Just(443u16), Just(80)]) {
            let policy = Policy::new(rules.clone()).unwrap();
            let got = policy.check("a.example", &resolved, port).unwrap_or_default();
            let live: Vec<&Rule> = rules.iter().filter(|rule| rule.ports.contains(port)).collect();
            for address in &resolved {
                let address = canonical(*address);
                let parts: Vec<IpAddr> = embedded(address).map(IpAddr::V4).into_iter().chain([address]).collect();
                let about = |rule: &Rule, of: &[IpAddr]| match &rule.target {
                    Target::Addresses(set) => of.iter().any(|part| set.contains(*part)),
                    _ => true,
                };
                let denied = live.iter().any(|rule| rule.action == Action::Deny && about(rule, &parts));
                let allows: Vec<&&Rule> = live.iter().filter(|rule| rule.action == Action::Allow).collect();
                let held = allows.iter().any(|rule| about(rule, &[address]));
                let named = parts.iter().all(|part| {
                    outer_class(*part) == AddressClass::Public
                        || allows.iter().any(|rule| matches!(&rule.target, Target::Addresses(set) if set.names(*part)))
                });
                let to = SocketAddr::new(address, port);
                prop_assert_eq!(got.contains(&to), !denied && held && named, "{}", address);
                // and the point of it all
                if class(address) != AddressClass::Public && got.contains(&to) {
                    prop_assert!(allows.iter().any(|rule| matches!(&rule.target, Target::Addresses(_))));
                }
            }
            prop_assert!(got.len() <= resolved.len());
        }

        #[test]
        fn never_panics(host in ".*", port in any::<u16>()) {
            let _ = policy(&["allow all"]).check(&host, &[], port);
        }
    }
}
