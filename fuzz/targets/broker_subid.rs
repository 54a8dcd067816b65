//! Subordinate ids, control groups, maps of user namespaces: root is in no range.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, u32)| {
    let (one, other, uid) = input;
    assert_eq!(broker::fuzzing::subid(one, other, 0, 0), None);
    let _ = broker::fuzzing::subid(one, other, uid, uid);
    let _ = broker::fuzzing::process_files(one, other, uid);
});
