//! `/cluster/notifications`: what all kinds of endpoints have in common. Nothing is sent.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::state::Fields;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/notifications/targets", targets),
    (Verb::Post, "/cluster/notifications/targets/{name}/test", test),
    (Verb::Get, "/cluster/notifications/matcher-fields", fields),
    (Verb::Get, "/cluster/notifications/matcher-field-values", values),
];

const ENDPOINTS: [&str; 4] = ["gotify", "sendmail", "smtp", "webhook"];
/// What a message can be about.
const FIELDS: [&str; 3] = ["hostname", "job-id", "type"];
const TYPES: [&str; 6] =
    ["fencing", "package-updates", "replication", "system-mail", "vzdump", "test"];

/// All endpoints with their kinds, by name.
fn all<'c>(call: &'c Call<'_>) -> Vec<(&'c String, &'static str, &'c Fields)> {
    let of_kind = |kind: &'static str| {
        let path = format!("/cluster/notifications/endpoints/{kind}");
        let endpoints: Vec<_> = call.state.objects.list(&path).collect();
        endpoints.into_iter().map(move |(name, fields)| (name, kind, fields))
    };
    let mut found: Vec<_> = ENDPOINTS.into_iter().flat_map(of_kind).collect();
    found.sort_by_key(|(name, ..)| *name);
    found
}

fn targets(call: &mut Call<'_>) -> Outcome {
    let rows = all(call).into_iter().map(|(name, kind, fields)| {
        let mut row = json!({ "name": name, "type": kind, "origin": "user-created" });
        for key in ["comment", "disable", "origin"] {
            crate::object::set_some(&mut row, key, fields.get(key).cloned());
        }
        row
    });
    Ok(rows.collect::<Value>().into())
}

fn test(call: &mut Call<'_>) -> Outcome {
    let wanted = call.required("name");
    match all(call).iter().any(|(name, ..)| **name == wanted) {
        true => Ok(Success::default()),
        false => Err(Failure::die(format!("target '{wanted}' does not exist"))),
    }
}

fn fields(_call: &mut Call<'_>) -> Outcome {
    Ok(FIELDS.iter().map(|name| json!({ "name": name })).collect::<Value>().into())
}

/// Nodes, backup jobs, and kinds of messages.
fn values(call: &mut Call<'_>) -> Outcome {
    let row = |field: &str, value: &str| json!({ "field": field, "value": value });
    let mut rows: Vec<Value> = TYPES.iter().map(|kind| row("type", kind)).collect();
    rows.extend(call.state.nodes.keys().map(|node| row("hostname", node)));
    let jobs = call.state.objects.list("/cluster/backup");
    rows.extend(jobs.map(|(id, _)| row("job-id", id)));
    Ok(Value::Array(rows).into())
}
