//! Declared commands: the words are the configuration's, a request names one of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use broker_api::{Code, Refusal};
use process::{RunError, Spec};
use serde_json::{Map, Value, json};

use crate::config::{CommandSettings, Settings};

/// All a command finds in its environment.
const ENVIRONMENT: &[(&str, &str)] =
    &[("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8"), ("HOME", "/")];

/// The declared commands.
pub(crate) struct Commands(BTreeMap<String, CommandSettings>);

impl Commands {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self(settings.commands.clone())
    }

    pub(super) fn handle(&self, verb: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        if verb != "command.run" {
            return Err(super::handler::not_mine());
        }
        let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
        let declared = self
            .0
            .get(name)
            .and_then(|command| command.argv.split_first().map(|argv| (command, argv)));
        let Some((command, (program, arguments))) = declared else {
            let text = "no command of this name is declared in broker.commands";
            return Err(Refusal::new(Code::NotFound, text));
        };
        if params.get("plan").and_then(Value::as_bool) == Some(true) {
            return Ok(json!({"argv": command.argv, "time_ms": command.time_ms}));
        }
        let done = process::run(&Spec {
            program: Path::new(program),
            arguments,
            environment: ENVIRONMENT,
            output_bytes: command.output_bytes,
            time: Duration::from_millis(command.time_ms),
        });
        match done {
            Ok(done) => Ok(json!({
                "exit": done.status.code(), "how": done.how(),
                "stdout": String::from_utf8_lossy(&done.stdout),
                "stderr": String::from_utf8_lossy(&done.stderr),
                "took_ms": u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
            })),
            Err(error) => {
                let code = match error {
                    RunError::TimedOut { .. } => Code::HandlerTimeout,
                    RunError::TooLarge { .. } => Code::OutputTooLarge,
                    RunError::Start { .. } | RunError::Io { .. } => Code::Unavailable,
                };
                Err(Refusal::new(code, error.to_string()))
            }
        }
    }
}
