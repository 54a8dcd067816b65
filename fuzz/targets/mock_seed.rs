//! Seed files in all three forms: read or refused with a line, never more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mock::{Form, SeedFile};

fuzz_target!(|text: &str| {
    for form in [Form::Toml, Form::Json, Form::Yaml] {
        let read = SeedFile::parse("f", text, form, &mut |_| Err("none".to_owned()));
        if let Err(error) = read {
            // In YAML a carriage return alone ends a line too.
            let lines = text.matches(['\n', '\r']).count() + 1;
            assert!(error.line_number() <= lines, "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
});
