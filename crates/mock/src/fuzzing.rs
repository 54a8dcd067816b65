//! Readers of bytes from outside, for the fuzz targets; not part of the API.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::wire::{self, Parsed};

/// What a buffer holds so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// More bytes are needed.
    Incomplete,
    /// No request, whatever follows.
    Refused,
    /// A request without its body.
    Head(Head),
}

/// A request without its body.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The first word.
    pub method: String,
    /// The second, as sent.
    pub target: String,
    /// Names and values in order.
    pub headers: Vec<(String, String)>,
    /// Where the body starts.
    pub consumed: usize,
}

/// Payloads as the lines of a state file, with sums that are right.
pub fn state_file<'p>(payloads: impl Iterator<Item = &'p [u8]>) -> Vec<u8> {
    let (mut bytes, mut chain) = (Vec::new(), crate::durable::frame::Chain::default());
    payloads.for_each(|payload| chain.write(&mut bytes, payload));
    bytes
}

/// Whether bytes are a state file.
pub fn is_state_file(bytes: &[u8]) -> bool {
    crate::durable::file::is_readable(bytes)
}

/// One head from the start of `buffer`.
pub fn read_head(buffer: &[u8]) -> Read {
    match wire::read_head(buffer) {
        Parsed::Incomplete => Read::Incomplete,
        Parsed::Refused(_) | Parsed::Silence => Read::Refused,
        Parsed::Head { head, consumed } => {
            // Not kept, but it cuts the target apart.
            head.path_and_query();
            Read::Head(Head {
                method: head.method,
                target: head.target,
                headers: head.headers,
                consumed,
            })
        }
    }
}

/// Parameters of a query or a form.
pub fn form(text: &[u8]) -> BTreeMap<String, Value> {
    wire::form(text)
}

/// Parameters of a JSON body, or the text of the refusal.
pub fn json_object(text: &[u8]) -> Result<BTreeMap<String, Value>, String> {
    wire::json_object(text).map_err(|fault| fault.0)
}

/// A path, percent-decoded once.
pub fn unescape(path: &str) -> String {
    wire::unescape(path)
}

/// Holds rules against the schema, and a call against the rules.
pub fn arm(faults: crate::Faults) {
    let schema = pve_schema::Schema::v9();
    let Ok(armed) = faults.arm(schema) else { return };
    if let Some(at) = schema.find("/nodes/a/qemu/100/status/start") {
        let _ = armed.decide(pve_schema::Verb::Post, &at, "root@pam");
    }
}

/// The answer of a server behind the mock.
pub fn read_answer(bytes: &[u8]) {
    let _ = crate::recording::parse(bytes);
}
