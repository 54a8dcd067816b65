use super::{InForce, RELOAD, in_force, keys, reload_table};
use crate::config::Settings;

#[test]
fn every_key_of_the_configuration_stands_in_the_table_once() {
    let mut listed: Vec<&str> =
        RELOAD.iter().flat_map(|(_, _, keys)| keys.iter().copied()).collect();
    let mut there = keys::of::<Settings>();
    listed.sort_unstable();
    there.sort_unstable();
    assert_eq!(listed, there);
    assert!(there.len() > 70 && there.contains(&"limits.head_seconds".to_owned()));
}

#[test]
fn keys_are_found_by_their_full_name() {
    assert_eq!(in_force("gate.listen"), Some(InForce::AfterRestart));
    assert_eq!(in_force("gate.tls.min"), Some(InForce::AtOnce));
    assert_eq!(in_force("gate.nonsense"), None);
    assert_eq!(in_force("listen"), None);
}

#[test]
fn the_guide_has_the_table() {
    let guide = include_str!("../../../../docs/guides/certificates-and-addresses.md");
    let table = reload_table();
    assert!(guide.contains(&table), "put this into the guide:\n{table}");
}
