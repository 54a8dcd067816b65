//! From a path to a node of the tree, as `PVE::RESTHandler::find_handler` walks it.

use crate::method::{Method, Verb};

/// The path tree; node 0 is the root.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) path: String,
    /// Last component; `{name}` for a variable.
    pub(crate) name: String,
    pub(crate) children: Vec<usize>,
    /// Index of the method for each of [`Verb::ALL`].
    pub(crate) methods: [Option<usize>; 4],
}

/// A node of the tree and the values its variables have in the path asked for.
#[derive(Debug, Clone)]
pub struct PathMatch<'s> {
    /// The path template.
    pub template: &'s str,
    /// Variables in the order of the path.
    pub variables: Vec<(&'s str, String)>,
    tree: &'s Tree,
    methods: &'s [Method],
    node: &'s Node,
}

/// Paths whose rest is one component, slashes included: volume names have some
/// (`local:iso/x.iso`). PVE mounts them with an empty fragment delimiter.
const WHOLE_REST: [&str; 1] = ["/nodes/{node}/storage/{storage}/content"];

impl Tree {
    /// The node of a decoded path; empty components are passed over.
    pub(crate) fn find<'s>(&'s self, path: &str, methods: &'s [Method]) -> Option<PathMatch<'s>> {
        let mut node = self.nodes.first()?;
        let mut variables = Vec::new();
        let mut rest: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        rest.reverse();
        while let Some(part) = rest.pop() {
            let mut part = part.to_owned();
            if WHOLE_REST.contains(&node.path.as_str()) {
                while let Some(more) = rest.pop() {
                    part.push('/');
                    part.push_str(more);
                }
            }
            node = self.child(node, &part)?;
            if let Some(variable) = node.variable() {
                variables.push((variable, part));
            }
        }
        Some(PathMatch { template: &node.path, variables, tree: self, methods, node })
    }

    /// A literal child before the variable one; a variable takes anything without blanks.
    fn child(&self, node: &Node, part: &str) -> Option<&Node> {
        let children = || node.children.iter().filter_map(|index| self.nodes.get(*index));
        children().find(|child| child.variable().is_none() && child.name == part).or_else(|| {
            let fits = !part.contains(char::is_whitespace);
            children().find(|child| child.variable().is_some()).filter(|_| fits)
        })
    }
}

impl Node {
    pub(crate) fn variable(&self) -> Option<&str> {
        self.name.strip_prefix('{')?.strip_suffix('}')
    }
}

impl<'s> PathMatch<'s> {
    /// The method of a verb; `None` when the path exists but not with this verb.
    #[must_use]
    pub fn method(&self, verb: Verb) -> Option<&'s Method> {
        let slot = self.node.methods.get(verb as usize).copied().flatten()?;
        self.methods.get(slot)
    }

    /// The verbs of the path; none on nodes that only lead to others.
    pub fn verbs(&self) -> impl Iterator<Item = Verb> + '_ {
        Verb::ALL.into_iter().filter(|verb| self.method(*verb).is_some())
    }

    /// Names of the children, variables in braces, in the order index answers list them.
    pub fn children(&self) -> impl Iterator<Item = &'s str> + use<'s> {
        let tree = self.tree;
        let children = self.node.children.iter().filter_map(|index| tree.nodes.get(*index));
        children.map(|child| child.name.as_str())
    }

    /// The value of a variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}
