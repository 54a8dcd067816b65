//! Policies of cells: what is read is usable, and is read back as it is written.
#![no_main]

use cell::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(policy) = Policy::from_toml(text) else { return };
    assert_eq!(policy.check(), Ok(()));
    assert_eq!(Policy::from_toml(&policy.to_toml()), Ok(policy));
});
