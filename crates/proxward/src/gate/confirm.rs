//! `proxward gate confirm`.

use ::gate::control::Request;
use clap::Args;
use serde_json::Value;

use super::bans::ask;
use crate::cli::{Format, RunningGate};
use crate::exit::{Exit, Stop};
use crate::output::result;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward gate confirm 3f2a9c41 \
    --state /var/lib/proxward/gate\n\n\
    A change of the policy is taken back after 60 seconds unless it is confirmed. This is done \
    only when somebody with a session or a ticket was seen to get through the new rules, over a \
    connection made after the change.")]
pub(crate) struct Confirm {
    /// Id of the change, from the log; without it, what waits is shown
    pub(crate) id: Option<String>,
    #[command(flatten)]
    pub(crate) gate: RunningGate,
}

pub(crate) fn run(arguments: &Confirm) -> Result<(), Stop> {
    let answer = match &arguments.id {
        Some(id) => ask(&arguments.gate, &Request::PolicyConfirm { id: id.clone() })?,
        None => ask(&arguments.gate, &Request::PolicyStatus)?,
    };
    let waits = answer.get("on_trial").filter(|trial| !trial.is_null());
    result(&match (arguments.gate.format, &arguments.id) {
        (Format::Json, _) => answer.to_string(),
        (Format::Text, Some(id)) => format!("{id}: confirmed, {}", seen(answer.get("seen"))),
        (Format::Text, None) => waits.map_or_else(|| "no change waits".to_owned(), waiting),
    });
    // A script can wait for the end of a trial by this.
    let missing = arguments.id.is_none() && waits.is_none();
    if missing { Err(Stop::status(Exit::No as u8)) } else { Ok(()) }
}

fn waiting(trial: &Value) -> String {
    let id = trial.get("id").and_then(Value::as_str).unwrap_or_default();
    let left = trial.get("seconds").and_then(Value::as_u64).unwrap_or_default();
    format!("{id}: taken back in {left} s; {}", seen(trial.get("seen")))
}

fn seen(seen: Option<&Value>) -> String {
    let text = |key: &str| seen?.get(key)?.as_str().map(str::to_owned);
    match (text("user"), text("client")) {
        (Some(user), Some(client)) => format!("{user:?} got through from {client}"),
        _ => "nobody was seen to get through yet".to_owned(),
    }
}
