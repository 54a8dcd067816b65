//! The answers of the login calls, read out of the three envelopes that hold them and written
//! back into the same.

use serde_json::Value;

use super::attempt::Outcome;
use crate::route::Format;

/// An answer: its data, and whether it says that the login succeeded.
pub(crate) struct Envelope(Value);

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Who they say they are, as far as they were asked.
    Success,
    /// The password is right, a second factor is asked for.
    Challenge,
    /// Not who they say.
    Failure,
    /// Neither: a mistake in the request, or Proxmox VE itself failed.
    Undecided,
}

impl Verdict {
    /// How it counts: the first of two steps proves nothing yet.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Success => Outcome::Success,
            Self::Failure => Outcome::Failure,
            Self::Challenge | Self::Undecided => Outcome::Undecided,
        }
    }
}

impl Envelope {
    /// None for a body that is no envelope of this format.
    pub(crate) fn read(format: Format, body: &[u8]) -> Option<Self> {
        let value: Value = match format {
            Format::Htmljs => {
                let text = unescape(std::str::from_utf8(body).ok()?);
                serde_json::from_str(&text).ok()?
            }
            _ => serde_json::from_slice(body).ok()?,
        };
        value.is_object().then_some(Self(value))
    }

    /// As a body of this format.
    pub(crate) fn write(&self, format: Format) -> String {
        let text = self.0.to_string();
        if format == Format::Htmljs { escape(&text) } else { text }
    }

    /// What it says, given the status it came with.
    pub(crate) fn verdict(&self, status: u16) -> Verdict {
        match self.status(status) {
            200..=299 if self.text("ticket").is_some_and(is_challenge) => Verdict::Challenge,
            200..=299 => Verdict::Success,
            401 => Verdict::Failure,
            _ => Verdict::Undecided,
        }
    }

    /// A member of the data that is a text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get("data")?.get(name)?.as_str()
    }

    /// Puts a text into the data.
    pub(crate) fn set(&mut self, name: &str, text: &str) {
        if let Some(data) = self.0.get_mut("data").and_then(Value::as_object_mut) {
            data.insert(name.to_owned(), Value::from(text));
        }
    }

    /// The status as it was meant: extjs and htmljs always come with 200, and say the true one
    /// as a number or as a text.
    fn status(&self, status: u16) -> u16 {
        let failed = self.0.get("success").is_some_and(|success| {
            success.as_i64() == Some(0) || success.as_str() == Some("0") || success == false
        });
        if !failed {
            return status;
        }
        let said = self.0.get("status");
        let number = said.and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
        let text = || said?.as_str()?.parse().ok();
        number.or_else(text).unwrap_or(500)
    }
}

/// Whether a ticket is a question for the second factor, as the interface tells it.
fn is_challenge(ticket: &str) -> bool {
    ticket.starts_with("PVE:!tfa!")
}

const ENTITIES: [(&str, char); 6] = [
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&quot;", '"'),
    ("&#39;", '\''),
    ("&#x27;", '\''),
    ("&amp;", '&'),
];

/// `HTML::Entities::encode_entities` for what JSON of a login holds.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 4);
    for c in text.chars() {
        match ENTITIES.iter().find(|(_, plain)| *plain == c) {
            Some((entity, _)) => escaped.push_str(entity),
            None => escaped.push(c),
        }
    }
    escaped
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, entity) = rest.split_at(at);
        plain.push_str(before);
        let known = ENTITIES.iter().find_map(|(name, c)| Some((entity.strip_prefix(name)?, *c)));
        let (after, c) = known.unwrap_or((entity.get(1..).unwrap_or_default(), '&'));
        plain.push(c);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(format: Format, status: u16, body: &str) -> Verdict {
        Envelope::read(format, body.as_bytes()).unwrap().verdict(status)
    }

    #[test]
    fn every_way_to_say_no() {
        assert_eq!(verdict(Format::Json, 401, r#"{"data":null}"#), Verdict::Failure);
        let said = [
            r#"{"data":null,"status":401,"success":0}"#,
            r#"{"data":null,"status":"401","success":0}"#,
        ];
        for body in said {
            assert_eq!(verdict(Format::Extjs, 200, body), Verdict::Failure);
        }
        let html =
            "{&quot;data&quot;:null,&quot;status&quot;:&quot;401&quot;,&quot;success&quot;:0}";
        assert_eq!(verdict(Format::Htmljs, 200, html), Verdict::Failure);
        assert_eq!(
            verdict(Format::Extjs, 200, r#"{"success":0,"status":400}"#),
            Verdict::Undecided
        );
        assert_eq!(verdict(Format::Json, 500, r#"{"data":null}"#), Verdict::Undecided);
    }

    #[test]
    fn a_challenge_is_neither() {
        let body = r#"{"data":{"NeedTFA":1,"ticket":"PVE:!tfa!{\"totp\"%3Atrue}:6B00CE44::x"}}"#;
        assert_eq!(verdict(Format::Json, 200, body), Verdict::Challenge);
        let body = r#"{"data":{"ticket":"PVE:a@pve:6B00CE44::x"},"success":1}"#;
        assert_eq!(verdict(Format::Extjs, 200, body), Verdict::Success);
    }

    #[test]
    fn data_is_changed_in_every_envelope() {
        for format in [Format::Json, Format::Extjs, Format::Htmljs] {
            let body = r#"{"data":{"ticket":"PVE:a&<b@pve:6B00CE44::x","username":"a&<b@pve"}}"#;
            let body = if format == Format::Htmljs { escape(body) } else { body.to_owned() };
            let mut envelope = Envelope::read(format, body.as_bytes()).unwrap();
            assert_eq!(envelope.text("ticket"), Some("PVE:a&<b@pve:6B00CE44::x"));
            envelope.set("ticket", "dummy");
            let again = Envelope::read(format, envelope.write(format).as_bytes()).unwrap();
            assert_eq!(
                (again.text("ticket"), again.text("username")),
                (Some("dummy"), Some("a&<b@pve"))
            );
        }
        assert!(Envelope::read(Format::Json, b"[]").is_none());
        assert!(Envelope::read(Format::Json, b"<html>").is_none());
    }

    proptest! {
        #[test]
        fn entities_round_trip(text in "[&<>\"'a-z;#]{0,40}") {
            prop_assert_eq!(unescape(&escape(&text)), text);
        }

        #[test]
        fn any_body_is_read(body in prop::collection::vec(any::<u8>(), 0..60)) {
            Envelope::read(Format::Htmljs, &body);
        }
    }
}
