//! pulse-sensor-proxy's framing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(Some((line, used))) = broker_api::pulse::line(input) {
        assert_eq!(line.len() + 1, used);
        if let Ok(value) = broker_api::strict_json::parse(line) {
            let _ = broker_api::pulse::Line::from_value(value);
        }
    }
});
