//! Values as Perl sees them: numbers are text, text may be a number, `$` allows a final newline.

use std::borrow::Cow;

use serde_json::Value;

/// `1 on yes true` and `0 off no false` in any case, as in property strings and on PVE's command
/// line. A boolean *parameter* of the HTTP API is stricter: `1` or `0` (or JSON `true`, `false`).
#[must_use]
pub fn parse_boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(["1", "on", "yes", "true"]) {
        Some(true)
    } else if is(["0", "off", "no", "false"]) {
        Some(false)
    } else {
        None
    }
}

/// What Perl's `ref` calls a value that is not a scalar.
pub(crate) fn reference(value: &Value) -> Option<&'static str> {
    match value {
        Value::Array(_) => Some("ARRAY"),
        Value::Object(_) => Some("HASH"),
        Value::Bool(_) => Some("JSON::PP::Boolean"),
        Value::Null | Value::Number(_) | Value::String(_) => None,
    }
}

/// The text of a scalar; `None` for references and for null.
pub(crate) fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number_text(number))),
        _ => None,
    }
}

/// False in Perl: undefined, the empty text and `0`; every reference is true.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => true,
    }
}

/// Numbers print as with C's `%.15g`: `1.0` as `1`, `1e20` as `1e+20`.
fn number_text(number: &serde_json::Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    if float == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{float:.14e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..15).contains(&exponent) {
        let decimals = usize::try_from(14 - exponent).unwrap_or(0);
        return trim_zeros(&format!("{float:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim_zeros(digits), exponent.unsigned_abs())
}

fn trim_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// The text without the one final newline that Perl's `$` overlooks.
pub(crate) fn chomp(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

pub(crate) fn is_integer(text: &str) -> bool {
    let digits = chomp(text);
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The number a text stands for; `None` when Perl would not call it one.
pub(crate) fn number(text: &str) -> Option<f64> {
    let text = chomp(text);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Rust's parser takes more (inf, nan): the alphabet keeps it to PVE's grammar.
    let first = unsigned.bytes().next()?;
    let lawful = unsigned.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if !lawful || !(first.is_ascii_digit() || first == b'.') {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_integer, is_true, number, parse_boolean, scalar_text};

    #[test]
    fn booleans_have_eight_words() {
        assert_eq!(parse_boolean("Yes"), Some(true));
        assert_eq!(parse_boolean("OFF"), Some(false));
        assert_eq!(parse_boolean("2"), None);
        assert_eq!(parse_boolean(""), None);
    }

    #[test]
    fn numbers_print_as_in_perl() {
        for (value, text) in [
            (json!(5), "5"),
            (json!(-5), "-5"),
            (json!(1.0), "1"),
            (json!(1.5), "1.5"),
            (json!(0.1), "0.1"),
            (json!(0.00001), "1e-05"),
            (json!(1e20), "1e+20"),
            (json!(123_456_789_012_345.0), "123456789012345"),
            (json!(-0.0), "0"),
        ] {
            assert_eq!(scalar_text(&value).unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_told_from_text() {
        for yes in ["1", "+1", "-1.5", ".5", "5.", "1e3", "1.5E-3", "7\n"] {
            assert!(number(yes).is_some(), "{yes:?}");
        }
        for no in ["", "+", "abc", "1 ", "inf", "nan", "0x10", "1e", "--1", ".", "1\n\n"] {
            assert!(number(no).is_none(), "{no:?}");
        }
        assert!(is_integer("-012") && is_integer("5\n"));
        assert!(!is_integer("1.0") && !is_integer("+") && !is_integer(""));
    }

    #[test]
    fn truth_is_perls() {
        for no in [json!(null), json!(""), json!("0"), json!(0)] {
            assert!(!is_true(&no), "{no}");
        }
        for yes in [json!("0.0"), json!([]), json!({}), json!(false), json!(" ")] {
            assert!(is_true(&yes), "{yes}");
        }
    }
}
