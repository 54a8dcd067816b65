//! Output of `sensors -j` with the faults of real versions.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let _ = broker::fuzzing::sensors_j(input);
});
