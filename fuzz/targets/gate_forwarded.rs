//! X-Forwarded-For and the account of a login: what a client writes before the address that its
//! proxy has added never moves it, and no account ends a field or a line.
#![no_main]

use gate::fuzzing::{account, forwarded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if forwarded(bytes).is_some() {
        let added = [bytes, b", 203.0.113.9"].concat();
        let client = forwarded(&added).expect("still a header");
        assert_eq!(client.to_string(), "203.0.113.9:0");
    }
    let kept = account(&String::from_utf8_lossy(bytes));
    assert!(kept.is_ascii() && kept.len() <= 128);
    assert!(!kept.contains([' ', '=', ';', ':', '"', '\n', '\r', '\0']));
});
