//! Path patterns: `/nodes/{node}/qemu/{vmid}/status/start`, `/nodes/pve1/**`, `/cluster/*`.

use std::fmt;

use pve_schema::PathMatch;

use crate::limits::PATTERN_PARTS;

/// A pattern for decoded paths below `/api2/<format>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `{vmid}`: the schema has this variable here.
    Variable(String),
    /// Text in which `*` stands for anything.
    Glob(String),
    /// `**`: any number of parts, none included.
    Any,
}

impl Pattern {
    /// `Err` says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("a path begins with /".to_owned());
        }
        let parts: Vec<Part> =
            text.split('/').filter(|part| !part.is_empty()).map(Part::parse).collect();
        if parts.len() > PATTERN_PARTS {
            return Err(format!("more than {PATTERN_PARTS} parts"));
        }
        if text.starts_with("/api2") {
            return Err("a path is written without /api2/json".to_owned());
        }
        Ok(Self { parts, text: text.to_owned() })
    }

    /// Whether a call of this method can meet it.
    pub(super) fn can_match(&self, template: &str) -> bool {
        let names: Vec<&str> = template.split('/').filter(|part| !part.is_empty()).collect();
        self.walk(names.len(), |part, at| names.get(at).is_some_and(|name| part.can_be(name)))
    }

    /// Whether a call meets it. A variable's value is one part, slashes included.
    pub(super) fn matches(&self, at: &PathMatch<'_>) -> bool {
        let names: Vec<&str> = at.template.split('/').filter(|part| !part.is_empty()).collect();
        let mut values = at.variables.iter();
        let values: Vec<&str> = names
            .iter()
            .map(|name| match name.starts_with('{') {
                true => values.next().map_or("", |(_, value)| value.as_str()),
                false => name,
            })
            .collect();
        self.walk(names.len(), |part, at| match (names.get(at), values.get(at)) {
            (Some(name), Some(value)) => part.is(name, value),
            _ => false,
        })
    }

    /// Whether the parts cover positions 0 to `length`, row by row: no pattern can make it slow.
    fn walk(&self, length: usize, fits: impl Fn(&Part, usize) -> bool) -> bool {
        let mut reached = vec![false; length + 1];
        if let Some(first) = reached.first_mut() {
            *first = true;
        }
        for part in &self.parts {
            let mut next = vec![false; length + 1];
            let mut passed = false;
            for at in 0..=length {
                let here = reached.get(at).copied().unwrap_or(false);
                passed |= here;
                if matches!(part, Part::Any)
                    && passed
                    && let Some(slot) = next.get_mut(at)
                {
                    *slot = true;
                }
                if here
                    && fits(part, at)
                    && let Some(slot) = next.get_mut(at + 1)
                {
                    *slot = true;
                }
            }
            reached = next;
        }
        reached.last().copied().unwrap_or(false)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Part {
    fn parse(text: &str) -> Self {
        let variable = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        match (text, variable) {
            ("**", _) => Self::Any,
            (_, Some(name)) => Self::Variable(name.to_owned()),
            _ => Self::Glob(text.to_owned()),
        }
    }

    /// Whether some value of this part of a template fits.
    fn can_be(&self, name: &str) -> bool {
        match self {
            Self::Any => false,
            Self::Glob(glob) => name.starts_with('{') || fits(glob, name),
            Self::Variable(_) => self.is(name, ""),
        }
    }

    fn is(&self, name: &str, value: &str) -> bool {
        match self {
            Self::Any => false,
            Self::Glob(glob) => fits(glob, value),
            Self::Variable(wanted) => {
                name.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) == Some(wanted)
            }
        }
    }
}

/// `*` is any text. Greedy with one way back, so linear in practice and quadratic at worst.
fn fits(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(piece) = last.replace(piece) {
            let Some((_, after)) = rest.split_once(piece) else { return false };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pve_schema::Schema;

    fn meets(pattern: &str, path: &str) -> bool {
        let pattern = Pattern::parse(pattern).unwrap();
        let met = pattern.matches(&Schema::v9().find(path).unwrap());
        let template = Schema::v9().find(path).unwrap().template;
        assert!(!met || pattern.can_match(template), "{pattern} {path}");
        met
    }

    #[test]
    fn patterns_meet_paths() {
        for (pattern, path, met) in [
            ("/nodes/{node}/qemu/{vmid}/status/start", "/nodes/a/qemu/1/status/start", true),
            ("/nodes/{node}/qemu/{vmid}/status/*", "/nodes/a/qemu/1/status/start", true),
            ("/nodes/{node}/qemu/{vmid}/status", "/nodes/a/qemu/1/status/start", false),
            ("/nodes/{vmid}/qemu", "/nodes/a/qemu", false),
            ("/nodes/pve*/qemu", "/nodes/pve1/qemu", true),
            ("/nodes/pve*/qemu", "/nodes/xpve1/qemu", false),
            ("/nodes/*e1/qemu", "/nodes/pve1/qemu", true),
            ("/nodes/p*e*1/qemu", "/nodes/pve11/qemu", true),
            ("/**", "/version", true),
            ("/**", "/nodes/a/qemu/1/config", true),
            ("/**/config", "/nodes/a/qemu/1/config", true),
            ("/nodes/**/config", "/nodes/a/qemu/1/status/current", false),
            ("/nodes/**/**", "/nodes", true),
            ("/nodes/*/**", "/nodes", false),
            ("/nodes/a/storage/b/content/*", "/nodes/a/storage/b/content/b:iso/x.iso", true),
            ("/version/", "/version", true),
        ] {
            assert_eq!(meets(pattern, path), met, "{pattern} {path}");
        }
    }

    #[test]
    fn what_no_method_has_is_seen() {
        let none = |text| {
            let pattern = Pattern::parse(text).unwrap();
            !Schema::v9().methods().any(|method| pattern.can_match(method.path()))
        };
        assert!(
            none("/nodes/{node}/qemu/{vm}/config")
                && none("/node/*")
                && none("/cluster/*/*/*/*/*/*/*/*/*")
        );
        assert!(!none("/**") && !none("/nodes/*/qemu/*/config"));
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in ["", "nodes", "/api2/json/nodes", &"/a".repeat(PATTERN_PARTS + 1)] {
            Pattern::parse(wrong).unwrap_err();
        }
    }

    /// The same by trying every way.
    fn slow(glob: &[char], text: &[char]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
            Some((c, rest)) => text.first() == Some(c) && slow(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn globs_are_what_they_say(glob in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(fits(&glob, &text), slow(&chars(&glob), &chars(&text)));
        }

        #[test]
        fn any_pattern_is_answered(text in "/[a-z{}*/]{0,40}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                let at = Schema::v9().find("/nodes/a/qemu/100/config").unwrap();
                prop_assert!(!pattern.matches(&at) || pattern.can_match(at.template));
            }
        }
    }
}
