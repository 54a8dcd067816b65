//! Credentials: what the gate judges is what upstream finds, and nothing is beside it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let authorization = lines.next().unwrap_or_default();
    let cookies: Vec<&[u8]> = lines.take(3).collect();
    let Some((judged, [cookie, line])) = gate::fuzzing::credential(&cookies, authorization) else {
        return;
    };
    let cookie: Vec<&[u8]> = cookie.as_deref().into_iter().collect();
    let line = line.unwrap_or_default();
    let again = gate::fuzzing::credential(&cookie, &line);
    let (found, lines) = again.expect("what is sent on are headers");
    assert_eq!(found, judged, "upstream finds another credential");
    let sent = lines.into_iter().flatten();
    let secrets = sent
        .filter(|line| line.starts_with(b"PVEAuthCookie=") || line.starts_with(b"PVEAPIToken="));
    assert_eq!(secrets.count(), usize::from(judged.is_some()));
});
