//! What a confined program lays into memory and files for its supervisor to read: socket
//! addresses, executables, and questions for names.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(address) = cell::fuzzing::socket_address(bytes) {
        assert!(bytes.len() >= if address.is_ipv4() { 16 } else { 24 });
    }
    if let Some((name, answer)) = cell::fuzzing::question(bytes) {
        assert!(!name.is_empty() && name.len() <= 253);
        assert!(answer.len() <= bytes.len() + 12 + 28 && answer[..2] == bytes[..2]);
    }
    if let Some((loader, libraries)) = cell::fuzzing::executable(bytes) {
        assert!(loader.into_iter().chain(libraries).all(|text| !text.contains('\0')));
    }
});
