//! The output formats of `PVE::APIServer::Formatter`: one call, several envelopes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::data::Data;
use crate::failure::{Outcome, Success};
use crate::wire::{Disposition, Payload, Response};

/// A format named in the path: `/api2/<format>/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    /// Always status 200; `success`, `status` and `message` stand in the body.
    ExtJs,
    /// `extjs` with HTML entities, for form posts in a frame.
    HtmlJs,
    /// A page for people.
    Html,
    /// `[virt-viewer]` lines.
    SpiceConfig,
    /// The `data` text as an image.
    Png,
}

const FORMATS: [(&str, Format); 6] = [
    ("json", Format::Json),
    ("extjs", Format::ExtJs),
    ("htmljs", Format::HtmlJs),
    ("html", Format::Html),
    ("spiceconfig", Format::SpiceConfig),
    ("png", Format::Png),
];

const JSON_TYPE: &str = "application/json;charset=UTF-8";
const HTML_TYPE: &str = "text/html;charset=UTF-8";

/// What is around `data`. Members stand in the order of their names.
#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<String>,
    data: Data,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
}

impl Envelope<'_> {
    fn of(data: Data) -> Self {
        Self {
            changes: None,
            data,
            errors: None,
            message: None,
            status: None,
            success: None,
            total: None,
        }
    }

    fn json(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.data.written_bytes() + 256);
        // Neither a vector nor these members can fail.
        let _ = serde_json::to_writer(&mut text, self);
        text
    }
}

