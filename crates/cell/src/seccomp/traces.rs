//! Is the list of calls what Node.js needs, and nothing that nobody needs?

use std::collections::{BTreeMap, BTreeSet};

use super::{Egress, Shape, rows};

/// Calls that Node.js was seen to make, by major: `cargo xtask calls`.
const TRACED: &str = include_str!("traced.txt");
/// Why others are on the list, and why some of these are not.
const UNTRACED: &str = include_str!("untraced.txt");
/// Majors that cells are for.
const MAJORS: [&str; 3] = ["20", "22", "24"];

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

fn traced() -> BTreeMap<&'static str, Vec<&'static str>> {
    let words = lines(TRACED).map(str::split_whitespace);
    words.filter_map(|mut words| Some((words.next()?, words.collect()))).collect()
}

/// Call and reason; refusals apart.
fn reasons(refused: bool) -> BTreeSet<&'static str> {
    let reasons = lines(UNTRACED).filter_map(|line| line.split_once(" | "));
    reasons
        .filter(|(reason, _)| reason.starts_with("refused") == refused)
        .flat_map(|(_, calls)| calls.split_whitespace())
        .collect()
}

/// Names on the list of any cell.
fn listed() -> BTreeSet<&'static str> {
    let shape = |subprocess, egress| Shape { subprocess, egress, audit: false, by_path: false };
    let shapes = [shape(true, Egress::None), shape(false, Egress::Tcp), shape(false, Egress::Udp)];
    shapes.into_iter().flat_map(rows).map(|row| row.name).collect()
}

#[test]
fn every_row_is_used_by_a_trace_or_has_a_reason() {
    let (traced, kept) = (traced(), reasons(false));
    let dead: Vec<_> = listed()
        .into_iter()
        .filter(|name| !traced.contains_key(name) && !kept.contains(name))
        .collect();
    assert!(dead.is_empty(), "neither traced nor with a reason: {dead:?}");
    let idle: Vec<_> = kept
        .iter()
        .filter(|name| traced.contains_key(*name) || !listed().contains(*name))
        .collect();
    assert!(idle.is_empty(), "a reason that is not needed: {idle:?}");
}

#[test]
fn what_each_major_makes_is_listed_or_refused_for_a_reason() {
    let (listed, refused) = (listed(), reasons(true));
    for major in MAJORS {
        let made: Vec<_> = traced()
            .into_iter()
            .filter(|(_, majors)| majors.contains(&major))
            .map(|(name, _)| name)
            .collect();
        assert!(made.len() > 60, "Node.js {major} was not traced");
        let missing: Vec<_> = made
            .into_iter()
            .filter(|name| !listed.contains(name) && !refused.contains(name))
            .collect();
        assert!(missing.is_empty(), "Node.js {major} makes {missing:?}");
    }
    assert!(refused.iter().all(|name| traced().contains_key(name) && !listed.contains(name)));
}
