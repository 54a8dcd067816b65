//! What a shared server answers: the same whatever pieces it comes in, and never more than its
//! bound; rows and records of the feed likewise never break anything.
//!
//! The first byte is the length of the pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use state::fuzzing::{answers, row_and_record};

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = answers(bytes, bytes.len().max(1));
    assert_eq!(answers(bytes, usize::from(piece).max(1)), whole);
    row_and_record(bytes);
});
