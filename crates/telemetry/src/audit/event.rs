//! What is recorded: a kind and its fields, masked and limited.

use std::fmt;

use serde_json::{Map, Value};

use crate::escape::prefix;
use crate::limits::AUDIT_TEXT;

/// Members the log writes itself; a field of that name gets an underscore behind it.
const RESERVED: [&str; 5] = ["seq", "time", "kind", "prev", "hash"];

/// Something that happened.
///
/// ```
/// # use telemetry::audit::Event;
/// let event = Event::new("login.refused").field("user", "root@pam").field("attempt", 3);
/// ```
#[derive(Clone, PartialEq)]
pub struct Event {
    pub(super) kind: &'static str,
    fields: Map<String, Value>,
}

impl Event {
    /// An event without fields. `kind` is `area.what_happened`, a word of the program.
    #[must_use]
    pub fn new(kind: &'static str) -> Self {
        Self { kind, fields: Map::new() }
    }

    /// Adds a field; a second one of the same name replaces the first. Text longer than
    /// [`AUDIT_TEXT`] is cut and says so. `seq`, `time`, `kind`, `prev` and `hash` get an
    /// underscore behind their name.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let reserved = RESERVED.contains(&name);
        let name = if reserved { format!("{name}_") } else { name.to_owned() };
        self.fields.insert(name, value.into());
        self
    }

    /// The fields as they may be stored: masked by key and by content, cut to their limits.
    pub(super) fn into_masked(self) -> Map<String, Value> {
        let mut fields = Value::Object(self.fields);
        secrets::mask::json(&mut fields);
        // After masking: half a ticket behind the cut would no longer look like one.
        cut_texts(&mut fields);
        match fields {
            Value::Object(fields) => fields,
            other => Map::from_iter([("masked".to_owned(), other)]),
        }
    }
}

/// Names only: the values are not masked yet.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        f.debug_struct("Event").field("kind", &self.kind).field("fields", &names).finish()
    }
}

/// Masking has bounded the depth.
fn cut_texts(value: &mut Value) {
    match value {
        Value::String(text) => {
            let kept = prefix(text, AUDIT_TEXT).len();
            if kept < text.len() {
                let more = text.len() - kept;
                text.truncate(kept);
                text.push_str(&format!("[{more} bytes more]"));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(cut_texts),
        Value::Object(members) => members.values_mut().for_each(cut_texts),
        _ => {}
    }
}
