//! The part of YAML that pulse-sensor-proxy's configuration is written in.
//!
//! Block mappings, block lists, lists in brackets, plain and quoted text, comments. Anchors, tags,
//! several documents, block text, mappings in braces, tabs and keys given twice are refused: what
//! an administrator allowed must not be guessed.

use std::collections::BTreeMap;

/// Largest file, and deepest nesting.
const BYTES: usize = 256 * 1024;
const DEPTH: usize = 6;

/// A value with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Yaml {
    Null,
    /// Text; whether it stood in quotes.
    Text(String, bool),
    List(Vec<(usize, Yaml)>),
    Map(BTreeMap<String, (usize, Yaml)>),
}

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) what: &'static str,
}

struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads a whole file, whose top is a mapping or empty.
pub(crate) fn parse(text: &str) -> Result<Yaml, Fault> {
    let whole = |what| Err(Fault { line: 0, what });
    if text.len() > BYTES {
        return whole("the file is too large");
    }
    let mut lines = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let number = at + 1;
        let line = without_comment(raw.trim_end());
        let text = line.trim_start_matches(' ');
        if text.is_empty() || (text == "---" && lines.is_empty()) {
            continue;
        }
        if line.contains('\t') || text.chars().any(char::is_control) {
            return Err(Fault { line: number, what: "write blanks instead of tabs" });
        }
        if matches!(text, "---" | "...") {
            return Err(Fault { line: number, what: "only one document is read" });
        }
        lines.push(Line { number, indent: line.len() - text.len(), text });
    }
    let Some(first) = lines.first() else { return Ok(Yaml::Map(BTreeMap::new())) };
    let indent = first.indent;
    let mut rest = lines.as_slice();
    let value = block(&mut rest, indent, DEPTH)?;
    match rest.first() {
        Some(line) => {
            Err(Fault { line: line.number, what: "indented less than what it belongs to" })
        }
        None => Ok(value),
    }
}

fn block(lines: &mut &[Line<'_>], indent: usize, depth: usize) -> Result<Yaml, Fault> {
    let Some(first) = lines.first() else { return Ok(Yaml::Null) };
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Fault { line: first.number, what: "nested too deep" });
    };
    if first.text == "-" || first.text.starts_with("- ") {
        list(lines, indent, depth)
    } else {
        mapping(lines, indent, depth)
    }
}

fn list(lines: &mut &[Line<'_>], indent: usize, depth: usize) -> Result<Yaml, Fault> {
    let mut items = Vec::new();
    while let Some((line, rest)) = lines.split_first().filter(|(line, _)| line.indent == indent) {
        let Some(item) = line.text.strip_prefix('-') else { break };
        let inner = item.trim_start_matches(' ');
        let number = line.number;
        if inner.is_empty() {
            *lines = rest;
            let below = rest.first().filter(|next| next.indent > indent).map(|next| next.indent);
            let value = below.map_or(Ok(Yaml::Null), |below| block(lines, below, depth))?;
            items.push((number, value));
        } else if key(inner).is_some() {
            // `- uid: 0`: a mapping that begins on the dash's line.
            let within = indent + line.text.len() - inner.len();
            let own = Line { number, indent: within, text: inner };
            let end = rest.iter().position(|next| next.indent < within).unwrap_or(rest.len());
            let (below, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            let mut together: Vec<Line<'_>> = vec![own];
            together.extend(below.iter().map(|l| Line {
                number: l.number,
                indent: l.indent,
                text: l.text,
            }));
            let mut open = together.as_slice();
            let value = mapping(&mut open, within, depth)?;
            if let Some(left) = open.first() {
                return Err(Fault { line: left.number, what: "indented unlike its neighbours" });
            }
            items.push((number, value));
            *lines = after;
        } else {
            items.push((number, scalar(inner, number)?));
            *lines = rest;
        }
    }
    Ok(Yaml::List(items))
}

fn mapping(lines: &mut &[Line<'_>], indent: usize, depth: usize) -> Result<Yaml, Fault> {
    let mut members = BTreeMap::new();
    while let Some((line, rest)) = lines.split_first().filter(|(line, _)| line.indent == indent) {
        let number = line.number;
        let Some((name, value)) = key(line.text) else {
            return Err(Fault { line: number, what: "expected KEY: VALUE" });
        };
        *lines = rest;
        let value = if value.is_empty() {
            // A list may stand at the indent of its key.
            let is_below = |next: &&Line<'_>| {
                next.indent > indent || (next.indent == indent && next.text.starts_with('-'))
            };
            let below = rest.first().filter(is_below).map(|next| next.indent);
            below.map_or(Ok(Yaml::Null), |below| block(lines, below, depth))?
        } else {
            scalar(value, number)?
        };
        if members.insert(name.to_owned(), (number, value)).is_some() {
            return Err(Fault { line: number, what: "the same key twice" });
        }
    }
    if let Some(line) = lines.first().filter(|line| line.indent > indent) {
        return Err(Fault { line: line.number, what: "indented unlike its neighbours" });
    }
    Ok(Yaml::Map(members))
}

/// `name: value` with a plain name.
fn key(text: &str) -> Option<(&str, &str)> {
    let end = text.find(':')?;
    let (name, rest) = text.split_at_checked(end)?;
    let rest = rest.strip_prefix(':')?;
    let plain = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    (plain && (rest.is_empty() || rest.starts_with(' '))).then(|| (name, rest.trim()))
}

fn scalar(text: &str, line: usize) -> Result<Yaml, Fault> {
    let fault = |what| Err(Fault { line, what });
    if let Some(inner) = text.strip_prefix('[') {
        let Some(inner) = inner.strip_suffix(']') else { return fault("a list ends on its line") };
        if inner.contains(['[', ']', '{', '}']) {
            return fault("a list within a list");
        }
        let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
        let items = items.map(|item| Ok((line, scalar(item, line)?)));
        return Ok(Yaml::List(items.collect::<Result<_, _>>()?));
    }
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return match inner.strip_suffix(quote) {
                Some(inner) if !inner.contains([quote, '\\']) => {
                    Ok(Yaml::Text(inner.to_owned(), true))
                }
                _ => fault("quotes end on their line and hold no quotes or backslashes"),
            };
        }
    }
    if text.starts_with(['&', '*', '!', '|', '>', '{', '}', '%', '@', '`', '?']) {
        return fault("anchors, tags, block text and braces are not read");
    }
    if text.contains(": ") || text.ends_with(':') {
        return fault("a mapping within a value; put quotes around text with a colon");
    }
    Ok(match text {
        "~" | "null" => Yaml::Null,
        text => Yaml::Text(text.to_owned(), false),
    })
}

