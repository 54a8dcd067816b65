//! Configuration files: every refusal is one line that names the place, and what
//! `config show` prints is a configuration with the same values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use settings::{Document, Entry, Layers, SettingsError};

const SECTIONS: &[&str] = &["gate", "cells"];
const NAME: &str = "proxward.toml";

fuzz_target!(|text: &str| {
    let document = match load(text) {
        Ok(document) => document,
        Err(error) => return check_error(&error),
    };
    if let Err(error) = document.section::<gate::Settings>("gate") {
        check_error(&error);
    }
    let shown = shown(&document);
    let written: String = shown.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let again = load(&written).unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(self::shown(&again), shown);
});

fn load(text: &str) -> Result<Document, SettingsError> {
    Layers::new(SECTIONS).text(NAME, text).load()
}

fn shown(document: &Document) -> Vec<(String, String)> {
    document.entries().map(|Entry { key, value, .. }| (key, value)).collect()
}

fn check_error(error: &SettingsError) {
    let line = error.to_string();
    assert!(!line.contains(char::is_control), "{line:?}");
    assert!(line.starts_with(NAME) || line.starts_with("gate"), "no place: {line}");
}
