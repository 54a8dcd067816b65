//! `/cluster/log`.

use pve_schema::Verb;
use serde_json::json;

use super::{Call, Row};
use crate::failure::Outcome;

/// Entries without `max`, as pmxcfs has it.
const DEFAULT_MOST: u64 = 50;

pub(super) const ROWS: &[Row] = &[(Verb::Get, "/cluster/log", list)];

/// Newest first; without `Sys.Syslog` on `/` only what the caller did.
fn list(call: &mut Call<'_>) -> Outcome {
    let most = call.number("max").filter(|most| *most > 0).unwrap_or(DEFAULT_MOST);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let user = call.caller.id().to_owned();
    let own = (!call.may("/", &["Sys.Syslog"])).then_some(user.as_str());
    Ok(json!(call.state.log.list(own, most)).into())
}
