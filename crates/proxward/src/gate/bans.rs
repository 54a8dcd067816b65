//! `proxward gate bans`.

use ::gate::control::{self, CallError, Request, call};
use serde_json::Value;

use crate::cli::{Bans, BansAction, Format, RunningGate};
use crate::config;
use crate::exit::{Exit, Stop};
use crate::output::result;

pub(crate) fn run(arguments: &Bans) -> Result<(), Stop> {
    match &arguments.action {
        BansAction::List(gate) => {
            let answer = ask(gate, &Request::BanList)?;
            result(&match gate.format {
                Format::Json => answer.to_string(),
                Format::Text => table(&answer),
            });
        }
        BansAction::Remove { of, gate } => {
            let answer = ask(gate, &Request::BanRemove { of: of.clone() })?;
            result(&match gate.format {
                Format::Json => answer.to_string(),
                Format::Text => format!("{of}: neither banned nor locked any more"),
            });
        }
    }
    Ok(())
}

/// Asks the gate whose state lies where the option, or else the configuration, says.
pub(crate) fn ask(gate: &RunningGate, request: &Request) -> Result<Value, Stop> {
    let directory = match &gate.state {
        Some(directory) => directory.clone(),
        None => {
            let document = config::layers(gate.config.as_deref()).load().map_err(Stop::usage)?;
            let settings: ::gate::Settings = document.section("gate").map_err(Stop::usage)?;
            settings.directory().ok_or_else(|| {
                let text = "gate.state: not set; name the state directory of the gate with --state";
                Stop::say(Exit::Usage, text)
            })?
        }
    };
    call(&directory.join(control::SOCKET), request).map_err(|error| {
        let exit = match &error {
            CallError::Unreachable { cause, .. }
                if cause.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Exit::Denied
            }
            CallError::Unreachable { .. } | CallError::Silent { .. } => Exit::Unreachable,
            CallError::NotFound(_) | CallError::Refused(_) => Exit::No,
        };
        Stop::new(exit, error)
    })
}

fn table(answer: &Value) -> String {
    let rows = |key: &str| answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |row: &Value, key: &str| {
        row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut lines = Vec::new();
    for row in rows("bans") {
        let (address, until) = (text(&row, "address"), text(&row, "until_text"));
        lines.push(format!("banned  {address}  until {until}"));
    }
    for row in rows("locks") {
        let (address, until) = (text(&row, "address"), text(&row, "until_text"));
        lines.push(format!("locked  {address}  until {until}  user {}", text(&row, "user")));
    }
    if lines.is_empty() {
        return "nobody is banned or locked".to_owned();
    }
    lines.sort();
    lines.join("\n")
}
