//! Rules for outgoing connections.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::{
    host::Host,
    ports::{PortError, PortSet},
    quote::quoted,
    set::{AddressSet, SetError},
};

/// One rule, `allow TARGET` or `deny TARGET`, with ` port PORTS` behind to limit it to these:
/// `allow .proxmox.com port 443`, `deny 169.254.0.0/16`, `allow 10.0.0.5 port 22,8000-8010`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it says.
    pub action: Action,
    /// About whom.
    pub target: Target,
    /// On which ports.
    pub ports: PortSet,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reachable, unless a rule denies it.
    Allow,
    /// Not reachable, whatever other rules allow.
    Deny,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host by exactly this name, in lower case.
    Host(String),
    /// Every host below this name, in lower case with the dot in front. `.example.com` is
    /// `a.example.com` and `a.b.example.com`, not `example.com`.
    Suffix(String),
    /// Addresses, however a host at them is called.
    Addresses(AddressSet),
}

/// Why text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Neither allow nor deny.
    #[error("{0} is not a rule: write 'allow TARGET' or 'deny TARGET', and 'port PORTS' behind")]
    Action(String),
    /// After the dot of a suffix there is no name.
    #[error("{0} is not a suffix: write a dot and a name, such as .example.com")]
    Suffix(String),
    /// Neither a name nor addresses.
    #[error("{0} is neither a host name nor a list of addresses: {1}")]
    Target(String, SetError),
    /// The ports.
    #[error(transparent)]
    Ports(#[from] PortError),
}

impl Rule {
    /// Whether the rule is about hosts called `name`, on `port`.
    pub(crate) fn is_about_name(&self, name: &str, port: u16) -> bool {
        self.ports.contains(port)
            && match &self.target {
                Target::Host(host) => host == name,
                Target::Suffix(suffix) => name.ends_with(suffix.as_str()),
                Target::Addresses(_) => false,
            }
    }

    /// Its addresses, if it is about addresses, on `port`.
    pub(crate) fn addresses(&self, port: u16) -> Option<&AddressSet> {
        match &self.target {
            Target::Addresses(set) if self.ports.contains(port) => Some(set),
            _ => None,
        }
    }
}

impl Target {
    /// One address alone.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Addresses([crate::Cidr::around(address, u8::MAX)].into_iter().collect())
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let unknown = || RuleError::Action(quoted(text));
        let (action, rest) = text.trim().split_once(' ').ok_or_else(unknown)?;
        let action = match action {
            "allow" => Action::Allow,
            "deny" => Action::Deny,
            _ => return Err(unknown()),
        };
        let (target, ports) = match rest.split_once(" port ") {
            Some((target, ports)) => (target, ports.parse()?),
            None => (rest, PortSet::any()),
        };
        Ok(Self { action, target: target.trim().parse()?, ports })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Allow => "allow",
            Action::Deny => "deny",
        };
        write!(f, "{action} {}", self.target)?;
        if self.ports.is_any() {
            return Ok(());
        }
        write!(f, " port {}", self.ports)
    }
}

impl FromStr for Target {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if let Some(name) = text.strip_prefix('.') {
            let Ok(Host::Name(name)) = name.parse() else {
                return Err(RuleError::Suffix(quoted(text)));
            };
            return Ok(Self::Suffix(format!(".{name}")));
        }
        // "all" is a well-formed host name, but nobody means a host by it
        match text.parse() {
            Ok(Host::Name(name)) if name != "all" => Ok(Self::Host(name)),
            _ => match AddressSet::strict(text) {
                Ok(set) if set.is_empty() => Err(RuleError::Action(quoted(text))),
                Ok(set) => Ok(Self::Addresses(set)),
                Err(error) => Err(RuleError::Target(quoted(text), error)),
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) | Self::Suffix(name) => f.write_str(name),
            Self::Addresses(set) => set.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn read_and_written() {
        for (text, written) in [
            ("allow PVE.lan", "allow pve.lan"),
            ("deny .Example.com. port 443", "deny .example.com port 443"),
            (
                "  allow  10.0.0.0/8, 10.9.0.1-10.9.0.7 port 22,80-90 ",
                "allow 10.0.0.0/8,10.9.0.1-10.9.0.7 port 22,80-90",
            ),
            ("deny all port any", "deny all"),
            ("allow [::1]", ""),
            ("allow ::1 port 1", "allow ::1 port 1"),
        ] {
            let rule = text.parse::<Rule>();
            assert_eq!(rule.map(|rule| rule.to_string()).unwrap_or_default(), written, "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "allow",
            "allow ",
            "permit x",
            "allow .",
            "allow .1",
            "allow *.x",
            "allow 127.1",
            "allow 10/8",
            "deny 2130706433",
            "allow 10.0.0.1/8",
            "allow x port",
            "allow x port 0",
            "allow x port http",
            "allow u@x",
            "Allow x",
            "allow x,y",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
        assert_eq!(
            "deny 127.1".parse::<Rule>().unwrap_err().to_string(),
            "'127.1' is neither a host name nor a list of addresses: \
             entry 1: '127.1' is not an IP address: write 192.0.2.1 or 2001:db8::1"
        );
    }

    #[test]
    fn suffix_is_below() {
        let rule: Rule = "allow .example.com port 443".parse().unwrap();
        assert!(
            rule.is_about_name("a.example.com", 443) && rule.is_about_name("a.b.example.com", 443)
        );
        for name in ["example.com", "badexample.com", "a.example.com.evil", "com"] {
            assert!(!rule.is_about_name(name, 443), "{name}");
        }
        assert!(!rule.is_about_name("a.example.com", 444));
    }

    proptest! {
        #[test]
        fn round_trip(text in r"(allow|deny) (\.?[a-z0-9.-]{1,9}|[0-9.]{7,9}(/[0-9]{1,2})?|[0-9a-f:]{2,9})( port [0-9]{1,4}(-[0-9]{1,4})?)?") {
            let Ok(rule) = text.parse::<Rule>() else { return Ok(()) };
            prop_assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule);
        }

        #[test]
        fn never_panics(text in "(allow|deny) .*|.*") {
            let _ = text.parse::<Rule>();
        }
    }
}
