//! Parameters of a call.

use std::fmt;

use crate::encode::encode;

/// Parameters of a call in the order given, sent in the query of GET and DELETE and as a form
/// otherwise. Giving a name again repeats it, which is how PVE takes arrays.
///
/// `Debug` shows names only: passwords and keys are parameters too.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// No parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a boolean as PVE writes it: 1 or 0.
    #[must_use]
    pub fn flag(self, name: &str, value: bool) -> Self {
        self.with(name, u8::from(value))
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As `application/x-www-form-urlencoded`.
    pub(crate) fn encoded(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            if !text.is_empty() {
                text.push('&');
            }
            encode(name, &mut text);
            text.push('=');
            encode(value, &mut text);
        }
        text
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_repeats_and_special_characters_survive() {
        let params = Params::new()
            .with("command", "ls")
            .with("command", "a&b=c d+é")
            .with("vmid", 100)
            .flag("full", true)
            .with("empty", "");
        assert_eq!(
            params.encoded(),
            "command=ls&command=a%26b%3Dc%20d%2B%C3%A9&vmid=100&full=1&empty="
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let params: Params = [("userid", "joe@pve"), ("password", "hunter2")].into_iter().collect();
        assert_eq!(format!("{params:?}"), r#"["userid", "password"]"#);
    }
}
