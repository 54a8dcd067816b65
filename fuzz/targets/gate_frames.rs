//! Websocket frames: judged alike however the stream is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (usize, &[u8])| {
    let (cut, bytes) = input;
    let whole = gate::fuzzing::frames(bytes, bytes.len());
    assert_eq!(gate::fuzzing::frames(bytes, cut % 40), whole);
});
