//! The calls of the control API, as a table.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use telemetry::Rfc3339;

use super::error::ControlError;
use super::handle::Control;
use super::request::{Refusal, members};
use crate::document::{FileError, Form};
use crate::durable::Receipt;
use crate::faults::Faults;

/// What a call answers, when what it waits for is on the disk.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) receipt: Option<Receipt>,
}

type Handler = fn(&Control, &str, &[u8]) -> Result<Answer, Refusal>;

/// Method, path with `NAME` for a snapshot's name, what it does, members of its body, handler.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str], Handler);

#[rustfmt::skip]
const ROUTES: &[Row] = &[
    ("GET",    "/",                       "this list",                                &[], index),
    ("GET",    "/status",                 "version, counts, clock, size of the file", &[], status),
    ("GET",    "/snapshots",              "all snapshots",                            &[], list),
    ("PUT",    "/snapshots/NAME",         "takes a snapshot or replaces it",          &[], take),
    ("DELETE", "/snapshots/NAME",         "forgets a snapshot",                       &[], forget),
    ("POST",   "/snapshots/NAME/restore", "goes back to a snapshot; clock: true puts the clock back too", &["clock"], restore),
    ("POST",   "/reset",                  "goes back to the seed",                    &[], reset),
    ("GET",    "/clock",                  "the mock's time",                          &[], clock),
    ("PUT",    "/clock",                  "sets it (at: RFC 3339 or seconds since 1970), freezes it or lets it run", &["at", "frozen"], set_clock),
    ("POST",   "/clock/advance",          "moves it on",                              &["seconds"], advance),
    ("PUT",    "/faults",                 "puts the rules of a fault file in force, as JSON; {} ends all faults", &["seed", "rules"], set_faults),
    ("GET",    "/time-scale",             "what tasks and delays are stretched by",   &[], time_scale),
    ("PUT",    "/time-scale",             "sets it; 0 ends new tasks at once",        &["factor"], set_time_scale),
];

/// Runs the call.
pub(super) fn call(
    control: &Control,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let mut there = ROUTES.iter().filter_map(|row| Some((row, name_in(row.1, path)?))).peekable();
    if there.peek().is_none() {
        return Err((404, format!("there is no {path}; GET / lists what there is")));
    }
    let found = there.find(|(row, _)| row.0 == method);
    let Some(((.., known, handler), name)) = found else {
        return Err((405, format!("{method} is none of the methods of {path}; GET / lists them")));
    };
    members(body, known)?;
    handler(control, name, body)
}

/// The name that stands in a path of this form, empty when the form has none.
fn name_in<'p>(form: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = form.split_once("NAME") else {
        return (form == path).then_some("");
    };
    let name = path.strip_prefix(before)?.strip_suffix(after)?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

fn index(_: &Control, _: &str, _: &[u8]) -> Result<Answer, Refusal> {
    let rows = ROUTES.iter().map(|(method, path, does, members, _)| {
        json!({ "method": method, "path": path, "does": does, "members": members })
    });
    done(&rows.collect::<Vec<Value>>())
}

fn status(control: &Control, _: &str, _: &[u8]) -> Result<Answer, Refusal> {
    done(&control.status())
}

fn list(control: &Control, _: &str, _: &[u8]) -> Result<Answer, Refusal> {
    done(&control.snapshots())
}

fn take(control: &Control, name: &str, _: &[u8]) -> Result<Answer, Refusal> {
    done(&control.snapshot(name).map_err(refused)?)
}

fn forget(control: &Control, name: &str, _: &[u8]) -> Result<Answer, Refusal> {
    control.delete_snapshot(name).map_err(refused)?;
    done(&json!({}))
}

fn restore(control: &Control, name: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let with_clock = match members(body, &["clock"])?.get("clock") {
        None => false,
        Some(Value::Bool(with)) => *with,
        Some(_) => return Err((400, "clock is true or false".to_owned())),
    };
    let receipt = control.begin_restore(name, with_clock).map_err(refused)?;
    Ok(Answer { receipt, ..done(&json!({}))? })
}

fn reset(control: &Control, _: &str, _: &[u8]) -> Result<Answer, Refusal> {
    let receipt = control.begin_reset().map_err(refused)?;
    Ok(Answer { receipt, ..done(&json!({}))? })
}

fn clock(control: &Control, _: &str, _: &[u8]) -> Result<Answer, Refusal> {
    done(&control.clock_status())
}

fn set_clock(control: &Control, _: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let given = members(body, &["at", "frozen"])?;
    let at = match given.get("at") {
        None => None,
        Some(Value::String(text)) => {
            let time = text.parse::<Rfc3339>().map_err(|error| (400, format!("at: {error}")))?;
            Some(time.0)
        }
        Some(number) => Some(seconds("at", number)?),
    };
    let frozen = match given.get("frozen") {
        None => None,
        Some(Value::Bool(frozen)) => Some(*frozen),
        Some(_) => return Err((400, "frozen is true or false".to_owned())),
    };
    if at.is_none() && frozen.is_none() {
        return Err((400, "give at, frozen, or both".to_owned()));
    }
    if let Some(at) = at {
        control.set_clock(at).map_err(refused)?;
    }
    if let Some(frozen) = frozen {
        control.freeze(frozen).map_err(refused)?;
    }
    clock(control, "", &[])
}

fn advance(control: &Control, _: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let given = members(body, &["seconds"])?;
    let by = seconds("seconds", given.get("seconds").unwrap_or(&Value::Null))?;
    control.advance(by).map_err(refused)?;
    clock(control, "", &[])
}

fn set_faults(control: &Control, _: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let wrong = |error: FileError| (400, error.to_string());
    let text = std::str::from_utf8(body).map_err(|error| (400, error.to_string()))?;
    let faults = Faults::parse("faults", text, Form::Json).map_err(wrong)?;
    let rules = faults.len();
    control.set_faults(faults).map_err(wrong)?;
    done(&json!({ "rules": rules }))
}

fn time_scale(control: &Control, _: &str, _: &[u8]) -> Result<Answer, Refusal> {
    done(&json!({ "factor": control.time_scale() }))
}

fn set_time_scale(control: &Control, _: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let given = members(body, &["factor"])?;
    let factor = given.get("factor").and_then(Value::as_f64).unwrap_or(f64::NAN);
    control.set_time_scale(factor).map_err(refused)?;
    time_scale(control, "", &[])
}

fn seconds(name: &str, value: &Value) -> Result<Duration, Refusal> {
    let seconds = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| (400, format!("{name} is a number of seconds from 0 on")))
}

fn done(value: &impl Serialize) -> Result<Answer, Refusal> {
    let value = serde_json::to_value(value).map_err(|error| (500, error.to_string()))?;
    Ok(Answer { value, receipt: None })
}

#[expect(clippy::needless_pass_by_value, reason = "ends a map_err")]
fn refused(error: ControlError) -> Refusal {
    (error.status(), error.to_string())
}
