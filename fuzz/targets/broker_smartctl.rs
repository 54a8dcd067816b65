//! Output of `smartctl -j`, and pages of disks.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = broker::fuzzing::smartctl(&String::from_utf8_lossy(input));
    if let Some(page) = input.first_chunk::<512>() {
        broker::fuzzing::disks(page);
    }
});
