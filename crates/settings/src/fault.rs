//! An error on its way up from a value: it collects its key, and keeps the innermost place.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::document::join_key;
use crate::error::{ErrorKind, SettingsError};
use crate::node::Origin;
use crate::words::{closest, listed, sort, words};

/// What to do when one of these was expected; for others the key's own explanation helps more.
const TYPE_REMEDIES: [(&str, &str); 3] = [
    ("a string", "put the value in quotes"),
    ("an array", "put the value in [ ]"),
    ("true or false", "write the bare word"),
];

#[derive(Debug)]
pub(crate) struct Fault {
    kind: ErrorKind,
    /// From the outermost to the innermost.
    key: Vec<String>,
    origin: Option<Origin>,
    what: String,
    /// None: the general one.
    remedy: Option<String>,
    /// The text comes from a type's own parser, which may repeat the value in it.
    foreign: bool,
}

impl Fault {
    fn new(kind: ErrorKind, what: String) -> Self {
        Self { kind, key: Vec::new(), origin: None, what, remedy: None, foreign: false }
    }

    pub(crate) fn unknown_key(known: &[&str], key: &str) -> Self {
        let remedy = match closest(known, key) {
            Some(meant) => format!("did you mean {meant}?"),
            None if known.is_empty() => "remove it".to_owned(),
            None => format!("remove it, or use one of: {}", listed(known)),
        };
        let fault = Self::new(ErrorKind::UnknownKey, "unknown key".to_owned());
        Self { remedy: Some(remedy), ..fault }
    }

    /// Notes that it happened in the value of `key`.
    pub(crate) fn under(mut self, key: &str, origin: &Origin) -> Self {
        self.key.insert(0, key.to_owned());
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }

    /// Notes that it happened in an element of an array.
    pub(crate) fn at(mut self, index: usize, origin: &Origin) -> Self {
        self.key.insert(0, format!("[{index}]"));
        self.origin.get_or_insert_with(|| origin.clone());
        self
    }

    pub(crate) fn into_error(self) -> SettingsError {
        let innermost = self.key.iter().rfind(|part| !part.starts_with('['));
        let what = match innermost {
            Some(key) if self.foreign => secrets::mask::header(key, &self.what).into_owned(),
            _ => self.what,
        };
        let key = join_key(&self.key);
        let remedy = self.remedy.unwrap_or_else(|| {
            let named = key.split('[').next().unwrap_or_default();
            format!("see `proxward config explain {named}`")
        });
        let origin = self.origin.unwrap_or(Origin::Default);
        SettingsError::new(self.kind, origin, key, what, remedy)
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { foreign: true, ..Self::new(ErrorKind::Value, message.to_string()) }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = words(expected);
        let what = format!("expected {expected}, found {}", sort(&found));
        let remedy = TYPE_REMEDIES.iter().find(|(word, _)| *word == expected);
        let remedy = remedy.map(|(_, remedy)| (*remedy).to_owned());
        Self { remedy, ..Self::new(ErrorKind::Type, what) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Unsigned(number) => number.to_string(),
            Unexpected::Float(number) => number.to_string(),
            // The text itself may be a secret put under the wrong key.
            other => sort(&other).to_owned(),
        };
        Self::new(ErrorKind::Value, format!("expected {}, found {found}", words(expected)))
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        let what = format!("expected {}, found {found}", words(expected));
        Self::new(ErrorKind::Value, what)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        let what = format!("expected one of {}, found another word", listed(known));
        Self::new(ErrorKind::Value, what)
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::unknown_key(known, key)
    }

    fn missing_field(key: &'static str) -> Self {
        let fault = Self::new(ErrorKind::Missing, "required and not set".to_owned());
        Self { key: vec![key.to_owned()], ..fault }
    }

    fn duplicate_field(key: &'static str) -> Self {
        let fault = Self::new(ErrorKind::Conflict, format!("given under two names as {key}"));
        Self { remedy: Some("remove one of them".to_owned()), ..fault }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}
