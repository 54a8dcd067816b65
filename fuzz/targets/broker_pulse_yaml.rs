//! pulse-sensor-proxy's configuration.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let _ = broker::fuzzing::pulse_yaml(input);
});
