//! A file of rules: which keys there are and what they may hold.

use std::time::Duration;

use pve_schema::Verb;

use super::effect::{Delivery, Effect, Lock, Span};
use super::pattern::Pattern;
use super::wording::reason;
use super::{Faults, Rule};
use crate::document::{Field, FileError, Table, Value};
use crate::limits::{FAULT_ANSWER_BYTES, FAULT_LATENCY, FAULT_RULES, FAULT_TEXT};

/// What a guest can be locked by (`lock` in the configuration of machines and containers).
const GUEST_LOCKS: [&str; 15] = [
    "backup",
    "clone",
    "create",
    "destroyed",
    "disk",
    "fstrim",
    "migrate",
    "mounted",
    "rollback",
    "snapshot",
    "snapshot-delete",
    "suspended",
    "suspending",
    "file",
    "cluster",
];
/// Units of times, in milliseconds; the longer names first, since `ms` ends in `s`.
const UNITS: [(&str, u64); 3] = [("ms", 1), ("s", 1000), ("m", 60_000)];

pub(super) fn faults(mut file: Table) -> Result<Faults, FileError> {
    let seed = file.take("seed").map(|field| field.number(0, u64::MAX)).transpose()?;
    let rules = file.tables("rules")?;
    if let Some(over) = rules.get(FAULT_RULES) {
        let what = format!("more than {FAULT_RULES} rules");
        return Err(over.place().refused(what, "join some with * or **"));
    }
    file.finish()?;
    let rules = rules.into_iter().map(rule).collect::<Result<_, _>>()?;
    Ok(Faults { seed: seed.unwrap_or(0), rules })
}

fn rule(mut table: Table) -> Result<Rule, FileError> {
    let place = table.place().clone();
    let verbs = table.take("verb").map(verbs).transpose()?.unwrap_or_default();
    let path = table.required("path")?;
    let text = path.text()?;
    let path = Pattern::parse(&text)
        .map_err(|why| path.place.refused(why, "write /nodes/{node}/qemu, /cluster/* or /**"))?;
    let user = table.text("user")?;
    let probability = table.take("probability").map(|field| share(&field)).transpose()?;
    let number = |table: &mut Table, key, least| {
        table.take(key).map(|field| field.number(least, u64::MAX)).transpose()
    };
    let after = number(&mut table, "after", 0)?.unwrap_or(0);
    let times = number(&mut table, "times", 1)?;
    let latency = table.take("latency").map(span).transpose()?;
    let effect = effect(&mut table)?;
    table.finish()?;
    if latency.is_none() && effect == Effect::Nothing {
        let remedy = "add latency, status, lock, task, drop, cut or slow";
        return Err(place.refused("a rule without an effect", remedy));
    }
    let probability = probability.unwrap_or(1.0);
    Ok(Rule { place, verbs, path, user, probability, after, times, latency, effect })
}

fn verbs(field: Field) -> Result<Vec<Verb>, FileError> {
    let verb = |(place, text): (crate::document::Place, String)| {
        Verb::from_http(&text.to_ascii_uppercase()).ok_or_else(|| {
            place.refused(format!("no verb: {text}"), "use GET, POST, PUT or DELETE")
        })
    };
    field.texts()?.into_iter().map(verb).collect()
}

fn share(field: &Field) -> Result<f64, FileError> {
    let share = match field.value {
        Value::Float(share) => share,
        Value::Integer(0) => 0.0,
        Value::Integer(1) => 1.0,
        _ => f64::NAN,
    };
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(field.expected("a number from 0 to 1", "0.1 is one call in ten"))
}

