//! Accept-Encoding, read strictly.

use http::header::ACCEPT_ENCODING;

use crate::head::Fields;
use crate::limits::ACCEPTED_CODINGS;

/// How a body can be written.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Gzip,
    /// The zlib format, as RFC 9110 §8.4.1.2 and pveproxy mean it.
    Deflate,
}

/// In the order in which they are preferred where the client has no preference, with the reason.
const CODINGS: [(Coding, &str, &str); 3] = [
    (Coding::Zstd, "zstd", "a third of gzip's time for fewer bytes"),
    (Coding::Gzip, "gzip", "what every tool reads"),
    (Coding::Deflate, "deflate", "pveproxy offers it"),
];

/// The weight of a coding that is as welcome as any: 1.000 in thousandths.
const FULL: u16 = 1000;

impl Coding {
    /// The coding a client likes best of those there are; None when that is the plain body, and
    /// for a header that says nothing by its own grammar (RFC 9110 §12.5.3).
    pub(crate) fn wanted(headers: &Fields) -> Option<Self> {
        let mut weights = [None; CODINGS.len()];
        let (mut others, mut count) = (None, 0);
        for line in headers.get_all(ACCEPT_ENCODING) {
            for element in line.to_str().ok()?.split(',').map(trim) {
                if element.is_empty() {
                    continue;
                }
                count += 1;
                if count > ACCEPTED_CODINGS {
                    return None;
                }
                let (name, weight) = weighed(element)?;
                let known = CODINGS.iter().position(|(_, known, _)| {
                    name.eq_ignore_ascii_case(known)
                        || (*known == "gzip" && name.eq_ignore_ascii_case("x-gzip"))
                });
                match known.and_then(|at| weights.get_mut(at)) {
                    Some(place) => *place = Some(weight),
                    None if name == "*" => others = Some(weight),
                    None => {}
                }
            }
        }
        let weighed = CODINGS
            .iter()
            .zip(weights)
            .map(|((coding, ..), weight)| (*coding, weight.or(others).unwrap_or_default()));
        // Of equals the first: `max_by_key` would take the last.
        let best = weighed.rev().max_by_key(|(_, weight)| *weight)?;
        (best.1 > 0).then_some(best.0)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

/// `token [ OWS ";" OWS "q=" qvalue ]`: the token and its weight in thousandths.
fn weighed(element: &str) -> Option<(&str, u16)> {
    let (name, weight) = match element.split_once(';') {
        None => (element, FULL),
        Some((name, parameter)) => {
            let parameter = trim(parameter);
            let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
            (trim(name), thousandths(value)?)
        }
    };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!name.is_empty() && name.bytes().all(token)).then_some((name, weight))
}

/// `0`, `0.5`, `1.000` (RFC 9110 §12.4.2).
fn thousandths(value: &str) -> Option<u16> {
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    let lawful = digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let part = format!("{digits:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" if lawful => Some(part),
        "1" if lawful && part == 0 => Some(FULL),
        _ => None,
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::{CODINGS, Coding};
    use crate::head::Fields;
    use http::header::ACCEPT_ENCODING;
    use proptest::prelude::*;

    fn wanted(lines: &[&str]) -> Option<Coding> {
        let mut headers = Fields::default();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().unwrap());
        }
        Coding::wanted(&headers)
    }

    #[test]
    fn what_browsers_and_tools_send() {
        for (line, coding) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("gzip", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("GZIP", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            ("identity", None),
            ("br", None),
            ("", None),
            ("*", Some(Coding::Zstd)),
            ("*;q=0", None),
            ("gzip;q=0, *", Some(Coding::Zstd)),
            ("gzip, *;q=0", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip;q=0, identity", None),
            ("gzip;q=1.0, zstd;q=0.999", Some(Coding::Gzip)),
            ("zstd;q=0.5, gzip ; q=0.5", Some(Coding::Zstd)),
            ("gzip;q=0.5,,deflate;Q=1", Some(Coding::Deflate)),
        ] {
            assert_eq!(wanted(&[line]), coding, "{line:?}");
        }
        assert_eq!(wanted(&[]), None);
        assert_eq!(wanted(&["gzip;q=0.1", "zstd;q=0.2"]), Some(Coding::Zstd));
    }

    /// A client that can not write the header can not be believed to read the coding.
    #[test]
    fn what_is_no_header_asks_for_nothing() {
        for line in [
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=-1",
            "gzip;q=0.1234",
            "gzip;q=",
            "gzip;q=.5",
            "gzip;level=1",
            "gzip;q=1;q=0",
            "gz ip",
            "gzip;",
            ";q=1",
            "gzip/2",
        ] {
            assert_eq!(wanted(&[line]), None, "{line:?}");
        }
        assert_eq!(wanted(&[&"a,".repeat(100), "gzip"]), None);
    }

    proptest! {
        #[test]
        fn any_header_is_read(line in "[a-z*;=q0-9., \t-]{0,60}") {
            wanted(&[&line]);
        }

        #[test]
        fn nothing_is_used_that_was_not_named(coding in 0..3_usize, weight in 1..=999_u16) {
            let (expected, name, _) = CODINGS[coding];
            let line = format!("{name};q=0.{weight:03}, identity;q=1");
            prop_assert_eq!(wanted(&[&line]), Some(expected));
        }
    }
}
