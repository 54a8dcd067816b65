//! Request smuggling: a head that the gate lets through is the same head, with the same body
//! behind it, to a reader with pveproxy's lenient rules.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mock::fuzzing::{Head, Read, read_head};

/// Header lines that pveproxy reads.
const UPSTREAM_HEADERS: usize = 62;

fuzz_target!(|bytes: &[u8]| {
    let Some((end, body)) = gate::fuzzing::head(bytes) else {
        return;
    };
    let lines = bytes[..end].iter().filter(|byte| **byte == b'\n').count();
    // The gate takes one more of a client, and counts again what it sends on.
    if lines - 2 > UPSTREAM_HEADERS {
        return;
    }
    let Read::Head(head) = read_head(bytes) else {
        panic!("the gate accepts what upstream refuses");
    };
    assert_eq!(head.consumed, end, "the body starts elsewhere upstream");
    assert_eq!(head.headers.len(), lines - 2, "header lines were joined or split");

    assert_eq!(values(&head, "transfer-encoding").len(), 0);
    assert!(values(&head, "host").len() <= 1);
    match values(&head, "content-length").as_slice() {
        [] => assert_eq!(body, 0),
        [length] => assert_eq!(length.parse(), Ok(body)),
        many => panic!("{} lengths", many.len()),
    }
});

fn values<'h>(head: &'h Head, wanted: &str) -> Vec<&'h str> {
    let fits = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(wanted);
    head.headers.iter().filter(fits).map(|(_, value)| value.trim_end()).collect()
}