/// At most one; the first of the table that is given decides, a second one is an unknown key.
fn effect(table: &mut Table) -> Result<Effect, FileError> {
    let mut found: Vec<(Field, Effect)> = Vec::new();
    if let Some(field) = table.take("status") {
        let effect = status(&field, table.take("reason"))?;
        found.push((field, effect));
    }
    type Reader = fn(&Field) -> Result<Effect, FileError>;
    let readers: [(&'static str, Reader); 5] =
        [("lock", lock), ("task", task), ("drop", dropped), ("cut", cut), ("slow", slow)];
    for (key, read) in readers {
        if let Some(field) = table.take(key) {
            let effect = read(&field)?;
            found.push((field, effect));
        }
    }
    if let Some((second, _)) = found.get(1) {
        let remedy = "keep one; latency alone goes with each";
        return Err(second.place.refused("a second effect in one rule", remedy));
    }
    Ok(found.pop().map_or(Effect::Nothing, |(_, effect)| effect))
}

fn status(field: &Field, given: Option<Field>) -> Result<Effect, FileError> {
    let code = field.number(500, 599)?;
    let code = u16::try_from(code).unwrap_or(500);
    let reason = match given {
        Some(reason) => line(&reason)?,
        None => match reason(code) {
            Some(reason) => reason.to_owned(),
            None => {
                let what = format!("no known words for {code}");
                return Err(field.place.refused(what, "add reason = \"…\""));
            }
        },
    };
    Ok(Effect::Status { code, reason })
}

fn lock(field: &Field) -> Result<Effect, FileError> {
    let word = field.text()?;
    Ok(Effect::Lock(match word.as_str() {
        "file" => Lock::File,
        "cluster" => Lock::Cluster,
        known if GUEST_LOCKS.contains(&known) => Lock::Guest(word),
        _ => {
            let remedy = format!("use one of: {}", GUEST_LOCKS.join(", "));
            return Err(field.place.refused(format!("no lock: {word}"), remedy));
        }
    }))
}

fn task(field: &Field) -> Result<Effect, FileError> {
    let text = line(field)?;
    if text == "OK" {
        return Err(field.place.refused("OK is success", "write the text of an error"));
    }
    Ok(Effect::Task(text))
}

/// A text for a status line or a task's end.
fn line(field: &Field) -> Result<String, FileError> {
    let text = field.text()?;
    if text.is_empty() || text.len() > FAULT_TEXT || text.contains(char::is_control) {
        let what = format!("expected one line of 1 to {FAULT_TEXT} bytes");
        return Err(field.place.refused(what, "change the text"));
    }
    Ok(text)
}

fn dropped(field: &Field) -> Result<Effect, FileError> {
    match &field.value {
        Value::Text(word) if word == "request" => Ok(Effect::DropRequest),
        Value::Text(word) if word == "answer" => Ok(Effect::Answer(Delivery::Drop { bytes: 0 })),
        Value::Integer(_) => Ok(Effect::Answer(Delivery::Drop { bytes: bytes(field, 0)? })),
        _ => {
            let what = "\"request\", \"answer\" or a number of bytes";
            Err(field.expected(what, "request: the call does not happen; answer: it does"))
        }
    }
}

fn cut(field: &Field) -> Result<Effect, FileError> {
    Ok(Effect::Answer(Delivery::Cut { bytes: bytes(field, 0)? }))
}

fn slow(field: &Field) -> Result<Effect, FileError> {
    let mut table = field.clone().table()?;
    let size = bytes(&table.required("bytes")?, 1)?;
    let every = time(&table.required("every")?)?;
    table.finish()?;
    Ok(Effect::Answer(Delivery::Slow { bytes: size, every }))
}

fn bytes(field: &Field, least: u64) -> Result<usize, FileError> {
    Ok(usize::try_from(field.number(least, FAULT_ANSWER_BYTES)?).unwrap_or(usize::MAX))
}

/// `"250ms"`, or `{ min = "100ms", max = "2s" }`.
fn span(field: Field) -> Result<Span, FileError> {
    if !matches!(field.value, Value::Table(_)) {
        let time = time(&field)?;
        return Ok(Span { least: time, most: time });
    }
    let place = field.place.clone();
    let mut table = field.table()?;
    let (least, most) = (time(&table.required("min")?)?, time(&table.required("max")?)?);
    table.finish()?;
    if most < least {
        return Err(place.refused("max is less than min", "exchange them"));
    }
    Ok(Span { least, most })
}

fn time(field: &Field) -> Result<Duration, FileError> {
    let text = field.text()?;
    let read = UNITS.iter().find_map(|(unit, millis)| {
        let count: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(Duration::from_millis(count.checked_mul(*millis)?))
    });
    match read {
        Some(time) if time <= FAULT_LATENCY => Ok(time),
        Some(_) => {
            let what = format!("longer than {} s", FAULT_LATENCY.as_secs());
            Err(field.place.refused(what, "clients have given up long before"))
        }
        None => Err(field.place.refused("no time", "write \"250ms\", \"2s\" or \"1m\"")),
    }
}
