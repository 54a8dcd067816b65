//! Recordings: read or refused with a line; an answer of a server behind the mock alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mock::Recording;
use mock::fuzzing::read_answer;

fuzz_target!(|bytes: &[u8]| {
    read_answer(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for text in [text.to_owned(), format!("{{\"proxward_recording\":1}}\n{text}")] {
        if let Err(error) = Recording::parse("f", &text) {
            assert!(error.line_number() <= text.lines().count() + 1, "{error}");
        }
    }
});
