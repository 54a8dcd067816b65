//! Strict JSON: what is accepted, serde_json reads alike.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(value) = broker_api::strict_json::parse(input) {
        let other: serde_json::Value = serde_json::from_slice(input).expect("JSON");
        assert_eq!(value, other);
    }
});
