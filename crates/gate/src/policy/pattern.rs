//! Which paths a rule is about. A pattern sees the path below the format, split as Proxmox VE
//! splits it for its own routing, so that no spelling of a call gets around a rule:
//!
//! * repeated and trailing slashes mean nothing;
//! * a volume's name is one segment, slashes included;
//! * `localhost` in a node's place is whichever node answers: what denies takes it for the node
//!   it names, what allows does not.

use std::borrow::Cow;

use super::glob::glob;
use super::rule::Effect;
use crate::limits::POLICY_SEGMENTS;

/// The node that answers, whatever its name is.
const LOCAL: &str = "localhost";

/// The segment that names a node.
const NODE: usize = 1;

/// Segments before the name of a volume, which may hold slashes (`local:iso/x.iso`); `*` is any.
const BEFORE_VOLUME: [&str; 5] = ["nodes", "*", "storage", "*", "content"];

/// A path as it is routed.
#[derive(Debug)]
pub(crate) struct Segments<'p> {
    all: Vec<&'p str>,
    /// A volume whose name has more slashes than were meant; it is the last segment.
    volume: Option<String>,
    mark: Mark,
}

/// A byte of each of the first eight segments. Whether a pattern can be about a path at all is one
/// comparison of these, so that dozens of rules cost a call next to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark(u64);

/// A pattern, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
    /// Ends in `**`: whatever follows.
    open: bool,
    /// Of the literal parts, and which bytes of it those are.
    mark: Mark,
    marked: Mark,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// With `*` within.
    Glob(String),
    /// `*`, or `{name}`.
    Any(Option<String>),
}

impl<'p> Segments<'p> {
    /// Of a path below the format. None for more segments than any call has.
    pub(crate) fn of(path: &'p str) -> Option<Self> {
        let mut all = Vec::with_capacity(8);
        let mut rest = path.trim_start_matches('/');
        while !rest.is_empty() {
            let volume = all.len() == BEFORE_VOLUME.len()
                && BEFORE_VOLUME.iter().zip(&all).all(|(want, have)| *want == "*" || want == have);
            if volume {
                return Some(Self::with_volume(all, rest));
            }
            if all.len() == POLICY_SEGMENTS {
                return None;
            }
            let end = memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len());
            let (segment, after) = rest.split_at(end);
            all.push(segment);
            rest = after.trim_start_matches('/');
        }
        Some(Self::new(all, None))
    }

    fn new(all: Vec<&'p str>, volume: Option<String>) -> Self {
        let mut mark = Mark::default();
        for (at, segment) in all.iter().copied().chain(volume.as_deref()).enumerate() {
            mark.set(at, Mark::of(segment));
        }
        Self { all, volume, mark }
    }

    fn with_volume(mut all: Vec<&'p str>, rest: &'p str) -> Self {
        let rest = rest.trim_end_matches('/');
        if !rest.contains("//") {
            all.push(rest);
            return Self::new(all, None);
        }
        let pieces: Vec<_> = rest.split('/').filter(|piece| !piece.is_empty()).collect();
        Self::new(all, Some(pieces.join("/")))
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len() + usize::from(self.volume.is_some())
    }

    pub(crate) fn get(&self, at: usize) -> Option<&str> {
        match self.all.get(at) {
            Some(segment) => Some(segment),
            None if at == self.all.len() => self.volume.as_deref(),
            None => None,
        }
    }

    /// As one text with single slashes.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for at in 0..self.len() {
            path.push('/');
            path.push_str(self.get(at).unwrap_or_default());
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Whether this segment stands for a node without naming it.
    fn is_local(&self, at: usize) -> bool {
        at == NODE && self.get(0) == Some("nodes") && self.get(NODE) == Some(LOCAL)
    }
}

