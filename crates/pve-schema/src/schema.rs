//! A release of the API: its methods and their path tree.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use crate::limits::{MAX_DOCUMENT_BYTES, MAX_NODES};
use crate::lookup::{Node, PathMatch, Tree};
use crate::method::{Method, Verb};

/// All methods of one release.
#[derive(Debug)]
pub struct Schema {
    release: String,
    tree: Tree,
    methods: Vec<Method>,
}

/// Why facts or a document could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A line of a facts file.
    #[error("API facts, line {line}: {reason}; write the file again with `cargo xtask schema`")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An API document.
    #[error("API document: {0}; fetch /pve-docs/api-viewer/apidoc.js from a node again")]
    Document(String),
    /// Above a limit of this crate.
    #[error("API document: more than {limit} {what}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// What is counted.
        what: &'static str,
    },
}

impl Schema {
    /// PVE 9.2, loaded once.
    pub fn v9() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| Self::shipped(V9))
    }

    /// PVE 8.4, loaded once.
    pub fn v8() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| Self::shipped(V8))
    }

    /// The facts that ship with this crate, for [`Schema::from_facts`]: releases 9 and 8.
    #[must_use]
    pub fn shipped_facts() -> [&'static str; 2] {
        [V9, V8]
    }

    /// Reads a facts file (`generated/*.facts`).
    ///
    /// # Errors
    /// The first line that is not as `cargo xtask schema` writes them.
    pub fn from_facts(text: &'static str) -> Result<Self, SchemaError> {
        let mut builder = Builder::default();
        let mut lines = text.lines();
        let header = lines.next().and_then(|line| line.strip_prefix("# PVE "));
        let release = header.and_then(|rest| rest.split(' ').next());
        let release =
            release.ok_or(SchemaError::Line { line: 1, reason: "no release" })?.to_owned();
        for (index, line) in lines.enumerate() {
            let refused = |reason| SchemaError::Line { line: index + 2, reason };
            let mut fields = line.splitn(3, '\t');
            let (Some(verb), Some(path), Some(rest)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return Err(refused("not three fields"));
            };
            let node = builder.node(path).ok_or(refused("a path no line before it leads to"))?;
            if verb == "-" {
                rest.split(' ').try_for_each(|name| builder.child(node, name).map(drop))?;
                continue;
            }
            let verb = Verb::from_http(verb).ok_or(refused("an unknown verb"))?;
            builder.method(node, verb, Cow::Borrowed(rest));
        }
        Ok(builder.finish(release))
    }

    /// Reads an API document: `apidoc.js` of a node, or the JSON list in it. The release is not
    /// in the document.
    ///
    /// # Errors
    /// Not an API tree, or above [`MAX_DOCUMENT_BYTES`] or [`MAX_NODES`].
    pub fn from_apidoc(text: &str) -> Result<Self, SchemaError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(SchemaError::TooLarge { limit: MAX_DOCUMENT_BYTES, what: "bytes" });
        }
        let mut builder = Builder::default();
        crate::apidoc::read(text, &mut builder)?;
        Ok(builder.finish("unknown".to_owned()))
    }

    /// `9.2.3`, `8.4`, or `unknown`.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The node of a decoded path without `/api2/json`: `/nodes/pve1/qemu/100/config`. `None`
    /// when there is no such path; the root is `/`.
    #[must_use]
    pub fn find<'s>(&'s self, path: &str) -> Option<PathMatch<'s>> {
        self.tree.find(path, &self.methods)
    }

    /// All methods, by path, then verb.
    pub fn methods(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter()
    }

    /// All path templates, those without methods included.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.tree.nodes.iter().skip(1).map(|node| node.path.as_str())
    }

    fn shipped(facts: &'static str) -> Self {
        // A test loads both files, so the empty schema (every path unknown) cannot ship.
        Self::from_facts(facts).unwrap_or_else(|_| Builder::default().finish(String::new()))
    }
}

const V9: &str = include_str!("../generated/pve-9.facts");
const V8: &str = include_str!("../generated/pve-8.facts");

/// Builds the tree top down.
pub(crate) struct Builder {
    tree: Tree,
    methods: Vec<Method>,
    by_path: HashMap<String, usize>,
}

impl Default for Builder {
    fn default() -> Self {
        let root = Node { path: "/".to_owned(), ..Node::default() };
        let by_path = HashMap::from([("/".to_owned(), 0)]);
        Self { tree: Tree { nodes: vec![root] }, methods: Vec::new(), by_path }
    }
}

impl Builder {
    pub(crate) const ROOT: usize = 0;

    fn node(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// The child of that name, made when it is not there yet.
    pub(crate) fn child(&mut self, parent: usize, name: &str) -> Result<usize, SchemaError> {
        let base = match self.tree.nodes.get(parent) {
            Some(node) if parent != Self::ROOT => node.path.as_str(),
            _ => "",
        };
        let path = format!("{base}/{name}");
        if let Some(known) = self.node(&path) {
            return Ok(known);
        }
        if self.tree.nodes.len() > MAX_NODES {
            return Err(SchemaError::TooLarge { limit: MAX_NODES, what: "nodes" });
        }
        let index = self.tree.nodes.len();
        if let Some(parent) = self.tree.nodes.get_mut(parent) {
            parent.children.push(index);
        }
        self.by_path.insert(path.clone(), index);
        self.tree.nodes.push(Node { path, name: name.to_owned(), ..Node::default() });
        Ok(index)
    }

    pub(crate) fn method(&mut self, node: usize, verb: Verb, raw: Cow<'static, str>) {
        let Some(node) = self.tree.nodes.get_mut(node) else {
            return;
        };
        if let Some(slot) = node.methods.get_mut(verb as usize) {
            *slot = Some(self.methods.len());
            self.methods.push(Method::new(verb, node.path.clone(), raw));
        }
    }

    fn finish(self, release: String) -> Schema {
        Schema { release, tree: self.tree, methods: self.methods }
    }
}

#[cfg(test)]
mod tests {
    use super::{Schema, SchemaError};
    use crate::method::Verb;

    #[test]
    fn lines_must_be_as_written() {
        for (text, line) in [
            ("", 1),
            ("# PVE", 1),
            ("# PVE 9\nGET\t/x", 2),
            ("# PVE 9\nGET\t/x\t{}", 2),
            ("# PVE 9\n-\t/\tx\nHEAD\t/x\t{}", 3),
        ] {
            assert!(
                matches!(Schema::from_facts(text), Err(SchemaError::Line { line: l, .. }) if l == line),
                "{text}"
            );
        }
    }

    #[test]
    fn the_tree_is_built_from_lines() {
        let schema =
            Schema::from_facts("# PVE 9 x\n-\t/\ta b\nGET\t/a\t{\"name\":\"n\"}\n").unwrap();
        assert_eq!(schema.release(), "9");
        assert_eq!(schema.find("/a").unwrap().method(Verb::Get).unwrap().name(), "n");
        assert!(schema.find("a/").unwrap().method(Verb::Put).is_none());
        assert_eq!(schema.find("/").unwrap().children().collect::<Vec<_>>(), ["a", "b"]);
        assert!(schema.find("/c").is_none() && schema.find("/a/b").is_none());
    }
}
