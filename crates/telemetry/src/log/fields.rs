//! The fields of an event or a span, captured within limits and masked.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

use crate::escape::prefix;
use crate::limits::{LOG_FIELDS, LOG_VALUE};

/// A value ready to be written.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Masked text, not yet escaped.
    Text(String),
    /// A number or truth value, the same in every form of line.
    Plain(String),
}

/// What was captured, masked, in the order it was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) message: Option<String>,
    pub(super) named: Vec<(&'static str, Value)>,
    /// Something was left out.
    pub(super) cut: bool,
}

impl Fields {
    /// Sets a field; a later one of the same name wins.
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        if let Some(old) = self.named.iter_mut().find(|(have, _)| *have == name) {
            old.1 = value;
        } else if self.named.len() < LOG_FIELDS {
            self.named.push((name, value));
        } else {
            self.cut = true;
        }
    }

    /// Renders no more than the limit, then masks. The limit is twice that of a line, so that
    /// masking comes before any cut that shows: half a secret would not be recognised.
    fn put_text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let mut text = Limited::default();
        let _ = text.write_fmt(value);
        self.cut |= text.full;
        if field.name() == "message" {
            self.message = Some(secrets::mask::text(&text.text).into_owned());
        } else {
            let masked = secrets::mask::header(field.name(), &text.text).into_owned();
            self.set(field.name(), Value::Text(masked));
        }
    }

    /// A number may be a secret too, a one-time password for instance.
    fn put_number(&mut self, field: &Field, number: String) {
        let value = match secrets::mask::header(field.name(), &number) {
            Cow::Owned(masked) if masked != number => Value::Text(masked),
            _ => Value::Plain(number),
        };
        self.set(field.name(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put_text(field, format_args!("{}", Chain(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.put_number(field, value.to_string());
        } else {
            // JSON has no such number.
            self.put_text(field, format_args!("{value}"));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_number(field, value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_number(field, value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Plain(value.to_string()));
    }
}

/// An error and what caused it, `a: b: c`.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Takes [`LOG_VALUE`] bytes and then refuses, which ends the formatting of the value.
#[derive(Default)]
struct Limited {
    text: String,
    full: bool,
}

impl fmt::Write for Limited {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let kept = prefix(more, LOG_VALUE - self.text.len());
        self.text.push_str(kept);
        self.full |= kept.len() < more.len();
        if self.full { Err(fmt::Error) } else { Ok(()) }
    }
}