/// Cuts ` # …` off, outside quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | '[' | ',') => quote = Some(c),
            None if c == '#' && before == ' ' => {
                return line.get(..at).unwrap_or(line).trim_end();
            }
            _ => {}
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: &str) -> Yaml {
        Yaml::Text(value.to_owned(), false)
    }

    #[test]
    fn what_the_configuration_is_written_in() {
        let file = "# comment\n---\na: 1 # end\nb:\n  - x\n  - 'y # z'\nc: [1, \"2\"]\nd:\nallowed_peers:\n- uid: 0\n  capabilities:\n    - read\n    - admin\n- uid: 5\ne:\n  f: true\n";
        let Yaml::Map(map) = parse(file).unwrap() else { panic!("a mapping") };
        assert_eq!(map["a"], (3, text("1")));
        assert_eq!(
            map["b"].1,
            Yaml::List(vec![(5, text("x")), (6, Yaml::Text("y # z".into(), true))])
        );
        assert_eq!(map["c"].1, Yaml::List(vec![(7, text("1")), (7, Yaml::Text("2".into(), true))]));
        assert_eq!(map["d"].1, Yaml::Null);
        let Yaml::List(peers) = &map["allowed_peers"].1 else { panic!("a list") };
        let Yaml::Map(first) = &peers[0].1 else { panic!("a mapping") };
        assert_eq!(
            first["capabilities"],
            (11, Yaml::List(vec![(12, text("read")), (13, text("admin"))]))
        );
        assert_eq!(peers.len(), 2);
        assert!(matches!(&map["e"].1, Yaml::Map(inner) if inner["f"].1 == text("true")));
        assert_eq!(parse("").unwrap(), Yaml::Map(BTreeMap::new()));
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for (file, line) in [
            ("a: 1\na: 2", 2),
            ("a: &x 1", 1),
            ("a: *x", 1),
            ("a: !!str 1", 1),
            ("a: |\n  x", 1),
            ("a: {b: 1}", 1),
            ("a: 1\n---\nb: 2", 2),
            ("\ta: 1", 1),
            ("a:\n    b: 1\n  c: 2", 3),
            ("a: 'x", 1),
            ("a: [1", 1),
            ("a: \"x\\ny\"", 1),
            ("- a\nb: 1", 2),
            ("just text", 1),
            ("a: b: c", 1),
            ("a:\n  - b: 1\n      c: 2", 3),
        ] {
            assert_eq!(parse(file).map_err(|fault| fault.line), Err(line), "{file}");
        }
        let deep: String = (0..10).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        assert!(parse(&deep).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "([a-c:\\- #'\"\\[\\],]|\n {0,3}){0,60}") {
            let _ = parse(&text);
        }
    }
}
