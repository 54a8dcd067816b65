//! What a parameter may be for a rule to be about it: texts, numbers and truths as Proxmox VE
//! reads them, so that `0100`, `+100` and `100` are one number and `yes` and `1` one truth.

use super::glob::glob;

/// Alternatives, one of which has to fit: `100-199,300`, `pve1`, `web-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Values(Vec<Wanted>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// Both ends are in it.
    Range(i64, i64),
    /// With `*` for any run of characters.
    Text(String),
}

/// Words that are a truth to Proxmox VE (`PVE::JSONSchema::parse_boolean`), in any case.
const TRUE: [&str; 4] = ["1", "on", "yes", "true"];
const FALSE: [&str; 4] = ["0", "off", "no", "false"];

impl Values {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty; write a value, or \"*\" for any".to_owned());
        }
        text.split(',').map(|word| Wanted::parse(word.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the value is one of these; `truth` says whether it may be read as a truth.
    pub(crate) fn hold(&self, value: &str, truth: bool) -> bool {
        // To Perl, `$` also matches before a line end.
        let value = value.strip_suffix('\n').unwrap_or(value);
        let number = integer(value);
        self.0.iter().any(|wanted| match wanted {
            Wanted::Range(first, last) => {
                number.is_some_and(|number| (first..=last).contains(&&number))
                    || (truth
                        && first == last
                        && of_truth(value).is_some_and(|truth| truth == *first))
            }
            Wanted::Text(text) => {
                glob(text, value)
                    || (truth && of_truth(text).is_some_and(|truth| of_truth(value) == Some(truth)))
            }
        })
    }
}

impl Wanted {
    fn parse(word: &str) -> Result<Self, String> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits(word) {
            let number = word.parse().map_err(|_| format!("{word} is too large"))?;
            return Ok(Self::Range(number, number));
        }
        if let Some((first, last)) = word.split_once('-')
            && digits(first)
            && digits(last)
        {
            let number = |text: &str| text.parse().map_err(|_| format!("{text} is too large"));
            let (first, last): (i64, i64) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("{word}: the first number is the greater one"));
            }
            return Ok(Self::Range(first, last));
        }
        Ok(Self::Text(word.to_owned()))
    }
}

/// `^[+-]?\d+$`; what is beyond 64 bits is beyond every range.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all)
}

fn of_truth(word: &str) -> Option<i64> {
    // As Perl compares Unicode texts without case: a long s is an s, too.
    let fold = |text: &str| text.chars().flat_map(char::to_uppercase).collect::<String>();
    let word = fold(word);
    let is = |words: &[&str]| words.iter().any(|have| fold(have) == word);
    if is(&TRUE) {
        return Some(1);
    }
    is(&FALSE).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::Values;
    use proptest::prelude::*;

    fn hold(values: &str, value: &str) -> bool {
        Values::parse(values).unwrap().hold(value, false)
    }

    #[test]
    fn numbers_texts_and_truths() {
        assert!(hold("100-199,300", "150") && hold("100-199,300", "300"));
        assert!(hold("100-199", "0150") && hold("100-199", "+150") && hold("100-199", "150\n"));
        assert!(!hold("100-199", "200") && !hold("100-199", "15x") && !hold("100-199", ""));
        assert!(hold("web-*", "web-1") && !hold("web-*", "db") && hold("*", ""));
        assert!(hold("pve-1", "pve-1") && !hold("pve-1", "pve-2"));
        assert!(!hold("1", "yes"));
        let one = Values::parse("1").unwrap();
        for word in ["1", "yes", "ON", "True", "ye\u{17f}"] {
            assert!(one.hold(word, true), "{word}");
        }
        assert!(!one.hold("0", true) && !one.hold("off", true) && !one.hold("maybe", true));
        assert!(Values::parse("yes").unwrap().hold("1", true));
        for bad in ["", "9-1", "99999999999999999999"] {
            Values::parse(bad).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn a_number_is_held_however_it_is_written(number in 0_i64..1 << 40, zeros in 0_usize..5) {
            let range = Values::parse(&format!("{number}-{}", number + 1)).unwrap();
            let written = format!("{}{number}", "0".repeat(zeros));
            prop_assert!(range.hold(&written, false));
        }

        #[test]
        fn any_text(values in ".{0,20}", value in ".{0,20}") {
            if let Ok(values) = Values::parse(&values) {
                values.hold(&value, true);
            }
        }
    }
}
