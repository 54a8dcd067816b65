//! One event as one line.

use std::time::Duration;

use tracing::Level;

use super::Format;
use super::fields::{Fields, Value};
use crate::limits::LOG_LINE;
use crate::{Rfc3339, escape};

const TEXT_MARK: &str = " [truncated]";
const JSON_MARK: &str = ",\"truncated\":true";

/// Names the line uses itself; a field of that name gets an underscore behind it.
const RESERVED: [&str; 5] = ["time", "level", "target", "message", "truncated"];

/// What is known about an event besides its fields.
pub(super) struct Head {
    pub(super) unix: Duration,
    pub(super) level: Level,
    pub(super) target: &'static str,
}

/// Renders the line and ends it. The fields are masked already.
pub(super) fn render(format: Format, head: &Head, fields: &Fields) -> String {
    let mut line = match format {
        Format::Text => text(head, fields),
        Format::Json => json(head, fields),
    };
    line.push('\n');
    line
}

fn text(head: &Head, fields: &Fields) -> String {
    let mut line = Line::new(TEXT_MARK.len() + 1, fields.cut);
    line.raw(&format!("{} {:<5} ", Rfc3339(head.unix), head.level.as_str()));
    line.escaped(head.target, 0, escape::bare);
    if let Some(message) = &fields.message {
        line.raw(" ");
        line.escaped(message, 0, escape::bare);
    }
    for (name, value) in &fields.named {
        line.raw(" ");
        line.escaped(&unreserved(name), 0, escape::bare);
        line.raw("=");
        match value {
            Value::Plain(value) => line.raw(value),
            Value::Text(value) if is_bare(value) => line.escaped(value, 0, escape::bare),
            Value::Text(value) => line.quoted(value),
        }
    }
    line.end(TEXT_MARK)
}

fn json(head: &Head, fields: &Fields) -> String {
    let mut line = Line::new(JSON_MARK.len() + 2, fields.cut);
    line.raw("{\"time\":");
    line.quoted(&Rfc3339(head.unix).to_string());
    line.member("level", &Value::Text(head.level.as_str().to_ascii_lowercase()));
    line.member("target", &Value::Text(head.target.to_owned()));
    if let Some(message) = &fields.message {
        line.member("message", &Value::Text(message.clone()));
    }
    for (name, value) in &fields.named {
        line.member(&unreserved(name), value);
    }
    let mut text = line.end(JSON_MARK);
    text.push('}');
    text
}

/// A line that stops growing at its limit.
struct Line {
    text: String,
    limit: usize,
    cut: bool,
    full: bool,
}

impl Line {
    /// `reserve` is kept free for what ends the line.
    fn new(reserve: usize, cut: bool) -> Self {
        Self { text: String::with_capacity(256), limit: LOG_LINE - reserve, cut, full: false }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.text.len())
    }

    /// Appends all or nothing. Once something did not fit, nothing is appended any more.
    fn raw(&mut self, text: &str) {
        self.full |= text.len() > self.room();
        if !self.full {
            self.text.push_str(text);
        }
    }

    /// Appends as much as leaves room for `after` more bytes.
    fn escaped(&mut self, text: &str, after: usize, how: fn(char) -> escape::Escaped) {
        if self.full {
            return;
        }
        for c in text.chars() {
            let escaped = how(c);
            if escaped.len() + after > self.room() {
                self.full = true;
                return;
            }
            escaped.push_to(&mut self.text);
        }
    }

    fn quoted(&mut self, text: &str) {
        if self.full || self.room() < 2 {
            self.full = true;
            return;
        }
        self.text.push('"');
        self.escaped(text, 1, escape::quoted);
        self.text.push('"');
    }

    /// A JSON member with its value, which is cut when it is text, or nothing.
    fn member(&mut self, name: &str, value: &Value) {
        let before = self.text.len();
        let mut name_only = String::from(",\"");
        name.chars().for_each(|c| escape::quoted(c).push_to(&mut name_only));
        name_only.push_str("\":");
        self.raw(&name_only);
        let after_name = self.text.len();
        match value {
            Value::Plain(value) => self.raw(value),
            Value::Text(value) => self.quoted(value),
        }
        if self.text.len() == after_name {
            self.text.truncate(before);
        }
    }

    fn end(mut self, mark: &str) -> String {
        if self.full || self.cut {
            self.text.push_str(mark);
        }
        self.text
    }
}

fn unreserved(name: &'static str) -> String {
    if RESERVED.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

/// Whether a value reads as one word without quotes.
fn is_bare(value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'=');
    !value.is_empty() && value.bytes().all(plain)
}
