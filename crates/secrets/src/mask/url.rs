//! URLs and request targets.

use super::keys;
use super::lexer::Text;
use super::ranges::{Ranges, mask};
use super::scan;
use std::borrow::Cow;

/// Masks a URL or request target: the password of its userinfo, and the values of secret
/// parameters (`vncticket`, `password`, `ticket`, `tfa-challenge`, OpenID's `code`, …) in
/// query and fragment, also when the parameter's name is percent-encoded. What is left is
/// masked as [`super::text`] does.
///
/// A user name stays, except where it stands alone before an http or websocket host: there
/// it is usually a token.
pub fn url(url: &str) -> Cow<'_, str> {
    mask(url, secrets)
}

fn secrets(url: &str) -> Ranges {
    let mut found = Ranges::default();
    let path = url.find(['?', '#']).unwrap_or(url.len());
    found.push_part(0, scan::secrets(url.get(..path).unwrap_or_default()));
    let mut at = path;
    while let Some(rest) = url.get(at + 1..) {
        let part = rest.split(['&', ';', '?', '#']).next().unwrap_or_default();
        parameter(url, at + 1, part, &mut found);
        at += 1 + part.len();
    }
    found
}

fn parameter(url: &str, offset: usize, part: &str, found: &mut Ranges) {
    let end = offset + part.len();
    if let Some((name, _)) = part.split_once('=')
        && let Some(key) = keys::find_in_url(&decode(name))
    {
        scan::hide(Text::new(url), key.kind, offset + name.len() + 1..end, found);
        return;
    }
    found.push_part(offset, scan::secrets(part));
}

/// The name as the server will read it; a form array's brackets do not belong to it.
fn decode(name: &str) -> Vec<u8> {
    let text = Text::new(name);
    let mut decoded = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(unit) = text.unit(at) {
        decoded.push(unit.ch);
        at += unit.len;
    }
    decoded.retain(|b| !matches!(b, b'[' | b']'));
    decoded
}
