//! The `[OPTIONS]` of a firewall file.

use serde_json::{Value, json};

use super::{Call, read, write};
use crate::failure::{Outcome, Success};
use crate::state::Firewall;
use crate::state::firewall::with_digest;

/// Parameters that are no options.
const CONTROL: [&str; 5] = ["delete", "digest", "node", "vmid", "vnet"];

pub(super) fn show(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let (entries, _) = with_digest([&read(call, &empty)?.options]);
    Ok(entries.into_iter().next().map_or_else(|| json!({}), Value::Object).into())
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let (_, digest) = with_digest([&read(call, &empty)?.options]);
    call.unmodified(&digest)?;
    let less = call.list("delete");
    let more: Vec<(String, Value)> = call
        .parameters
        .iter()
        .filter(|(key, value)| !CONTROL.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let options = &mut write(call)?.options;
    for key in less {
        options.remove(&key);
    }
    options.extend(more);
    Ok(Success::default())
}
