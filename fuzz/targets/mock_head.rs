//! The mock's request head: an answer never changes with more bytes, and what was read can be
//! written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mock::fuzzing::{Head, Read, read_head};

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let whole = read_head(bytes);
    let early = read_head(&bytes[..usize::from(cut) % (bytes.len() + 1)]);
    if early != Read::Incomplete {
        assert_eq!(early, whole, "bytes behind an answer changed it");
    }
    if let Read::Head(head) = whole {
        assert!(head.consumed <= bytes.len());
        check_rewritten(&head);
    }
});

fn check_rewritten(head: &Head) {
    let mut wire = format!("{} {} HTTP/1.1\r\n", head.method, head.target);
    for (name, value) in &head.headers {
        wire += &format!("{name}: {value}\r\n");
    }
    wire += "\r\n";
    // Latin-1 doubles in UTF-8, so a large head may not fit a second time.
    if wire.len() > 4096 {
        return;
    }
    let Read::Head(again) = read_head(wire.as_bytes()) else {
        panic!("not read back: {wire:?}");
    };
    assert_eq!((&again.method, &again.target), (&head.method, &head.target));
    assert_eq!(again.consumed, wire.len());
    assert_eq!(again.headers.len(), head.headers.len());
    for ((name, value), (name_again, value_again)) in head.headers.iter().zip(&again.headers) {
        assert_eq!(name_again, name);
        // Continuation of a blank value begins with a blank.
        assert_eq!(value_again, value.trim_start());
    }
}
