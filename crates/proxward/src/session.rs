//! `proxward session`.

use ::gate::control::Request;
use serde_json::Value;

use crate::cli::{Format, Session, SessionAction};
use crate::exit::Stop;
use crate::gate::bans::ask;
use crate::output::result;

pub(crate) fn run(arguments: &Session) -> Result<(), Stop> {
    match &arguments.action {
        SessionAction::List { user, gate } => {
            let answer = ask(gate, &Request::SessionList { user: user.clone() })?;
            result(&match gate.format {
                Format::Json => answer.to_string(),
                Format::Text => table(&answer),
            });
        }
        SessionAction::Revoke { id, user, all, gate } => {
            let request = Request::SessionRevoke { id: id.clone(), user: user.clone(), all: *all };
            let answer = ask(gate, &request)?;
            let count = answer.get("revoked").and_then(Value::as_u64).unwrap_or_default();
            result(&match gate.format {
                Format::Json => answer.to_string(),
                Format::Text => format!("{count} ended"),
            });
        }
    }
    Ok(())
}

fn table(answer: &Value) -> String {
    let rows = answer.get("sessions").and_then(Value::as_array).cloned().unwrap_or_default();
    if rows.is_empty() {
        return "no session".to_owned();
    }
    let lines = rows.iter().map(|row| {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
        let minutes = number("ends").saturating_sub(number("used")) / 60;
        format!(
            "{}  {:7}  {:15}  {:?}  ends in {minutes} min without use",
            text("id"),
            text("kind"),
            text("client"),
            text("user"),
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}
