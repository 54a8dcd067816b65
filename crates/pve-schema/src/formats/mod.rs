//! Named formats (`pve-node`, `ip-list`, …): one table row each, by topic.
//!
//! `X-list` checks every entry of a list, `X-opt` allows the empty text. Messages end in a line
//! break, because PVE dies with them and puts them behind `invalid format - ` as they are.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use serde_json::Value;

use crate::pattern::Pattern;
use crate::property_string::PropertyString;

mod calendar;
mod cluster;
mod firewall;
mod guest;
mod identifiers;
mod network;
mod pem;
mod sdn;
mod storage;

/// The `format` of a property.
#[derive(Debug, Clone)]
pub struct Format {
    name: Option<String>,
    rule: FormatRule,
}

/// What a format means.
#[derive(Debug, Clone)]
pub enum FormatRule {
    /// One value of the named format.
    Single,
    /// A list of them.
    List,
    /// One of them, or nothing.
    Opt,
    /// Fields.
    PropertyString(Arc<PropertyString>),
    /// A name that PVE 8.4 and 9.2 do not know, out of another document: any text.
    Unchecked,
}

impl Format {
    /// The name, unless the document spells the fields out.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What it means.
    #[must_use]
    pub fn rule(&self) -> &FormatRule {
        &self.rule
    }

    /// The fields, when it is a property string.
    #[must_use]
    pub fn property_string(&self) -> Option<&PropertyString> {
        match &self.rule {
            FormatRule::PropertyString(fields) => Some(fields),
            _ => None,
        }
    }

    pub(crate) fn from_value(format: &Value, grammar: Option<&str>) -> Option<Self> {
        match format {
            Value::String(name) => {
                Some(Self { name: Some(name.clone()), rule: rule_of(name, grammar) })
            }
            Value::Object(_) => {
                let fields = Arc::new(PropertyString::from_fields(format));
                Some(Self { name: None, rule: FormatRule::PropertyString(fields) })
            }
            _ => None,
        }
    }
}

/// Checks one value; `path` is what errors in fields are called by.
///
/// # Errors
/// PVE's text, with a final line break.
pub fn check_format(format: &Format, value: &str, path: &str) -> Result<(), String> {
    let named = || format.name().map(base_name).and_then(find);
    match format.rule() {
        FormatRule::PropertyString(fields) => fields.parse(value, path).map(drop),
        FormatRule::Unchecked => Ok(()),
        FormatRule::Opt if value.is_empty() || value == "0" => Ok(()),
        FormatRule::Single | FormatRule::Opt => named().map_or(Ok(()), |row| row.check(value)),
        FormatRule::List => {
            let Some(row) = named() else { return Ok(()) };
            split_list(value).into_iter().try_for_each(|entry| row.check(entry))
        }
    }
}

/// The entries of a list: split at NUL when there is one, else at runs of commas, semicolons and
/// blanks (`PVE::Tools::split_list`).
fn split_list(text: &str) -> Vec<&str> {
    if text.contains('\0') {
        return text.trim_end_matches('\0').split('\0').collect();
    }
    text.split(|c: char| c == ',' || c == ';' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .collect()
}

fn base_name(name: &str) -> &str {
    name.strip_suffix("-list").or_else(|| name.strip_suffix("-opt")).unwrap_or(name)
}

fn rule_of(name: &str, grammar: Option<&str>) -> FormatRule {
    let base = base_name(name);
    if find(name).is_none()
        && let Some(fields) = PropertyString::named(name, grammar)
    {
        return FormatRule::PropertyString(Arc::new(fields));
    }
    match (find(base), name.strip_prefix(base)) {
        (None, _) => FormatRule::Unchecked,
        (Some(_), Some("-list")) => FormatRule::List,
        (Some(_), Some("-opt")) => FormatRule::Opt,
        (Some(_), _) => FormatRule::Single,
    }
}

/// One named format.
pub(crate) struct Row {
    name: &'static str,
    test: Test,
}

enum Test {
    /// The whole text matches; `{}` in the message is the value.
    Pattern { pattern: &'static str, message: &'static str, compiled: OnceLock<Pattern> },
    /// Whatever a pattern cannot say.
    Code(fn(&str) -> Result<(), String>),
}

impl Row {
    const fn pattern(name: &'static str, pattern: &'static str, message: &'static str) -> Self {
        Self { name, test: Test::Pattern { pattern, message, compiled: OnceLock::new() } }
    }

    const fn code(name: &'static str, check: fn(&str) -> Result<(), String>) -> Self {
        Self { name, test: Test::Code(check) }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        match &self.test {
            Test::Code(check) => check(value),
            Test::Pattern { pattern, message, compiled } => {
                if compiled.get_or_init(|| Pattern::new(*pattern)).matches(value) {
                    return Ok(());
                }
                Err(format!("{}\n", message.replace("{}", value)))
            }
        }
    }
}

fn find(name: &str) -> Option<&'static Row> {
    static INDEX: LazyLock<HashMap<&'static str, &'static Row>> = LazyLock::new(|| {
        let tables: [&'static [Row]; 9] = [
            &calendar::FORMATS,
            &cluster::FORMATS,
            &firewall::FORMATS,
            &guest::FORMATS,
            &identifiers::FORMATS,
            &network::FORMATS,
            &pem::FORMATS,
            &sdn::FORMATS,
            &storage::FORMATS,
        ];
        tables.into_iter().flatten().map(|row| (row.name, row)).collect()
    });
    INDEX.get(name).copied()
}

/// The result of one format on one value, for rules that build on others and for tests.
fn check_named(name: &str, value: &str) -> Result<(), String> {
    find(name).map_or(Ok(()), |row| row.check(value))
}

fn require(holds: bool, message: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{message}\n")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Format, FormatRule, check_format, split_list};

    fn format(name: &str) -> Format {
        Format::from_value(&json!(name), None).unwrap()
    }

    #[test]
    fn suffixes_select_the_rule() {
        assert!(matches!(format("pve-node").rule(), FormatRule::Single));
        assert!(matches!(format("pve-node-list").rule(), FormatRule::List));
        assert!(matches!(format("email-opt").rule(), FormatRule::Opt));
        assert!(matches!(format("no-such").rule(), FormatRule::Unchecked));
        assert!(matches!(format("no-such-list").rule(), FormatRule::Unchecked));
    }

    #[test]
    fn lists_split_as_in_pve() {
        assert_eq!(split_list(" a,b; c\td,,"), ["a", "b", "c", "d"]);
        assert_eq!(split_list("a b\0c,d\0"), ["a b", "c,d"]);
        assert!(split_list("").is_empty() && split_list(" ,;").is_empty());
    }

    #[test]
    fn lists_name_the_first_wrong_entry() {
        assert_eq!(check_format(&format("pve-configid-list"), "", "p"), Ok(()));
        assert_eq!(
            check_format(&format("pve-configid-list"), "ab, 1x ,2y", "p").unwrap_err(),
            "invalid configuration ID '1x'\n"
        );
    }

    #[test]
    fn opt_allows_what_perl_calls_false() {
        assert_eq!(check_format(&format("email-opt"), "", "p"), Ok(()));
        assert_eq!(check_format(&format("email-opt"), "0", "p"), Ok(()));
        assert!(check_format(&format("email-opt"), "x", "p").is_err());
        assert!(check_format(&format("email"), "", "p").is_err());
    }
}
