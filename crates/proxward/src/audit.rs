//! `proxward log`, and the log on stderr.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::json;
use telemetry::Clock;
use telemetry::audit::{Expected, Head, Key, Verdict, verify, verify_keyed};
use telemetry::log;

use crate::cli::{Format, Log, LogAction, LogOptions};
use crate::exit::{Exit, Stop, file_fault};
use crate::output::result;
use crate::place;

pub(crate) fn run(arguments: &Log) -> Result<(), Stop> {
    let LogAction::Verify { file, head, after, key_file, head_file, format } = &arguments.action;
    let kept = head_file.as_deref().map(|path| place::read_text(path, HEAD_FILE)).transpose()?;
    let head = head.as_deref().or(kept.as_deref().map(str::trim));
    let expected = Expected {
        after: parse_head("--after", after.as_deref())?.unwrap_or(Head::START),
        head: parse_head("--head", head)?,
    };
    let key = key_file.as_deref().map(read_key).transpose()?;
    let opened = File::open(file).map_err(|error| file_fault(file, &error))?;
    let reader = BufReader::new(opened);
    let verdict = match &key {
        Some(key) => verify_keyed(reader, &expected, key),
        None => verify(reader, &expected),
    };
    let verdict = verdict.map_err(|error| file_fault(file, &error))?;
    show(file, &verdict, *format)
}

/// The process's log, in the form and at the level that was asked for.
pub(crate) fn start_log(options: &LogOptions, clock: &Clock) -> Result<(), Stop> {
    let format = match options.log_format {
        Format::Text => log::Format::Text,
        Format::Json => log::Format::Json,
    };
    let options = log::Options { format, filter: options.filter.clone(), clock: clock.clone() };
    log::init(&options).map_err(Stop::usage)
}

/// Longest file with a head, and with a key.
const HEAD_FILE: u64 = 4096;
const KEY_FILE: usize = 4096;

fn read_key(path: &Path) -> Result<Key, Stop> {
    let bytes = secrets::private_file::read(path, KEY_FILE).map_err(Stop::usage)?;
    Key::new(bytes.expose()).map_err(Stop::usage)
}

fn parse_head(flag: &str, text: Option<&str>) -> Result<Option<Head>, Stop> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error| Stop::say(Exit::Usage, format!("{flag}: {error}")))
}

/// An intact log is exit code 0, a broken one 1.
fn show(file: &Path, verdict: &Verdict, format: Format) -> Result<(), Stop> {
    match (verdict, format) {
        (Verdict::Intact { records, head }, Format::Text) => {
            result(&format!("{}: intact, {records} records, head {head}", file.display()));
        }
        (Verdict::Intact { records, head }, Format::Json) => {
            let head = head.to_string();
            result(&json!({ "intact": true, "records": records, "head": head }).to_string());
        }
        (Verdict::Broken { line, reason }, Format::Json) => {
            let reason = reason.to_string();
            result(&json!({ "intact": false, "line": line, "reason": reason }).to_string());
        }
        (Verdict::Broken { .. }, Format::Text) => {}
    }
    match verdict {
        Verdict::Intact { .. } => Ok(()),
        Verdict::Broken { line, reason } => {
            Err(Stop::say(Exit::No, format!("{}:{line}: {reason}", file.display())))
        }
    }
}
