//! pmxcfs' list of members.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    for name in broker::fuzzing::dot_members(input).unwrap_or_default() {
        assert!(broker::fuzzing::is_node(&name));
    }
});
