//! HTTP header values.

use super::keys::{self, Kind};
use super::lexer::Text;
use super::ranges::{Ranges, mask};
use super::scan;
use std::borrow::Cow;

/// Headers whose value is a URL.
const URL_HEADERS: &[&str] = &["location", "content-location", "referer", "origin"];

/// Masks the value of an HTTP header by its name, in any case: `Authorization` keeps its
/// scheme and who, `Cookie` and `Set-Cookie` the names, a secret header (`CSRFPreventionToken`,
/// `X-…-Token`, `X-Api-Key`) nothing. Headers with a URL are masked as [`super::url`] does,
/// all others as [`super::text`] does.
pub fn header<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if URL_HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return super::url(value);
    }
    match keys::find(name.as_bytes()) {
        Some(key) if key.kind != Kind::Basic => mask(value, |value| {
            let mut found = Ranges::default();
            scan::hide(Text::new(value), key.kind, 0..value.len(), &mut found);
            found
        }),
        _ => super::text(value),
    }
}
