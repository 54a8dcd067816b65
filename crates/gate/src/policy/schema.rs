//! Calls that the schema of Proxmox VE does not know, refused in its own words.
//!
//! The schema ships with the program and is loaded by the first call that is judged by it.

use pve_schema::{Errors, Params as Values, Schema, Verb};
use serde_json::{Value, json};

use super::pattern::Segments;
use crate::login::Params;
use crate::route::Format;

/// What is wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// No such path, or not with this method.
    NoMethod(String),
    /// Parameter to what is wrong with it.
    Parameters(Errors),
}

/// An answer as pveproxy would give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) body: String,
}

/// Checks a call below the format. Without parameters, method and path alone: those of an upload
/// are in a body that is not read.
pub(crate) fn check(
    schema: &'static Schema,
    (method, path): (Verb, &Segments<'_>),
    params: Option<&Params>,
) -> Result<(), Unfit> {
    let path = path.path();
    // The root lists what is below it, and stands in no document.
    if path == "/" && method == Verb::Get {
        return Ok(());
    }
    let unknown = || Unfit::NoMethod(format!("{method} {path}"));
    let found = schema.find(&path).ok_or_else(unknown)?;
    let known = found.method(method).ok_or_else(unknown)?;
    let Some(params) = params else { return Ok(()) };
    let mut values = values(params);
    for (name, value) in &found.variables {
        let value = Value::String(value.clone());
        if values.get(*name).is_some_and(|given| *given != value) {
            let text = "duplicate parameter (already defined in URI) with conflicting values!";
            let errors = Errors::from([((*name).to_owned(), text.to_owned())]);
            return Err(Unfit::Parameters(errors));
        }
        values.insert((*name).to_owned(), value);
    }
    known.check(&mut values).map_err(Unfit::Parameters)
}

/// A repeated name is a list.
fn values(params: &Params) -> Values {
    let mut values = Values::new();
    for (name, value) in params.iter() {
        let value = Value::String(String::from_utf8_lossy(value).into_owned());
        let entry = values.entry(String::from_utf8_lossy(name).into_owned());
        entry
            .and_modify(|have| match have {
                Value::Array(list) => list.push(value.clone()),
                one => *one = Value::Array(vec![one.take(), value.clone()]),
            })
            .or_insert(value);
    }
    values
}

impl Unfit {
    /// For the log.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::NoMethod(call) => format!("schema: no method {call}"),
            Self::Parameters(errors) => {
                let names: Vec<_> = errors.keys().map(String::as_str).collect();
                format!("schema: parameters {}", names.join(", "))
            }
        }
    }

    /// The answer in a format; the web interface's says the status in its body.
    pub(crate) fn answer(&self, format: Format) -> Answer {
        let (status, reason, mut body, shown) = match self {
            Self::NoMethod(call) => {
                let reason = format!("Method '{call}' not implemented");
                let body = json!({ "data": null, "message": reason });
                (501, reason, body, json!(501))
            }
            Self::Parameters(errors) => {
                let reason = "Parameter verification failed.".to_owned();
                let message = format!("{reason}\n");
                let body = json!({ "data": null, "errors": errors, "message": message });
                // PVE has printed the code of an exception before it encodes it.
                (400, reason, body, json!("400"))
            }
        };
        if !matches!(format, Format::Extjs | Format::Htmljs) {
            return Answer { status, reason, body: body.to_string() };
        }
        if let Some(body) = body.as_object_mut() {
            body.insert("status".to_owned(), shown);
            body.insert("success".to_owned(), json!(0));
        }
        Answer { status: 200, reason: "OK".to_owned(), body: body.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::{Kind, Shape};

    fn checked(method: Verb, path: &str, form: &str) -> Result<(), Unfit> {
        let params = Params::read((Kind::Form, Shape::CALL), form.as_bytes(), None).unwrap();
        let segments = Segments::of(path).unwrap();
        check(Schema::v9(), (method, &segments), Some(&params))
    }

    #[test]
    fn what_the_schema_knows_passes() {
        for (method, path, form) in [
            (Verb::Get, "/", ""),
            (Verb::Get, "//version/", ""),
            (Verb::Put, "/nodes/a/qemu/100/config", "memory=512&net0=virtio%2Cbridge%3Dvmbr0"),
            (Verb::Put, "/nodes/a/qemu/100/config", "vmid=100"),
            (Verb::Delete, "/nodes/a/storage/local/content/local:iso/x.iso", ""),
            (Verb::Post, "/nodes/a/qemu/100/agent/exec", "command=ls&command=-l"),
        ] {
            assert_eq!(checked(method, path, form), Ok(()), "{path} {form}");
        }
    }

    #[test]
    fn what_it_does_not_is_refused_as_there() {
        let call = checked(Verb::Get, "/nope", "").unwrap_err();
        assert_eq!(call.answer(Format::Json).reason, "Method 'GET /nope' not implemented");
        assert_eq!(
            call.answer(Format::Extjs).body,
            "{\"data\":null,\"message\":\"Method 'GET /nope' not implemented\",\"status\":501,\"success\":0}"
        );
        assert!(matches!(checked(Verb::Put, "/version", ""), Err(Unfit::NoMethod(_))));
        let config = "/nodes/a/qemu/100/config";
        let unfit = checked(Verb::Put, config, "memory=x&nope=1").unwrap_err();
        let answer = unfit.answer(Format::Json);
        assert_eq!(
            (answer.status, answer.reason.as_str()),
            (400, "Parameter verification failed.")
        );
        assert!(answer.body.contains("\"nope\":\"property is not defined in schema"), "{answer:?}");
        assert_eq!(unfit.text(), "schema: parameters memory, nope");
        assert_eq!(unfit.answer(Format::Extjs).status, 200);
        let other = checked(Verb::Put, config, "vmid=101").unwrap_err();
        assert!(other.answer(Format::Json).body.contains("conflicting values"));
    }
}
