//! Paths: rules of the gate judge the very path that upstream routes by.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    let routed = mock::fuzzing::unescape(raw);
    match gate::fuzzing::decode_path(raw) {
        Some(judged) => {
            assert_eq!(judged, routed);
            assert!(!judged.chars().any(char::is_control));
        }
        None => {
            let odd = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
            assert!(routed.contains(odd), "refused without a reason");
        }
    }
});
