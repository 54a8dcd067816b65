//! Known secrets, and the search for them in whatever form they may have come out.

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use telemetry::CorrelationId;

/// What was planted, with its description.
#[derive(Debug, Default)]
pub(crate) struct Planted {
    secrets: Vec<(String, Vec<String>)>,
}

impl Planted {
    /// A new secret: letters and digits, so that no escaping hides it.
    pub(crate) fn one(&mut self, what: &str) -> String {
        let secret = format!("Canary{}", CorrelationId::random());
        self.known(what, &secret)
    }

    /// A secret made by the program itself.
    pub(crate) fn known(&mut self, what: &str, secret: &str) -> String {
        self.secrets.push((what.to_owned(), forms(secret.as_bytes())));
        secret.to_owned()
    }

    /// Fails when one of the secrets is in `text`. The error tells which and where, and shows
    /// the line with it: these secrets open nothing that outlives the test.
    pub(crate) fn search(&self, place: &str, text: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(text);
        for (what, forms) in &self.secrets {
            let Some(at) = forms.iter().find_map(|form| text.find(form)) else { continue };
            let (before, after) = text.split_at(at);
            let before = before.rsplit('\n').next().unwrap_or_default();
            let after = after.split('\n').next().unwrap_or_default();
            bail!("{place} holds: {what}\n{before}{after}");
        }
        Ok(())
    }
}

/// The secret as it is, percent-encoded, in hexadecimal, as a list of numbers (a byte slice in
/// Rust's debug form) and in base64 at each of its three alignments.
fn forms(secret: &[u8]) -> Vec<String> {
    let joined = |separator: &str, show: fn(&u8) -> String| {
        secret.iter().map(show).collect::<Vec<_>>().join(separator)
    };
    let percent = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    let mut forms = vec![
        String::from_utf8_lossy(secret).into_owned(),
        joined("", percent),
        joined("", |byte| format!("{byte:02x}")),
        joined("", |byte| format!("{byte:02X}")),
        joined(", ", u8::to_string),
    ];
    for offset in 0..3 {
        let whole = [&[0; 2][..offset], secret].concat();
        let encoded = STANDARD_NO_PAD.encode(&whole);
        // The characters that the secret shares with the bytes around it are unknown.
        let start = if offset == 0 { 0 } else { offset + 1 };
        let end = encoded.len() - usize::from(whole.len() % 3 != 0);
        forms.push(encoded.get(start..end).unwrap_or_default().to_owned());
    }
    forms
}

#[test]
fn a_secret_is_found_in_every_form() {
    let base64 = |text: String| STANDARD_NO_PAD.encode(text);
    let mut planted = Planted::default();
    let secret = planted.one("test");
    let hidden = [
        secret.clone(),
        format!("before\n{{\"a\":\"{secret}\"}}"),
        format!("{:?}", secret.as_bytes()),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        base64(secret.clone()),
        base64(format!("{secret}:b")),
        base64(format!("x{secret}y")),
        base64(format!("a:{secret}:b")),
        base64(format!("abc{secret}xx")),
        base64(format!("root:{secret}")),
    ];
    for text in hidden {
        assert!(planted.search("text", text.as_bytes()).is_err(), "{text}");
    }
    assert!(planted.search("text", b"Canary0123456789abcdef").is_ok());

    planted.known("with a slash", "a/b+c=");
    assert!(planted.search("text", b"?x=a%2Fb%2Bc%3D").is_err());
}
