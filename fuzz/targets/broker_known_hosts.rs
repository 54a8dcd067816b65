//! known_hosts files.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = broker::fuzzing::known_hosts(input, "pve2");
});
