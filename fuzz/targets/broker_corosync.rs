//! corosync.conf: every member has a name a node can have.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    for name in broker::fuzzing::corosync(input).unwrap_or_default() {
        assert!(broker::fuzzing::is_node(&name));
    }
});
