//! Takes events and spans from `tracing` and hands over finished lines.

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Format;
use super::fields::Fields;
use super::line::{Head, render};
use crate::Clock;

/// Writes each event as one line through `write`, which is given the line feed too.
pub(super) struct Lines<W> {
    format: Format,
    clock: Clock,
    write: W,
}

impl<W: Fn(&str)> Lines<W> {
    pub(super) fn new(format: Format, clock: Clock, write: W) -> Self {
        Self { format, clock, write }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut fields = Fields { message: own.message.take(), cut: own.cut, ..Fields::default() };
        // The innermost first: when there are too many fields, the outermost are left out.
        for (name, value) in own.named {
            fields.set(name, value);
        }
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            let Some(outer) = extensions.get::<Fields>() else {
                continue;
            };
            fields.cut |= outer.cut;
            for (name, value) in &outer.named {
                if !fields.named.iter().any(|(have, _)| have == name) {
                    fields.set(name, value.clone());
                }
            }
        }
        let metadata = event.metadata();
        let (level, target) = (*metadata.level(), metadata.target());
        let head = Head { unix: self.clock.unix(), level, target };
        (self.write)(&render(self.format, &head, &fields));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LOG_FIELDS;
    use proptest::prelude::*;
    use serde_json::Value;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn logged(format: Format, during: impl FnOnce()) -> String {
        let (clock, _) = Clock::manual(Duration::from_millis(1_782_907_200_123));
        let out = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&out);
        let lines = Lines::new(format, clock, move |line: &str| {
            sink.lock().unwrap().push_str(line);
        });
        with_default(tracing_subscriber::registry().with(lines), during);
        let out = out.lock().unwrap();
        out.clone()
    }

    fn json(during: impl FnOnce()) -> Value {
        serde_json::from_str(&logged(Format::Json, during)).unwrap()
    }

    #[test]
    fn a_text_line() {
        let line = logged(Format::Text, || {
            tracing::warn!(target: "gate::stack", peer = %"192.0.2.7:1", why = "too many", n = 3, no = "", "refused");
        });
        assert_eq!(
            line,
            "2026-07-01T12:00:00.123Z WARN  gate::stack refused peer=192.0.2.7:1 why=\"too many\" n=3 no=\"\"\n"
        );
    }

    #[test]
    fn spans_give_their_fields_and_the_innermost_wins() {
        let line = json(|| {
            let outer = tracing::info_span!("request", id = "a", verb = "GET", late = 0);
            outer.record("late", 7);
            let _outer = outer.enter();
            let _inner = tracing::info_span!("relay", id = "b").entered();
            tracing::info!(verb = "PUT", ok = true, level = "mine", "done");
        });
        let expected = serde_json::json!({
            "time": "2026-07-01T12:00:00.123Z", "level": "info", "target": module_path!(),
            "message": "done", "verb": "PUT", "ok": true, "level_": "mine", "id": "b", "late": 7,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn secrets_do_not_pass_in_any_place() {
        const TICKET: &str = "PVE:root@pam:6543210F::c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJl";
        for format in [Format::Text, Format::Json] {
            let lines = logged(format, || {
                let _span =
                    tracing::info_span!("request", url = %format!("/x?ticket={TICKET}")).entered();
                tracing::info!(password = "hunter2", otp = 271_828, "login with {TICKET}");
                tracing::info!(body = r#"{"password":"hunter2"}"#, "answer\npassword=hunter2");
            });
            assert_eq!(lines.lines().count(), 2, "{lines}");
            for secret in ["hunter2", "271828", "c2lnbmF0dXJl"] {
                assert!(!lines.contains(secret), "{lines}");
            }
        }
    }

    #[test]
    fn a_client_can_not_hide_the_field_behind_its_own() {
        for agent in [
            "password=",
            "password: \"",
            "Bearer ",
            "authorization",
            "cookie:",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            let line = logged(Format::Text, || {
                tracing::info!(agent, peer = "192.0.2.7", "m");
            });
            assert!(line.ends_with(" peer=192.0.2.7\n"), "{line}");
            let line = json(|| tracing::info!(agent, peer = "192.0.2.7", "m"));
            assert_eq!(line["peer"], "192.0.2.7");
        }
    }

    #[test]
    fn an_error_is_logged_with_its_causes() {
        let inner = std::io::Error::other("disk\nfull");
        let error = crate::audit::AuditError::Write { path: "/log".into(), cause: inner };
        let line = json(|| tracing::error!(error = &error as &dyn std::error::Error, "lost"));
        let text = line["error"].as_str().unwrap();
        assert!(text.starts_with("/log: ") && text.ends_with(": disk\nfull"), "{text}");
    }

    #[test]
    fn too_long_and_too_many_are_cut_and_say_so() {
        let long = "\u{7}".repeat(LOG_LINE);
        let line = logged(Format::Text, || tracing::info!(long, last = 1, "m"));
        assert!(line.len() <= LOG_LINE && line.ends_with(" [truncated]\n"), "{}", line.len());
        assert!(!line.contains("last"), "nothing follows a cut value");
        let line = logged(Format::Json, || tracing::info!(long, last = 1, "m"));
        assert!(line.len() <= LOG_LINE);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["truncated"], value.get("last")), (&true.into(), None));
        assert!(value["long"].as_str().unwrap().len() > 1000);

        let mut many = Fields::default();
        let names: Vec<&'static str> = (0..=LOG_FIELDS).map(|i| &*format!("f{i}").leak()).collect();
        for name in names {
            many.set(name, crate::log::fields::Value::Plain("1".into()));
        }
        assert!(many.cut && many.named.len() == LOG_FIELDS);
    }

    use crate::limits::LOG_LINE;

    proptest! {
        #[test]
        fn any_text_is_one_line_within_the_limit(message: String, value in ".*|\\PC{0,9000}") {
            for format in [Format::Text, Format::Json] {
                let line = logged(format, || tracing::info!(value, "{message}"));
                let body = line.strip_suffix('\n').unwrap();
                prop_assert!(!body.chars().any(crate::escape::is_hostile));
                prop_assert!(line.len() <= LOG_LINE);
            }
        }

        #[test]
        fn a_json_line_reads_back(message in "[ -~\n\u{202e}é]{0,40}|(password|[=:\" {}\\\\]){0,9}") {
            let line = json(|| tracing::info!("{message}"));
            let masked = secrets::mask::text(&message);
            prop_assert_eq!(line["message"].as_str().unwrap(), &*masked);
        }
    }
}
