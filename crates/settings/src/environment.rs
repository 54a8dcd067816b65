//! Variables of the environment and the keys they stand for.

use std::ffi::{OsStr, OsString};

use crate::error::{ErrorKind, SettingsError};
use crate::layers::merge_at;
use crate::limits::{DEPTH, ENVIRONMENT_VALUE};
use crate::node::{Node, Origin, Table};
use crate::parse;

/// What every variable begins with: `PROXWARD_GATE_LISTEN` is `gate.listen`.
pub const PREFIX: &str = "PROXWARD_";

/// Merges the variables into `into`. Names without [`PREFIX`] and `ignored` ones are skipped.
pub(crate) fn merge(
    into: &mut Table,
    variables: Vec<(OsString, OsString)>,
    ignored: &[String],
    sections: &[&str],
) -> Result<(), SettingsError> {
    let prefixed = |name: &OsStr| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    let mut variables: Vec<_> = variables.into_iter().filter(|(name, _)| prefixed(name)).collect();
    // The order of an environment says nothing; errors shall not depend on it.
    variables.sort();
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        if ignored.contains(&name) {
            continue;
        }
        let origin = Origin::Environment { name: name.as_str().into() };
        let path = path(&name, sections).ok_or_else(|| unknown(&origin, sections))?;
        let refused = |kind, what: &str, remedy: &str| {
            SettingsError::new(kind, origin.clone(), path.join("."), what, remedy)
        };
        if value.len() > ENVIRONMENT_VALUE {
            let what = format!("longer than {ENVIRONMENT_VALUE} bytes");
            return Err(refused(ErrorKind::Limit, &what, "use a file"));
        }
        let Some(value) = value.to_str() else {
            return Err(refused(ErrorKind::Value, "not UTF-8", "correct the value"));
        };
        let value = parse::untyped(value, &origin)?;
        merge_at(into, &path, Node { origin, value })?;
    }
    Ok(())
}

/// The key a name stands for: section, one underscore, then the rest, in which two underscores
/// separate nested tables. Names are upper case, keys lower case, so a key that is not
/// `snake_case` can not be set this way.
fn path(name: &str, sections: &[&str]) -> Option<Vec<String>> {
    let rest = name.strip_prefix(PREFIX)?;
    if !rest.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'_')) {
        return None;
    }
    let rest = rest.to_ascii_lowercase();
    let split =
        |section: &&str| Some((rest.strip_prefix(*section)?.strip_prefix('_')?, section.len()));
    // The longest, so that a section `cell` does not take the variables of `cell_pool`.
    let (key, length) = sections.iter().filter_map(split).max_by_key(|(_, length)| *length)?;
    let section = rest.get(..length)?.to_owned();
    let path: Vec<String> =
        std::iter::once(section).chain(key.split("__").map(str::to_owned)).collect();
    // A third underscore would belong to either side; an empty part to none.
    let plain = |part: &String| !part.is_empty() && !part.starts_with('_') && !part.ends_with('_');
    (path.len() <= DEPTH && path.iter().all(plain)).then_some(path)
}

fn unknown(origin: &Origin, sections: &[&str]) -> SettingsError {
    let names: Vec<String> = sections.iter().map(|section| section.to_ascii_uppercase()).collect();
    let remedy = format!(
        "unset it, or name it {PREFIX}SECTION_KEY with a section of {} and __ between nested keys",
        names.join(", ")
    );
    SettingsError::new(ErrorKind::UnknownKey, origin.clone(), "", "stands for no key", remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECTIONS: [&str; 3] = ["gate", "cell", "cell_pool"];

    #[test]
    fn names_and_keys() {
        let key = |name: &str| path(name, &SECTIONS).map(|path| path.join("."));
        for (name, expected) in [
            ("PROXWARD_GATE_LISTEN", Some("gate.listen")),
            ("PROXWARD_GATE_MAX_BODY_BYTES", Some("gate.max_body_bytes")),
            ("PROXWARD_GATE_TLS__MIN_VERSION", Some("gate.tls.min_version")),
            ("PROXWARD_CELL_POOL_SIZE", Some("cell_pool.size")),
            ("PROXWARD_CELL_WEB2__MEMORY", Some("cell.web2.memory")),
            ("PROXWARD_GATE", None),
            ("PROXWARD_GATE_", None),
            ("PROXWARD_GATE__LISTEN", None),
            ("PROXWARD_GATE_TLS___X", None),
            ("PROXWARD_GATE_listen", None),
            ("PROXWARD_GATEWAY_LISTEN", None),
            ("PROXWARD_LISTEN", None),
        ] {
            assert_eq!(key(name).as_deref(), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn two_names_never_mean_one_key(
            a in "PROXWARD_(GATE|CELL)(_|__|___)[A-Z_]{0,6}",
            b in "PROXWARD_(GATE|CELL)(_|__|___)[A-Z_]{0,6}",
        ) {
            if let (Some(one), Some(other)) = (path(&a, &SECTIONS), path(&b, &SECTIONS)) {
                prop_assert_eq!(one == other, a == b);
            }
        }

        #[test]
        fn any_name_is_judged(name: String, tail: String) {
            let _ = path(&name, &SECTIONS);
            let _ = path(&format!("{PREFIX}{tail}"), &SECTIONS);
        }
    }
}
