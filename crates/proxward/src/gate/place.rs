//! `proxward gate install` and `remove`.

use std::path::Path;

use ::gate::{InstallError, Outcome, Place, install, plan, remove};
use serde_json::json;

use crate::cli::{Format, Install};
use crate::exit::{Exit, Stop};
use crate::output::result;

/// Puts the gate in front of pveproxy.
pub(crate) fn put(arguments: &Install) -> Result<(), Stop> {
    let place = place(arguments);
    if arguments.dry_run {
        let steps = plan(&place);
        result(&match arguments.format {
            Format::Json => json!({"dry_run": true, "steps": steps}).to_string(),
            Format::Text => steps.join("\n"),
        });
        return Ok(());
    }
    let text = "the gate is in front of pveproxy, and answers";
    say(arguments, "installed", install(&place).map_err(fault)?, text);
    Ok(())
}

/// Gives pveproxy its port back.
pub(crate) fn take(arguments: &Install) -> Result<(), Stop> {
    if arguments.dry_run {
        let text = "stop the gate, give pveproxy its defaults back to the byte, restart it";
        result(&match arguments.format {
            Format::Json => json!({"dry_run": true, "steps": [text]}).to_string(),
            Format::Text => text.to_owned(),
        });
        return Ok(());
    }
    let text = "pveproxy has its port and its defaults back";
    say(arguments, "removed", remove(&place(arguments)).map_err(fault)?, text);
    Ok(())
}

fn place(arguments: &Install) -> Place {
    let root = arguments.root.clone().unwrap_or_else(|| Path::new("/").to_owned());
    Place { root, fallback: arguments.fallback }
}

fn say(arguments: &Install, word: &str, outcome: Outcome, text: &str) {
    let changed = outcome == Outcome::Done;
    result(&match arguments.format {
        Format::Json => json!({word: true, "changed": changed}).to_string(),
        Format::Text if changed => text.to_owned(),
        Format::Text => format!("{text}; nothing had to change"),
    });
}

fn fault(error: InstallError) -> Stop {
    let exit = match &error {
        InstallError::File { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Exit::Denied
        }
        InstallError::Silent(_) => Exit::Unreachable,
        InstallError::Command { .. } | InstallError::Undo { .. } => Exit::No,
        _ => Exit::Usage,
    };
    Stop::new(exit, error)
}
