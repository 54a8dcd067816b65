//! `proxward token` and `proxward step-up`: secrets that a running gate keeps.

use std::path::PathBuf;
use std::time::Duration;

use ::gate::control::{Hidden, Request};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::api::secret;
use crate::cli::{Format, RunningGate};
use crate::exit::Stop;
use crate::gate::bans::ask;
use crate::output::result;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward token create ci --token-file api-token \
    --network 192.0.2.0/24 --method GET --path '/nodes/**' --expires 90d \
    --state /var/lib/proxward/gate\n\n\
    A client sends Authorization: PVEAPIToken=proxward@gate!NAME=VALUE, as with any API token.")]
pub(crate) struct Token {
    #[command(subcommand)]
    action: TokenAction,
}

#[derive(Debug, Subcommand)]
enum TokenAction {
    /// Makes a token; its value is shown this once
    Create {
        /// Letters, digits, dot, underscore, dash
        name: String,
        /// File with the API token behind it, user@realm!name=SECRET, `-` for stdin
        #[arg(long, value_name = "FILE")]
        token_file: PathBuf,
        /// Network or address of clients, as often as needed; without it, all
        #[arg(long, value_name = "NETWORK")]
        network: Vec<String>,
        /// Method, as often as needed; without it, all
        #[arg(long, value_name = "METHOD")]
        method: Vec<String>,
        /// Path as in a rule, as often as needed; without it, all
        #[arg(long, value_name = "PATTERN")]
        path: Vec<String>,
        /// When it ends, from now: 12h, 90d; without it, never
        #[arg(long, value_name = "TIME", value_parser = span)]
        expires: Option<Duration>,
        #[command(flatten)]
        gate: RunningGate,
    },
    /// Lists tokens, without their values
    List(RunningGate),
    /// Ends a token at once
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        gate: RunningGate,
    },
    /// Gives a token another value; the one before stays good for a while
    Rotate {
        /// Its name
        name: String,
        /// For how long: 30m, 12h, 7d
        #[arg(long, value_name = "TIME", value_parser = span, default_value = "1h")]
        overlap: Duration,
        #[command(flatten)]
        gate: RunningGate,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward step-up enroll alice@pve \
    --state /var/lib/proxward/gate")]
pub(crate) struct StepUp {
    #[command(subcommand)]
    action: StepUpAction,
}

#[derive(Debug, Subcommand)]
enum StepUpAction {
    /// Sets up codes for a user; the address for the user's app is shown this once
    Enroll {
        /// name@realm
        user: String,
        #[command(flatten)]
        gate: RunningGate,
    },
    /// Lists users with codes
    List(RunningGate),
    /// Forgets a user's secret
    Remove {
        /// name@realm
        user: String,
        #[command(flatten)]
        gate: RunningGate,
    },
}

pub(crate) fn run(arguments: Token) -> Result<(), Stop> {
    match arguments.action {
        TokenAction::Create { name, token_file, network, method, path, expires, gate } => {
            let token = secret(&token_file)?;
            let request = Request::TokenCreate {
                name,
                token: Hidden::new(token.expose()),
                networks: network,
                methods: method,
                paths: path,
                expires_in: expires.map(|expires| expires.as_secs()),
            };
            say(&gate, &request, |answer| text(answer, "value"))
        }
        TokenAction::List(gate) => say(&gate, &Request::TokenList, tokens),
        TokenAction::Revoke { name, gate } => {
            let done = format!("{name}: revoked");
            say(&gate, &Request::TokenRevoke { name }, |_| done.clone())
        }
        TokenAction::Rotate { name, overlap, gate } => {
            let request = Request::TokenRotate { name, overlap: overlap.as_secs() };
            say(&gate, &request, |answer| text(answer, "value"))
        }
    }
}

pub(crate) fn step_up(arguments: StepUp) -> Result<(), Stop> {
    match arguments.action {
        StepUpAction::Enroll { user, gate } => {
            say(&gate, &Request::StepUpEnroll { user }, |answer| text(answer, "uri"))
        }
        StepUpAction::List(gate) => say(&gate, &Request::StepUpList, |answer| {
            let users = answer.get("users").and_then(Value::as_array).cloned().unwrap_or_default();
            let users: Vec<_> = users.iter().filter_map(Value::as_str).collect();
            if users.is_empty() { "nobody".to_owned() } else { users.join("\n") }
        }),
        StepUpAction::Remove { user, gate } => {
            let done = format!("{user}: no codes any more");
            say(&gate, &Request::StepUpRemove { user }, |_| done.clone())
        }
    }
}

fn say(
    gate: &RunningGate,
    request: &Request,
    shown: impl Fn(&Value) -> String,
) -> Result<(), Stop> {
    let answer = ask(gate, request)?;
    result(&match gate.format {
        Format::Json => answer.to_string(),
        Format::Text => shown(&answer),
    });
    Ok(())
}

fn text(answer: &Value, member: &str) -> String {
    answer.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn tokens(answer: &Value) -> String {
    let rows = answer.get("tokens").and_then(Value::as_array).cloned().unwrap_or_default();
    if rows.is_empty() {
        return "no token".to_owned();
    }
    let list = |row: &Value, member: &str| {
        let words = row.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
        let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
        if words.is_empty() { "all".to_owned() } else { words.join(",") }
    };
    let line = |row: &Value| {
        let ends = row.get("expires").and_then(Value::as_u64);
        format!(
            "{}  behind it {}  networks {}  methods {}  paths {}  ends {}",
            text(row, "name"),
            text(row, "behind"),
            list(row, "networks"),
            list(row, "methods"),
            list(row, "paths"),
            ends.map_or_else(|| "never".to_owned(), |ends| ends.to_string()),
        )
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `30m`, `12h`, `90d`, or seconds.
fn span(text: &str) -> Result<Duration, String> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(*unit));
    let (digits, factor) = unit
        .map_or((text, 1), |(unit, factor)| (text.strip_suffix(*unit).unwrap_or(text), *factor));
    let number: Option<u64> = digits.parse().ok();
    let seconds = number.and_then(|number| number.checked_mul(factor));
    let wrong = || "write a time such as 30m, 12h or 90d".to_owned();
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::span;
    use std::time::Duration;

    #[test]
    fn times() {
        assert_eq!(span("90d"), Ok(Duration::from_secs(90 * 86400)));
        assert_eq!(span("15"), Ok(Duration::from_secs(15)));
        for bad in ["", "d", "1w", "-1h", "99999999999999999999d"] {
            span(bad).unwrap_err();
        }
    }
}
