//! Accept-Encoding: no bytes panic, and no coding is used that the client has not named.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    if let Some(Some(coding)) = gate::fuzzing::coding(line) {
        let text = String::from_utf8_lossy(line).to_ascii_lowercase();
        assert!(text.contains(coding) || text.contains('*'), "{text} {coding}");
    }
});