impl Pattern {
    /// Reads `/nodes/*/qemu/{vmid}/**`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let example = "write one such as /nodes/*/qemu/{vmid}/**";
        let Some(below) = text.strip_prefix('/') else {
            return Err(format!("{text:?} does not begin with a slash; {example}"));
        };
        if below.starts_with("api2/") {
            let what = "leave out /api2 and the format: a rule is for all of them";
            return Err(format!("{text:?}: {what}"));
        }
        let mut pattern = Self::default();
        let mut words = below.split('/').peekable();
        while let Some(word) = words.next() {
            let last = words.peek().is_none();
            match word {
                "**" if last => pattern.open = true,
                "" if last && pattern.parts.is_empty() => {}
                "" => return Err(format!("{text:?}: an empty segment; {example}")),
                _ if word.contains("**") => {
                    return Err(format!("{text:?}: ** stands alone at the end; {example}"));
                }
                _ if word.chars().any(|c| c == '%' || c.is_control()) => {
                    return Err(format!("{text:?}: write it decoded, without %"));
                }
                _ => pattern.parts.push(
                    Part::parse(word).map_err(|what| format!("{text:?}: {what}; {example}"))?,
                ),
            }
        }
        if pattern.parts.len() > POLICY_SEGMENTS {
            return Err(format!("{text:?}: more than {POLICY_SEGMENTS} segments"));
        }
        pattern.set_marks();
        Ok(pattern)
    }

    fn set_marks(&mut self) {
        for (at, part) in self.parts.iter().enumerate() {
            // A node is left out: it may be called otherwise.
            if let Part::Literal(text) = part
                && at != NODE
            {
                self.mark.set(at, Mark::of(text));
                self.marked.set(at, u8::MAX);
            }
        }
    }

    /// Whether a rule of this effect is about the path.
    pub(crate) fn matches(&self, path: &Segments<'_>, effect: Effect) -> bool {
        !self.is_of_others(path) && self.fits(path, effect)
    }

    /// Whether one look tells that this is not about the path, whatever the effect.
    #[inline]
    pub(super) fn is_of_others(&self, path: &Segments<'_>) -> bool {
        path.mark.0 & self.marked.0 != self.mark.0
    }

    fn fits(&self, path: &Segments<'_>, effect: Effect) -> bool {
        let enough = match self.open {
            true => path.len() >= self.parts.len(),
            false => path.len() == self.parts.len(),
        };
        enough
            && self.parts.iter().enumerate().all(|(at, part)| {
                let Some(segment) = path.get(at) else { return false };
                part.matches(segment) || (effect == Effect::Deny && path.is_local(at))
            })
    }

    /// What stands in the place of `{name}`; None where the pattern has no such place. A node
    /// that is not named is not known.
    pub(crate) fn variable<'s>(&self, path: &'s Segments<'_>, name: &str) -> Option<Cow<'s, str>> {
        let named = |part: &Part| matches!(part, Part::Any(Some(have)) if have == name);
        path.get(self.parts.iter().position(named)?).map(Cow::Borrowed)
    }
}

impl Mark {
    /// That of one segment: never 0, which is that of none.
    fn of(segment: &str) -> u8 {
        let bytes = segment.as_bytes();
        let (first, last) = (bytes.first().copied(), bytes.last().copied());
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        let mixed = first.unwrap_or_default().wrapping_mul(31) ^ last.unwrap_or_default();
        mixed.wrapping_add(length.wrapping_mul(7)).max(1)
    }

    /// Segments behind the eighth have none.
    fn set(&mut self, at: usize, mark: u8) {
        if at < size_of::<u64>() {
            self.0 |= u64::from(mark) << (8 * at);
        }
    }
}

/// Whether a value of the parameter `name` leaves open which node is meant.
pub(crate) fn is_open_node(name: &str, value: &str) -> bool {
    name == "node" && value == LOCAL
}

impl Part {
    fn parse(word: &str) -> Result<Self, String> {
        if word == "*" {
            return Ok(Self::Any(None));
        }
        let name = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
        if let Some(name) = name {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            let good = !name.is_empty() && name.chars().all(known);
            return match good {
                true => Ok(Self::Any(Some(name.to_owned()))),
                false => Err(format!("{word} is no name of a parameter")),
            };
        }
        if word.contains(['{', '}']) {
            return Err(format!("{word}: braces stand around a whole segment"));
        }
        let word = word.to_owned();
        Ok(if word.contains('*') { Self::Glob(word) } else { Self::Literal(word) })
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => text == segment,
            Self::Glob(text) => glob(text, segment),
            Self::Any(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::decode_path;
    use crate::route::Route;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&Segments::of(path).unwrap(), Effect::Deny)
    }

    #[test]
    fn patterns() {
        assert!(matches("/nodes/*/qemu/{vmid}/**", "/nodes/a/qemu/100"));
        assert!(matches("/nodes/*/qemu/{vmid}/**", "/nodes/a/qemu/100/status/stop"));
        assert!(!matches("/nodes/*/qemu/{vmid}/**", "/nodes/a/qemu"));
        assert!(!matches("/nodes/*/qemu/{vmid}", "/nodes/a/qemu/100/status"));
        assert!(matches("/nodes/web-*/status", "/nodes/web-1/status"));
        assert!(!matches("/nodes/web-*/status", "/nodes/db-1/status"));
        assert!(matches("/", "/") && matches("/**", "/") && matches("/**", "/a/b"));
        assert!(!matches("/", "/version") && !matches("/Version", "/version"));
    }

