//! Property strings: what was read can be written, and reads the same.
//!
//! The first two bytes choose the format.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pve_schema::{PropertyString, Schema};

static FORMATS: LazyLock<Vec<&PropertyString>> = LazyLock::new(|| {
    let methods = Schema::v9().methods().chain(Schema::v8().methods());
    let properties = methods.flat_map(|method| method.parameters().properties.values());
    let formats = properties.filter_map(|property| property.format.as_ref());
    formats.filter_map(|format| format.property_string()).collect()
});

fuzz_target!(|input: (u16, &str)| {
    let (format, text) = input;
    let format = FORMATS[usize::from(format) % FORMATS.len()];
    let Ok(fields) = format.parse(text, "x") else {
        return;
    };
    // PVE takes a line break in a value without key, and refuses to write one.
    if fields.values().any(|value| value.as_str().is_some_and(|text| text.contains('\n'))) {
        return;
    }
    let written = format.print(&fields).unwrap_or_else(|why| panic!("{fields:?}: {why}"));
    assert_eq!(format.parse(&written, "x"), Ok(fields), "{written:?}");
});
