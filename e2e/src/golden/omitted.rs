//! Requests that the public part of the recording leaves out although its later answers show what
//! they did. Each is made again from a public record, unless a record stands in its place.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::corpus::{Corpus, Record};

struct Omitted {
    /// Its place.
    seq: u64,
    /// The public record with the same caller and answer.
    like: &'static str,
    /// Text of the request line and of the body there, and what stands here instead.
    line: (&'static str, &'static str),
    body: (&'static str, fn(&Corpus) -> Option<String>),
}

const OMITTED: [Omitted; 3] = [
    // `val-group-delete` succeeds.
    Omitted {
        seq: 109,
        like: "val-create-user-ok",
        line: ("/access/users", "/access/groups"),
        body: ("", |_| Some("groupid=jg".to_owned())),
    },
    // `api-tasks` and `api-log` show two uploads.
    Omitted {
        seq: 190,
        like: "upload-ok-no-csrf",
        line: ("", ""),
        body: ("golden.iso", |_| Some("second.iso".to_owned())),
    },
    // From `tfa-bypass-new-format-0` on, challenges no longer offer recovery key 0.
    Omitted {
        seq: 258,
        like: "tfa-totp-ok",
        line: ("", ""),
        body: ("totp%3A885752", |corpus| {
            let enrolled =
                corpus.records.values().find(|record| record.id == "tfa-add-recovery")?;
            let body = enrolled.response.pointer("/body/text")?.as_str()?;
            let body: Value = serde_json::from_str(body).ok()?;
            Some(format!("recovery%3A{}", body.pointer("/data/recovery/0")?.as_str()?))
        }),
    },
];

/// Puts the omitted requests into the corpus.
pub(super) fn restore(corpus: &mut Corpus) -> Result<()> {
    for omitted in OMITTED {
        if !corpus.records.contains_key(&omitted.seq) {
            let record = omitted.record(corpus).with_context(|| {
                format!("request {} can not be made from {}", omitted.seq, omitted.like)
            })?;
            corpus.records.insert(omitted.seq, record);
        }
    }
    Ok(())
}

impl Omitted {
    fn record(&self, corpus: &Corpus) -> Option<Record> {
        let mut record = corpus.records.values().find(|record| record.id == self.like)?.clone();
        record.seq = self.seq;
        record.request.line = record.request.line.replace(self.line.0, self.line.1);
        let (from, to) = (self.body.0, (self.body.1)(corpus)?);
        let text = record.request.body.get("text")?.as_str()?;
        let text = if from.is_empty() { to } else { text.replace(from, &to) };
        let length = text.len().to_string();
        record.request.body = json!({ "text": text });
        let headers = record.request.headers.iter_mut();
        for (_, value) in headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            value.clone_from(&length);
        }
        Some(record)
    }
}
