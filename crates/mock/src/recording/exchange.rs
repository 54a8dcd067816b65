//! One line of a recording.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::key::Key;
use super::masking;
use crate::wire::{Disposition, Head, Response};

/// Request headers that are kept; none of them is compared.
const KEPT: [&str; 3] = ["Accept", "Content-Type", "User-Agent"];

/// One request and its answer, without secrets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    method: String,
    path: String,
    #[serde(default)]
    parameters: Map<String, Value>,
    /// By lower-case name.
    #[serde(default)]
    request_headers: BTreeMap<String, String>,
    status: u16,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// For what is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(default)]
    elapsed_ms: u64,
}

impl Exchange {
    /// What is to be recorded, when it is: no logins, no refused credentials, no websockets.
    pub(crate) fn of(head: &Head, key: &Key, response: &Response, took: Duration) -> Option<Self> {
        let is_login = key.method == "POST"
            && (key.path.ends_with("/access/ticket") || key.path.ends_with("/access/vncticket"));
        if response.status == 401 || is_login || response.upgrade.is_some() {
            return None;
        }
        let kept = KEPT.iter().filter_map(|name| Some((*name, head.header(name)?)));
        let request_headers = kept.map(|(name, value)| {
            (name.to_ascii_lowercase(), secrets::mask::header(name, &value).into_owned())
        });
        let mut headers = BTreeMap::new();
        if let Some(kind) = &response.content_type {
            headers.insert("content-type".to_owned(), kind.to_string());
        }
        if let Some(location) = &response.location {
            let location = secrets::mask::header("Location", location).into_owned();
            headers.insert("location".to_owned(), location);
        }
        if let Some(Disposition(text)) = response.disposition.as_deref() {
            headers.insert("content-disposition".to_owned(), text.clone());
        }
        let (body, body_base64) = match std::str::from_utf8(&response.body) {
            Ok("") => (None, None),
            Ok(text) => (Some(masking::body(&key.path, text)), None),
            Err(_) => (None, Some(STANDARD.encode(&response.body))),
        };
        Some(Self {
            method: key.method.clone(),
            path: key.path.clone(),
            parameters: serde_json::from_str(&key.parameters).unwrap_or_default(),
            request_headers: request_headers.collect(),
            status: response.status,
            reason: secrets::mask::text(response.reason.lines().next().unwrap_or_default())
                .into_owned(),
            headers,
            body,
            body_base64,
            elapsed_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    pub(super) fn key(&self) -> Key {
        Key::new(&self.method, &self.path, self.parameters.clone())
    }

    /// The answer, or what is wrong with it.
    pub(super) fn response(self) -> Result<Response, String> {
        if !(200..=599).contains(&self.status) {
            return Err(format!("no status of an answer: {}", self.status));
        }
        let body = match (self.body, self.body_base64) {
            (Some(_), Some(_)) => return Err("both body and body_base64".to_owned()),
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => {
                STANDARD.decode(text).map_err(|_| "body_base64 is no base64".to_owned())?
            }
            (None, None) => Vec::new(),
        };
        let mut headers = self.headers;
        let content_type = headers.remove("content-type").map(String::into_boxed_str);
        let location = headers.remove("location").map(String::into_boxed_str);
        let disposition =
            headers.remove("content-disposition").map(|text| Box::new(Disposition(text)));
        if let Some((name, _)) = headers.pop_first() {
            return Err(format!("a header that is not replayed: {name}"));
        }
        let bare = Response::bare(self.status, &self.reason);
        Ok(Response { content_type, location, disposition, body, ..bare })
    }
}
