//! `/pools`.

use pve_schema::Verb;
use serde_json::json;

use super::{Call, Row};
use crate::failure::Outcome;
use crate::object::set_some;

pub(super) const ROWS: &[Row] = &[(Verb::Get, "/pools", list)];

fn list(call: &mut Call<'_>) -> Outcome {
    let mut pools = Vec::new();
    for (name, pool) in &call.state.accounts.config().pools {
        if !call.may(&format!("/pool/{name}"), &["Pool.Audit"]) {
            continue;
        }
        let mut entry = json!({ "poolid": name });
        set_some(&mut entry, "comment", pool.comment.clone());
        pools.push(entry);
    }
    Ok(json!(pools).into())
}
