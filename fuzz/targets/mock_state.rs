//! State files: as they are, and as lines whose sums are right, which chance would never find. A
//! whole file stays one when it is cut between two lines, and is none when a line is damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mock::fuzzing::{is_state_file, state_file};

fuzz_target!(|bytes: &[u8]| {
    is_state_file(bytes);
    let lines = bytes.split(|byte| *byte == b'\n');
    let mut file = state_file(lines);
    if is_state_file(&file) && file.len() > 20 {
        file[18] ^= 1;
        assert!(!is_state_file(&file), "a damaged header");
    }
});