impl Format {
    pub(crate) fn named(name: &str) -> Option<Self> {
        FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    /// The answer to a finished call.
    pub(crate) fn render(self, path: &str, outcome: Outcome) -> Response {
        match outcome {
            Ok(Success { download: Some(download), .. }) => {
                let body = download.text.into_bytes();
                let payload = Payload { content_type: "text/plain", body };
                let disposition = format!("attachment; filename=\"{}\"", download.name);
                let disposition = Some(Box::new(Disposition(disposition)));
                Response { disposition, ..Response::with(200, "OK", payload) }
            }
            Ok(success) => {
                let envelope = Envelope {
                    success: self.is_ext().then_some(1),
                    total: success.total.filter(|total| *total > 0),
                    changes: success.changes,
                    ..Envelope::of(success.data)
                };
                self.response(200, "OK", path, &envelope)
            }
            Err(failure) => {
                let (status, shown) = (failure.status(), failure.shown_status());
                self.failed(path, status, failure.message(), shown, failure.errors())
            }
        }
    }

    /// The answer when no method stands at this path: its message has no line break.
    pub(crate) fn not_implemented(self, path: &str, method: &str) -> Response {
        let message = format!("Method '{method} {path}' not implemented");
        self.failed(path, 501, &message, json!(501), None)
    }

    fn failed(
        self,
        path: &str,
        status: u16,
        message: &str,
        shown: Value,
        errors: Option<&BTreeMap<String, String>>,
    ) -> Response {
        let envelope =
            Envelope { errors, message: Some(message), ..Envelope::of(Data::Value(Value::Null)) };
        if !self.is_ext() {
            return self.response(status, message, path, &envelope);
        }
        let envelope = Envelope { status: Some(shown), success: Some(0), ..envelope };
        self.response(200, "OK", path, &envelope)
    }

    fn is_ext(self) -> bool {
        matches!(self, Self::ExtJs | Self::HtmlJs)
    }

    fn response(self, status: u16, reason: &str, path: &str, envelope: &Envelope<'_>) -> Response {
        let data = envelope.data.value();
        let (content_type, body) = match self {
            Self::Json | Self::ExtJs => (JSON_TYPE, envelope.json()),
            Self::HtmlJs => {
                (HTML_TYPE, entities(&String::from_utf8_lossy(&envelope.json())).into_bytes())
            }
            Self::Html => (HTML_TYPE, page(path, reason, envelope).into_bytes()),
            Self::SpiceConfig => {
                ("application/x-virt-viewer;charset=UTF-8", spice(data).into_bytes())
            }
            Self::Png => ("image/png", data.as_str().unwrap_or_default().into()),
        };
        Response::with(status, reason, Payload { content_type, body })
    }
}

/// The redirect that meets a browser without a ticket on an `html` path.
pub(crate) fn html_login_redirect() -> Response {
    Response {
        location: Some("/api2/html/access/ticket".into()),
        delayed: true,
        ..Response::bare(301, "Moved")
    }
}

fn spice(data: &Value) -> String {
    let lines = data.as_object().into_iter().flatten().filter_map(|(name, value)| {
        let value = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(format!("{name}={value}\n"))
    });
    "[virt-viewer]\n".to_owned() + &lines.collect::<String>()
}

fn page(path: &str, reason: &str, envelope: &Envelope<'_>) -> String {
    // By way of a value, because text that is written already would keep its one line.
    let shown = serde_json::to_value(envelope);
    let shown = shown.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_default();
    format!(
        "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><title>{path}</title></head>\n\
         <body>\n<h1>{path}</h1>\n<p>{reason}</p>\n<pre>{body}</pre>\n</body>\n</html>\n",
        path = entities(path),
        reason = entities(reason.trim_end()),
        body = entities(&shown),
    )
}

fn entities(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `[{"<key>": child}, …]`, the shape of every index answer.
pub(crate) fn index<'n>(key: &str, names: impl IntoIterator<Item = &'n str>) -> Value {
    let entry = |name: &str| Value::Object(Map::from_iter([(key.to_owned(), json!(name))]));
    Value::Array(names.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn body(response: &Response) -> Value {
        serde_json::from_slice(&response.body).unwrap()
    }

    #[test]
    fn extjs_hides_the_status_and_tells_exceptions_from_deaths() {
        let denied = Format::ExtJs.render("/x", Err(Failure::permission("/nodes, Sys.Audit")));
        assert_eq!(denied.status, 200);
        assert_eq!(body(&denied)["status"], json!("403"));
        let died = Format::ExtJs.render("/x", Err(Failure::die("no")));
        assert_eq!(
            body(&died),
            json!({"data": null, "message": "no\n", "status": 500, "success": 0})
        );
    }

    #[test]
    fn json_keeps_status_message_and_errors() {
        let wrong = Format::Json.render("/x", Err(Failure::parameter("a", "bad")));
        assert_eq!((wrong.status, &*wrong.reason), (400, "Parameter verification failed.\n"));
        assert_eq!(body(&wrong)["errors"], json!({"a": "bad"}));
    }

    #[test]
    fn written_rows_read_in_every_format_as_their_value_does() {
        // Shares of processors as guests show them: some do not survive careless reading.
        let shares = (0..20).map(|at| json!({ "cpu": 0.01 + 0.002 * f64::from(at), "name": "<" }));
        let rows: Value = shares.collect();
        for format in [Format::Json, Format::ExtJs, Format::HtmlJs, Format::Html] {
            let written = Success { total: Some(2), ..Success::written(&rows).unwrap() };
            let value = Success { total: Some(2), ..rows.clone().into() };
            assert_eq!(
                format.render("/x", Ok(written)).body,
                format.render("/x", Ok(value)).body,
                "{format:?}"
            );
        }
    }

    #[test]
    fn members_stand_in_the_order_of_their_names() {
        let errors = BTreeMap::new();
        let envelope = Envelope {
            errors: Some(&errors),
            message: Some(""),
            status: Some(json!(500)),
            success: Some(0),
            total: Some(1),
            ..Envelope::of(Data::Value(Value::Null))
        };
        // A value sorts its members.
        let sorted = serde_json::to_value(&envelope).unwrap();
        assert_eq!(serde_json::to_string(&envelope).unwrap(), sorted.to_string());
    }

    #[test]
    fn what_people_see_is_escaped() {
        let response = Format::Html.render("/<script>", Ok(json!("<b>\"&'").into()));
        let page = String::from_utf8(response.body).unwrap();
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
        let escaped = Format::HtmlJs.render("/x", Ok(json!("<b>").into()));
        assert!(String::from_utf8(escaped.body).unwrap().contains("&lt;b&gt;"));
    }

    #[test]
    fn spice_lines() {
        let response =
            Format::SpiceConfig.render("/x", Ok(json!({"a": "1", "b": null, "c": 2}).into()));
        assert_eq!(response.body, b"[virt-viewer]\na=1\nc=2\n");
    }
}
