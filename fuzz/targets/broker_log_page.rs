//! Log pages of SCSI disks: the page's number, then its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((page, bytes)) = input.split_first() {
        let _ = broker::fuzzing::log_page(page & 0x3F, bytes);
    }
});
