use super::*;
use crate::peer::{Place, Range};
use proptest::prelude::*;
use std::sync::Arc;

fn host(uid: u32, gid: u32) -> Peer {
    Peer {
        uid,
        gid,
        groups: vec![],
        pid: 1,
        place: Place::Host,
        inner_uid: Some(uid),
        mapped: None,
        range: None,
        socket: Arc::from("default"),
    }
}

fn rule(peer: &[&str], may: &[&str], on: &[&str]) -> RuleSettings {
    RuleSettings {
        peer: peer.iter().map(|text| text.parse().unwrap()).collect(),
        may: may.iter().map(|text| text.parse().unwrap()).collect(),
        on: on.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn policy(rules: &[RuleSettings]) -> Policy {
    Policy::check(rules, &Accounts::parse("pulse:x:998:997::/:/bin/false\n", "web:x:33:\n"))
        .unwrap()
}

fn verb(name: &str) -> &'static Verb {
    Verb::find(name).unwrap()
}

#[test]
fn nothing_is_given_that_no_rule_gives() {
    let none = policy(&[]);
    assert_eq!(none.decide(&host(0, 0), verb("broker.status"), "local"), Decision::Stranger);
    let some = policy(&[rule(&["user:pulse"], &["sensors.read"], &["local", "node/a"])]);
    let pulse = host(998, 1);
    let decide = |peer: &Peer, name: &str, target| some.decide(peer, verb(name), target);
    assert_eq!(decide(&pulse, "sensors.read", "local"), Decision::Allowed(0));
    assert_eq!(decide(&pulse, "sensors.read", "node/a"), Decision::Allowed(0));
    assert_eq!(decide(&pulse, "sensors.read", "node/b"), Decision::TargetRefused);
    assert_eq!(decide(&pulse, "node.status", "local"), Decision::VerbRefused);
    assert_eq!(decide(&host(0, 0), "sensors.read", "local"), Decision::Stranger);
    assert_eq!(some.grants(&pulse).count(), 1);
}

#[test]
fn all_conditions_of_a_rule_have_to_hold() {
    let both = policy(&[rule(&["uid:998", "unit:pulse.service"], &["read"], &["local"])]);
    let mut peer = host(998, 1);
    assert!(!both.knows(&peer));
    peer.place = Place::Unit("pulse.service".into());
    assert!(both.knows(&peer));
    peer.uid = 999;
    assert!(!both.knows(&peer));
}

#[test]
fn groups_count_effective_and_supplementary() {
    let web = policy(&[rule(&["group:web"], &["read"], &["local"])]);
    assert!(web.knows(&host(5, 33)));
    let mut peer = host(5, 5);
    assert!(!web.knows(&peer));
    peer.groups = vec![7, 33];
    assert!(web.knows(&peer));
}

#[test]
fn group_0_is_nobody_special() {
    assert!(!Policy::root_only().knows(&host(5555, 0)));
    assert!(Policy::root_only().knows(&host(0, 0)));
}

#[test]
fn root_of_a_container_is_not_root_of_the_host() {
    let mut peer = host(0, 0);
    peer.place = Place::Container("101".into());
    assert!(!Policy::root_only().knows(&peer));
    let one = policy(&[rule(&["container:101"], &["read"], &["local"])]);
    assert!(one.knows(&peer));
    peer.inner_uid = Some(33);
    assert!(!one.knows(&peer), "the container's root alone, unless told otherwise");
    assert!(policy(&[rule(&["container:101/33"], &["read"], &["*"])]).knows(&peer));
    assert!(policy(&[rule(&["container:101/*"], &["read"], &["*"])]).knows(&peer));
    assert!(!policy(&[rule(&["container:102/*"], &["read"], &["*"])]).knows(&peer));
    assert!(policy(&[rule(&["container:*/*"], &["read"], &["*"])]).knows(&peer));
}

#[test]
fn a_range_is_not_a_way_into_a_container() {
    let range = Some(Range { owner: "root".into(), start: 100_000, end: 165_535 });
    let mut peer = Peer { inner_uid: Some(0), range, ..host(100_000, 100_000) };
    let rules = policy(&[rule(&["range:root"], &["read"], &["local"])]);
    peer.place = Place::Foreign;
    assert!(rules.knows(&peer));
    peer.place = Place::Container("101".into());
    assert!(!rules.knows(&peer));
}

#[test]
fn admin_is_for_root_of_the_host() {
    let accounts = Accounts::default();
    let refused = |rule| Policy::check(&[rule], &accounts).unwrap_err();
    for peer in ["container:101", "uid:998", "gid:0", "cell:web", "range:root"] {
        for may in ["admin", "keys.rotate"] {
            let error = refused(rule(&[peer], &["read", may], &["local"]));
            assert!(matches!(error, PolicyError::Admin(1, _)), "{peer} {may}");
        }
    }
    assert_eq!(refused(rule(&[], &["read"], &["local"])), PolicyError::Empty(1));
    assert!(matches!(
        refused(rule(&["user:x"], &["read"], &["local"])),
        PolicyError::Account { .. }
    ));
    // Should a rule get through all the same, the decision still says no.
    let sneaked = Policy {
        rules: vec![Rule {
            peer: vec![PeerPattern::Uid(998)],
            may: vec![Selector::Group(Group::Admin)],
            on: vec![TargetPattern::All],
        }],
    };
    assert_eq!(sneaked.decide(&host(998, 1), verb("keys.rotate"), "local"), Decision::VerbRefused);
}

proptest! {
    #[test]
    fn patterns_read_back_and_match_their_own_example(
        text in "(uid|gid):[0-9]{1,9}|(unit|cell|socket):[a-z@.-]{1,12}|(container|range):[a-z0-9]{1,8}(/[0-9]{1,5}|/\\*)?"
    ) {
        let pattern: PeerPattern = text.parse().unwrap();
        prop_assert_eq!(&pattern.to_string().parse::<PeerPattern>().unwrap(), &pattern);
        prop_assert!(pattern.matches(&pattern.example()), "{}", pattern);
    }

    #[test]
    fn any_text_is_judged(text in ".{0,30}|[a-z]{0,9}:[a-z0-9/*]{0,9}") {
        let _ = text.parse::<PeerPattern>();
        let _ = text.parse::<Selector>();
        let _ = text.parse::<TargetPattern>();
    }
}
