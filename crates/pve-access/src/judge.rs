//! Questions of the kind "what if", as records: a `user.cfg` and who asks for what, one JSON
//! object a line.
//!
//! `{"user_cfg": TEXT, "cases": [{"subject": NAME, "path": PATH}, …]}` is answered with
//! `{"results": [{"roles": [NAME, …], "permissions": {PRIVILEGE: 0|1, …}}, …], "rewritten": TEXT}`
//! in the same order. `raw` is taken for `user_cfg`, and adds `config`: what PVE reads from it.
//! Other members, such as the outcome that someone expects, are passed over.

use serde::de::Deserialize;
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use crate::limits::{MAX_JUDGE_CASES, MAX_JUDGE_LINE_BYTES};
use crate::user_cfg::TooLarge;
use crate::{Access, Release, Subject};

mod model;

use model::Model;

/// The answer to one line. It is evaluated as it is written out.
#[derive(Debug)]
pub struct Answer {
    access: Access,
    cases: Vec<Case>,
    /// What PVE reads from the text, where that was asked for.
    model: Option<Model>,
}

/// A line is no record of questions.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// Longer than [`MAX_JUDGE_LINE_BYTES`].
    #[error("longer than {MAX_JUDGE_LINE_BYTES} bytes; put fewer cases on a line")]
    Long,
    /// Not JSON, or not of the shape.
    #[error("not a record of questions: {0}; needed: {{\"user_cfg\":…,\"cases\":[…]}}")]
    Json(#[from] serde_json::Error),
    /// Neither `user_cfg` nor `raw`, or both.
    #[error("needs exactly one of \"user_cfg\" and \"raw\", the text of a user.cfg")]
    Text,
    /// More than [`MAX_JUDGE_CASES`].
    #[error("{0} cases, more than {MAX_JUDGE_CASES}; spread them over several lines")]
    Cases(usize),
    /// The file is beyond a limit of PVE's or ours.
    #[error("{0}")]
    Config(#[from] TooLarge),
}

#[derive(Debug, serde::Deserialize)]
struct Record {
    user_cfg: Option<String>,
    raw: Option<String>,
    #[serde(default)]
    cases: Vec<Case>,
}

#[derive(Debug, serde::Deserialize)]
struct Case {
    subject: String,
    path: String,
}

/// Reads one line and gets the answer ready. Nothing is left to fail afterwards, so an answer is
/// written whole or not at all.
pub fn answer(release: Release, line: &[u8]) -> Result<Answer, BadLine> {
    if line.len() > MAX_JUDGE_LINE_BYTES {
        return Err(BadLine::Long);
    }
    let mut reader = serde_json::Deserializer::from_slice(line);
    let Record { user_cfg, raw, cases } = Record::deserialize(&mut reader)?;
    reader.end()?;
    if cases.len() > MAX_JUDGE_CASES {
        return Err(BadLine::Cases(cases.len()));
    }
    let (text, with_model) = match (user_cfg, raw) {
        (Some(text), None) => (text, false),
        (None, Some(text)) => (text, true),
        _ => return Err(BadLine::Text),
    };
    let (access, _) = Access::parse(release, &text)?;
    let model = with_model.then(|| Model::new(access.config(), &text));
    Ok(Answer { access, cases, model })
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("results", &Results(self))?;
        match self.access.write() {
            Ok(text) => map.serialize_entry("rewritten", &text)?,
            Err(error) => {
                map.serialize_entry("rewritten", &())?;
                map.serialize_entry("rewrite_error", &error.to_string())?;
            }
        }
        if let Some(model) = &self.model {
            map.serialize_entry("config", model)?;
        }
        map.end()
    }
}

struct Results<'a>(&'a Answer);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Answer { access, cases, .. } = self.0;
        let mut list = serializer.serialize_seq(Some(cases.len()))?;
        for case in cases {
            list.serialize_element(&Verdict { access, case })?;
        }
        list.end()
    }
}

struct Verdict<'a> {
    access: &'a Access,
    case: &'a Case,
}

impl Serialize for Verdict<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A name that can not exist has no rights; that is an answer, not an error.
        let subject = self.case.subject.parse::<Subject>().ok();
        let path = &self.case.path;
        let roles = subject.as_ref().map(|subject| self.access.roles(subject, path));
        let held = subject.as_ref().map(|subject| self.access.permissions(subject, path));
        let roles: Vec<&str> = roles.unwrap_or_default().into_keys().collect();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("roles", &roles)?;
        map.serialize_entry("permissions", &held.unwrap_or_default())?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn answered(line: &str) -> Result<Value, BadLine> {
        answer(Release::V9, line.as_bytes()).map(|answer| serde_json::to_value(&answer).unwrap())
    }

    #[test]
    fn each_case_is_answered_in_its_place() {
        let answer = answered(
            r#"{"user_cfg":"user:a@pve:1\nacl:0:/vms:a@pve:PVEVMUser",
                "cases":[{"subject":"no name","path":"/","expected":[]},
                         {"subject":"a@pve","path":"/vms"}]}"#,
        )
        .unwrap();
        assert_eq!(answer["results"][0], serde_json::json!({ "roles": [], "permissions": {} }));
        assert_eq!(answer["results"][1]["roles"], serde_json::json!(["PVEVMUser"]));
        assert_eq!(answer["results"][1]["permissions"]["VM.Audit"], 0);
        let rewritten = answer["rewritten"].as_str().unwrap();
        assert!(rewritten.ends_with("acl:0:/vms:a@pve:PVEVMUser:\n"));
        assert!(answer.get("config").is_none());
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        for (line, part) in [
            ("", "EOF"),
            ("[]", "invalid length"),
            ("{}", "exactly one"),
            (r#"{"raw":"","user_cfg":""}"#, "exactly one"),
            (r#"{"raw":"","cases":[{"subject":"a@pve"}]}"#, "path"),
            (r#"{"raw":""} {}"#, "trailing"),
        ] {
            let error = answered(line).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
            assert!(!error.contains('\n'));
        }
        let many = r#"{"subject":"","path":""},"#.repeat(MAX_JUDGE_CASES);
        let many = format!(r#"{{"raw":"","cases":[{many}{{"subject":"","path":""}}]}}"#);
        assert!(matches!(answered(&many), Err(BadLine::Cases(_))));
    }

    #[test]
    fn what_can_not_be_written_is_said() {
        let answer = answered(r#"{"raw":"group:g:a b@pve\u0000"}"#).unwrap();
        assert!(answer["rewritten"].is_string() || answer["rewrite_error"].is_string());
    }

    proptest! {
        #[test]
        fn any_line_is_taken(line in any::<String>()) {
            let _ = answer(Release::V9, line.as_bytes());
        }
    }
}
