//! Policies: what is sent on after a rule looked at parameters is judged the same, and a call is
//! denied however its path is written.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, bool, &[u8], Option<&str>)| {
    let (path, json, body, query) = input;
    let verdict = gate::fuzzing::policy(path, json, body, query);
    let escaped: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
    // A path that holds an escape itself would be decoded twice that way.
    if !path.contains('%') {
        assert_eq!(gate::fuzzing::policy(&escaped, json, body, query), verdict);
    }
});
