//! Answers of a baseboard controller that lists its sensors.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = broker::fuzzing::sdr(input);
});
