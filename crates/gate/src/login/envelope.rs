//! The answers of the login calls, read out of the three envelopes that hold them and written
//! back into the same.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use memchr::memchr;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::attempt::Outcome;
use crate::route::Format;

/// An answer: the members of its data that matter here, and whether it says that the login
/// succeeded. Everything else stays as upstream wrote it.
pub(crate) struct Envelope<'b> {
    /// The JSON, whatever it was wrapped in.
    text: Cow<'b, str>,
    /// Where the members of the data are in it; those absent are `None`.
    members: [Option<Range<usize>>; MEMBERS.len()],
    success: Option<Value>,
    status: Option<Value>,
}

/// Members of the data that are read or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Ticket,
    Username,
    Csrf,
}

/// Their names, in the order of [`Member`].
const MEMBERS: [&str; 3] = ["ticket", "username", "CSRFPreventionToken"];

/// The outermost object. A member that is there twice is refused: what is judged here must be
/// what the client reads.
#[derive(Deserialize)]
struct Outer<'t> {
    #[serde(borrow, default)]
    data: Data<'t>,
    success: Option<Value>,
    status: Option<Value>,
}

/// An object, or nothing: derived alone, it would be read out of a list too.
#[derive(Default)]
struct Data<'t>(Members<'t>);

#[derive(Default, Deserialize)]
struct Members<'t> {
    #[serde(borrow)]
    ticket: Option<&'t RawValue>,
    #[serde(borrow)]
    username: Option<&'t RawValue>,
    #[serde(borrow, rename = "CSRFPreventionToken")]
    csrf: Option<&'t RawValue>,
}

impl<'de: 't, 't> Deserialize<'de> for Data<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or null")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Members::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Members::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Object).map(Self)
    }
}

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

impl<'b> Envelope<'b> {
    /// None for a body that is no envelope of this format.
    pub(crate) fn read(format: Format, body: &'b [u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let text = match format {
            Format::Htmljs => Cow::Owned(unescape(text)),
            _ => Cow::Borrowed(text),
        };
        // A list would be read as the members in their order.
        let outer: Outer<'_> = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(&text).ok()?,
            false => return None,
        };
        let Outer { data: Data(found), success, status } = outer;
        let range = |raw: &RawValue| span(&text, raw.get());
        let members = [found.ticket, found.username, found.csrf].map(|raw| raw.map(range));
        Some(Self { members, success, status, text })
    }

    /// As a body of this format, with these texts in the place of members of the data.
    pub(crate) fn write(&self, format: Format, replaced: &[(Member, &str)]) -> String {
        // What is not there comes behind a member that is: there is one, or nothing would be
        // replaced.
        let last = self.members.iter().flatten().map(|place| place.end).max().unwrap_or_default();
        let mut edits: Vec<_> = replaced
            .iter()
            .map(|(member, text)| match self.place(*member) {
                Some(place) => (place, None, *text),
                None => (last..last, MEMBERS.get(*member as usize), *text),
            })
            .collect();
        edits.sort_by_key(|(place, ..)| place.start);
        let added: usize = replaced.iter().map(|(_, text)| text.len() + 32).sum();
        let mut out = String::with_capacity(self.text.len() + added);
        let mut at = 0;
        for (place, name, text) in edits {
            out.push_str(self.text.get(at..place.start).unwrap_or_default());
            if let Some(name) = name {
                for part in [",\"", name, "\":"] {
                    out.push_str(part);
                }
            }
            push_quoted(&mut out, text);
            at = place.end;
        }
        out.push_str(self.text.get(at..).unwrap_or_default());
        if format == Format::Htmljs { escape(&out) } else { out }
    }

    /// What it says, given the status it came with.
    pub(crate) fn verdict(&self, status: u16) -> Verdict {
        match self.status(status) {
            200..=299 if self.text(Member::Ticket).is_some_and(|ticket| is_challenge(&ticket)) => {
                Verdict::Challenge
            }
            200..=299 => Verdict::Success,
            401 => Verdict::Failure,
            _ => Verdict::Undecided,
        }
    }

    /// A member of the data that is a text.
    pub(crate) fn text(&self, member: Member) -> Option<Cow<'_, str>> {
        let raw = self.text.get(self.place(member)?)?;
        // Without an escape it is what stands between the quotes.
        match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
            Some(plain) if memchr(b'\\', plain.as_bytes()).is_none() => Some(Cow::Borrowed(plain)),
            _ => serde_json::from_str(raw).ok().map(Cow::Owned),
        }
    }

    fn place(&self, member: Member) -> Option<Range<usize>> {
        self.members.get(member as usize)?.clone()
    }

    /// The status as it was meant: extjs and htmljs always come with 200, and say the true one
    /// as a number or as a text.
    fn status(&self, status: u16) -> u16 {
        let failed = self.success.as_ref().is_some_and(|success| {
            success.as_i64() == Some(0) || success.as_str() == Some("0") || success == false
        });
        if !failed {
            return status;
        }
        let said = self.status.as_ref();
        let number = said.and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
        let text = || said?.as_str()?.parse().ok();
        number.or_else(text).unwrap_or(500)
    }
}

/// Writes a text as JSON has it.
fn push_quoted(out: &mut String, text: &str) {
    let plain = |byte: u8| (byte >= 0x20) & (byte != b'"') & (byte != b'\\');
    if !text.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.push_str(&Value::from(text).to_string());
        return;
    }
    for part in ["\"", text, "\""] {
        out.push_str(part);
    }
}

/// Where `part`, which was taken out of `text`, is in it.
fn span(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    start..start + part.len()
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
            let envelope = Envelope::read(format, body.as_bytes()).unwrap();
            assert_eq!(envelope.text(Member::Ticket).unwrap(), "PVE:a&<b@pve:6B00CE44::x");
            assert_eq!(envelope.write(format, &[]), body);
            let written = envelope.write(format, &[(Member::Csrf, "c"), (Member::Ticket, "d\"")]);
            let again = Envelope::read(format, written.as_bytes()).unwrap();
            let texts = [Member::Ticket, Member::Username, Member::Csrf];
            let texts = texts.map(|member| again.text(member).unwrap().into_owned());
            assert_eq!(texts, ["d\"", "a&<b@pve", "c"]);
        }
        let twice = br#"{"data":{"ticket":"PVE:a@pve:6B00CE44::x","ticket":"d"}}"#;
        assert!(Envelope::read(Format::Json, twice).is_none());
        assert!(Envelope::read(Format::Json, br#"{"data":{},"data":{"ticket":"x"}}"#).is_none());
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
