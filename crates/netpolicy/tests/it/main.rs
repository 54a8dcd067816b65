//! What an outgoing request may be talked into, judged through the public interface only.
//!
//! The rows are those of a widely copied request guard, with what it let pass; here every one of
//! them is refused.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;

use netpolicy::{Policy, Refused, Rule};

fn policy(rules: &[&str]) -> Policy {
    let rules = rules.iter().map(|rule| rule.parse::<Rule>().unwrap()).collect();
    Policy::new(rules).unwrap()
}

/// A downloader that may fetch from the vendor, over HTTPS.
fn downloader() -> Policy {
    policy(&["allow .vendor.example port 443", "allow vendor.example port 443"])
}

/// The most generous policy that can be written in one rule.
fn generous() -> Policy {
    policy(&["allow all"])
}

const PUBLIC: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(93, 184, 215, 14));

/// Address, and the word its refusal must contain.
const NOT_THE_INTERNET: &[(&str, &str)] = &[
    // blocked by the guard as well
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "reserved"),
    ("10.1.2.3", "private"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("169.254.169.254", "link-local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("224.0.0.1", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::1", "loopback"),
    ("fe80::1", "link-local"),
    ("fc00::1", "unique local"),
    ("fd12:3456::1", "unique local"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:a9fe:a9fe", "link-local"),
    ("2002:7f00:1::1", "loopback"),
    ("2002:c0a8:101::1", "private"),
    // passed there
    ("100.64.0.1", "carrier-grade"),
    ("100.127.255.255", "carrier-grade"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("192.0.2.1", "documentation"),
    ("::", "unspecified"),
    ("::127.0.0.1", "loopback"),
    ("fec0::1", "private"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b::a00:1", "private"),
    ("64:ff9b:1::a00:1", "private"),
    ("2001:0:a00:1::1", "reserved"),
    ("ff02::1", "multicast"),
];

#[test]
fn no_special_address_as_literal_or_by_name() {
    for (address, word) in NOT_THE_INTERNET {
        let resolved = [address.parse().unwrap()];
        let bracketed = format!("[{address}]");
        let literal = if address.contains(':') { &bracketed } else { *address };
        for (host, resolved) in [(*address, &[][..]), (literal, &[]), ("rebind.example", &resolved)]
        {
            let refused = generous().check(host, resolved, 443).unwrap_err();
            let line = refused.to_string();
            assert!(matches!(refused, Refused::Special { .. }), "{host}: {line}");
            assert!(line.contains(word) && line.contains("add rule 'allow "), "{line}");
            assert!(!line.contains('\n'));
        }
    }
}

#[test]
fn allowed_name_does_not_open_what_it_resolves_to() {
    for (address, _) in NOT_THE_INTERNET {
        let resolved = [address.parse().unwrap()];
        downloader().check("get.vendor.example", &resolved, 443).unwrap_err();
        // one good answer among bad ones does not let the bad ones through
        let mixed = [resolved[0], PUBLIC];
        let to = downloader().check("get.vendor.example", &mixed, 443).unwrap();
        assert_eq!(to, [(PUBLIC, 443).into()]);
    }
}

#[test]
fn a_literal_does_not_skip_the_list_of_names() {
    for literal in ["8.8.8.8", "93.184.215.14", "[2606:4700::1111]", "64:ff9b::808:808"] {
        let refused = downloader().check(literal, &[], 443).unwrap_err();
        assert!(matches!(refused, Refused::Unlisted { .. }), "{refused}");
    }
}

#[test]
fn names_and_ports_outside_the_list() {
    let allowed =
        [("vendor.example", 443), ("get.vendor.example", 443), ("A.B.VENDOR.example.", 443)];
    for (host, port) in allowed {
        assert_eq!(downloader().check(host, &[PUBLIC], port).unwrap(), [(PUBLIC, 443).into()]);
    }
    for (host, port) in [
        ("vendor.example", 22),
        ("vendor.example", 80),
        ("get.vendor.example", 8443),
        ("notvendor.example", 443),
        ("vendor.example.attacker.example", 443),
        ("localhost", 443),
        ("LOCALHOST.", 443),
        ("attacker.example", 443),
    ] {
        let refused = downloader().check(host, &[PUBLIC], port).unwrap_err();
        assert!(matches!(refused, Refused::Unlisted { .. }), "{host}: {refused}");
    }
}

#[test]
fn the_own_host_by_any_name() {
    for host in ["localhost", "LocalHost", "localhost.", "x.localhost", "ip6-loopback", "lvh.me"] {
        for address in ["127.0.0.1", "::1", "127.1.1.1", "0.0.0.0", "::"] {
            generous().check(host, &[address.parse().unwrap()], 8006).unwrap_err();
        }
    }
}

#[test]
fn what_is_no_host_is_not_asked_for() {
    for host in [
        "u@vendor.example",
        "u:p@vendor.example",
        "vendor.example#@attacker.example",
        "vendor.example\\@attacker.example",
        "vendor.example%2eattacker.example",
        "vendor.example\0.attacker.example",
        "vendor.example\r\nHost: x",
        "vendor.example:443",
        "vendor。example",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "fe80::1%eth0",
        "[::ffff:127.1]",
        "",
    ] {
        for policy in [downloader(), generous()] {
            let refused = policy.check(host, &[PUBLIC], 443).unwrap_err();
            assert!(matches!(refused, Refused::Host(_)), "{host:?}: {refused}");
            assert!(refused.to_string().chars().all(|c| !c.is_control()), "{refused:?}");
        }
    }
}

/// Each redirect is a destination of its own, judged like the first.
#[test]
fn every_hop_is_judged() {
    let hops = [
        ("get.vendor.example", PUBLIC, true),
        ("internal.lan", "10.0.0.9".parse().unwrap(), false),
    ];
    for (host, address, reachable) in hops {
        assert_eq!(downloader().check(host, &[address], 443).is_ok(), reachable, "{host}");
    }
}
