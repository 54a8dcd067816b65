//! `/etc/default/pveproxy`: any bytes are read or refused with a line, and what is read becomes
//! keys that name a line of the file.
#![no_main]

use gate::FromDefaults;
use libfuzzer_sys::fuzz_target;
use pve_formats::proxy_defaults::ProxyDefaults;

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    match ProxyDefaults::parse(bytes) {
        Err(error) => assert!((1..=lines).contains(&error.line())),
        Ok(file) => {
            for assignment in file.assignments() {
                assert!(!assignment.value.contains('\n'), "{assignment:?}");
            }
            match FromDefaults::new(&file) {
                Err(note) => assert!((1..=lines).contains(&note.line)),
                Ok(read) => assert!(read.values.iter().all(|value| value.line <= lines)),
            }
        }
    }
});