    #[test]
    fn a_volume_is_one_segment() {
        let delete = "/nodes/*/storage/*/content/*";
        for volume in ["local:iso/x.iso", "local:iso//x.iso", "local:iso/x.iso//", "a/b/c"] {
            let path = format!("/nodes/a/storage/b/content/{volume}");
            assert!(matches(delete, &path), "{path}");
            let found = pve_schema::Schema::v9().find(&path).unwrap();
            let segments = Segments::of(&path).unwrap();
            assert_eq!(segments.get(5), found.variable("volume"), "{path}");
        }
        assert!(!matches(delete, "/nodes/a/storage/b/content"));
    }

    #[test]
    fn a_node_that_is_not_named_is_the_one_a_denial_is_about() {
        let pattern = Pattern::parse("/nodes/pve1/**").unwrap();
        let local = Segments::of("/nodes/localhost/qemu").unwrap();
        assert!(pattern.matches(&local, Effect::Deny));
        assert!(!pattern.matches(&local, Effect::Allow));
        assert!(!matches("/nodes/pve1/**", "/nodes/pve2"));
        assert!(!matches("/pools/x", "/pools/localhost"));
    }

    #[test]
    fn faults_say_what_to_write() {
        for bad in
            ["nodes", "/a//b", "/a/", "/a/**/b", "/a**", "/a/%2f", "/{a", "/{}", "/api2/json/a"]
        {
            Pattern::parse(bad).unwrap_err();
        }
        assert!(Segments::of(&"/a".repeat(POLICY_SEGMENTS + 1)).is_none());
    }

    /// One spelling of a path that pveproxy takes for the same call: any character as an escape
    /// in either case, any slash repeated, any format, a slash at the end.
    fn spelling(path: &str, choices: &[u8]) -> String {
        let mut text = String::from("/api2");
        let mut choice = choices.iter().copied().cycle();
        let mut next = || choice.next().unwrap_or(0);
        let format = ["json", "extjs", "html", "htmljs", "png"][usize::from(next() % 5)];
        for c in format!("/{format}{path}").chars() {
            let times = if c == '/' { 1 + next() % 3 } else { 1 };
            for _ in 0..times {
                match next() % 3 {
                    0 => text.push(c),
                    1 => text.push_str(&format!("%{:02x}", c as u32)),
                    _ => text.push_str(&format!("%{:02X}", c as u32)),
                }
            }
        }
        if next() % 2 == 0 {
            text.push('/');
        }
        text
    }

    proptest! {
        #[test]
        fn every_spelling_gets_the_same_verdict(
            choices in prop::collection::vec(any::<u8>(), 8..64),
            which in 0_usize..6,
        ) {
            let paths = ["/nodes/pve1/qemu/100", "/access/acl", "/nodes/pve1/execute",
                "/nodes/a/storage/b/content/local:iso/x.iso", "/version", "/pools/p"];
            let (path, spelt) = (paths[which], spelling(paths[which], &choices));
            let decoded = decode_path(&spelt).unwrap();
            let Route::Api(_, below) = Route::of(&decoded) else { panic!("{spelt}") };
            let (plain, seen) = (Segments::of(path).unwrap(), Segments::of(below).unwrap());
            prop_assert_eq!(plain.path(), seen.path());
            for pattern in paths.iter().copied().chain(["/nodes/*/**", "/**", "/nodes/*/storage/*/content/*"]) {
                let pattern = Pattern::parse(pattern).unwrap();
                for effect in [Effect::Allow, Effect::Deny] {
                    prop_assert_eq!(pattern.matches(&plain, effect), pattern.matches(&seen, effect));
                }
            }
        }

        #[test]
        fn any_path_and_pattern(path in "[/a*.{}é]{0,40}", pattern in "/[/a*{}]{0,20}") {
            if let (Some(path), Ok(pattern)) = (Segments::of(&path), Pattern::parse(&pattern)) {
                pattern.matches(&path, Effect::Deny);
            }
        }

        /// The marks decide nothing that the parts would decide otherwise.
        #[test]
        fn marks_only_save_time(
            path in "(/(nodes|localhost|a|b|storage|content|qemu|100|x//y)){0,10}",
            pattern in "(/(nodes|localhost|a|b|storage|content|qemu|q\\*|\\*|\\{n\\}|100)){1,10}(/\\*\\*)?",
        ) {
            let (path, pattern) = (Segments::of(&path).unwrap(), Pattern::parse(&pattern).unwrap());
            for effect in [Effect::Allow, Effect::Deny] {
                prop_assert_eq!(pattern.matches(&path, effect), pattern.fits(&path, effect));
            }
        }

        /// Split as the schema's own look-up splits.
        #[test]
        fn split_as_the_schema_does(path in "(/{1,2}(nodes|a|storage|content|qemu|100)){1,9}/?") {
            let segments = Segments::of(&path).unwrap();
            let (here, there) = (segments.path(), path);
            let schema = pve_schema::Schema::v9();
            prop_assert_eq!(
                schema.find(&here).map(|found| found.variables),
                schema.find(&there).map(|found| found.variables)
            );
        }
    }
}
