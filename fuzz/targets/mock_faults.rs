//! Fault files: read or refused, and whatever is read can be held against the schema.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mock::fuzzing::arm;
use mock::{Faults, Form};

fuzz_target!(|text: &str| {
    for form in [Form::Toml, Form::Json, Form::Yaml] {
        match Faults::parse("f", text, form) {
            Ok(faults) => arm(faults),
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
});
