//! Paths of the access control list.

use std::cmp::Ordering;

/// A normalised path that an access control entry is stored under.
///
/// Ordered as the tree is walked: a path comes right before those below it, so `/vms/100` comes
/// before `/vms-x`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AclPath(String);

/// Shapes that the API lets an administrator give entries to (`check_path` of
/// `PVE::AccessControl`). The parser takes any path, so an old or hand-written file may hold
/// others.
const ASSIGNABLE: [&str; 30] = [
    "/",
    "/access",
    "/access/groups",
    "/access/groups/{name}",
    "/access/realm",
    "/access/realm/{name}",
    "/mapping",
    "/mapping/{name}",
    "/mapping/{name}/{name}",
    "/nodes",
    "/nodes/{name}",
    "/pool",
    "/pool/{name}",
    "/pool/{name}/{name}",
    "/pool/{name}/{name}/{name}",
    "/sdn",
    "/sdn/controllers",
    "/sdn/controllers/{name}",
    "/sdn/dns",
    "/sdn/dns/{name}",
    "/sdn/fabrics",
    "/sdn/fabrics/{name}",
    "/sdn/zones",
    "/sdn/zones/{name}",
    "/sdn/zones/{name}/{name}",
    "/sdn/zones/{name}/{name}/{vlan}",
    "/storage",
    "/storage/{name}",
    "/vms",
    "/vms/{vmid}",
];

/// Brings a path into the form permissions are looked up by, as `normalize_path` of
/// `PVE::AccessControl`: blank and `0` are no path, repeated and trailing slashes go, a missing
/// leading one comes, and only letters, digits and `. - _ /` may occur.
pub fn normalize_path(text: &str) -> Option<String> {
    if text.is_empty() || text == "0" {
        return None;
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if !text.chars().all(allowed) {
        return None;
    }
    // `0/` loses its slash and is then false in Perl, which makes it the root: kept, because
    // an entry at the root is what such a line means to PVE.
    if text.trim_end_matches('/') == "0" {
        return Some("/".to_owned());
    }
    Some(joined(text.split('/').filter(|part| !part.is_empty())))
}

/// Whether the API accepts an entry at this normalised path.
pub fn is_assignable(path: &str) -> bool {
    ASSIGNABLE.iter().any(|shape| fits(shape, path))
}

impl AclPath {
    /// The place at which an entry written with this path is stored, `None` when it is no path.
    ///
    /// Components that are just `0` vanish: PVE's tree walk takes them for blank, so an entry
    /// for `/vms/0` applies to `/vms`.
    pub fn new(text: &str) -> Option<Self> {
        let path = normalize_path(text)?;
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != "0");
        Some(Self(joined(parts)))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names from the root down; none for the root itself.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }
}

impl Ord for AclPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for AclPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn joined<'p>(parts: impl Iterator<Item = &'p str>) -> String {
    let mut path = String::new();
    for part in parts {
        path.push('/');
        path.push_str(part);
    }
    match path.is_empty() {
        true => "/".to_owned(),
        false => path,
    }
}

fn fits(shape: &str, path: &str) -> bool {
    let (mut shape, mut path) = (shape.split('/'), path.split('/'));
    loop {
        match (shape.next(), path.next()) {
            (None, None) => return true,
            (Some(shape), Some(part)) if part_fits(shape, part) => {}
            _ => return false,
        }
    }
}

fn part_fits(shape: &str, part: &str) -> bool {
    let number = || part.bytes().all(|b| b.is_ascii_digit()) && !part.starts_with('0');
    match shape {
        "{name}" => {
            let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !part.is_empty() && part.chars().all(name)
        }
        "{vmid}" => part.len() >= 3 && number(),
        "{vlan}" => (1..=4).contains(&part.len()) && number(),
        literal => literal == part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_normalised_as_pve_does() {
        let cases = [
            ("", None),
            ("0", None),
            ("0/", Some("/")),
            ("0//", Some("/")),
            ("/0/", Some("/0")),
            ("/", Some("/")),
            ("//", Some("/")),
            ("vms//100/", Some("/vms/100")),
            ("/vms/1 0", None),
            ("/vms/é", None),
        ];
        for (text, path) in cases {
            assert_eq!(normalize_path(text).as_deref(), path, "{text}");
        }
    }

    #[test]
    fn an_entry_for_zero_lands_on_the_parent() {
        let stored = |text| AclPath::new(text).map(|path| path.as_str().to_owned());
        assert_eq!(stored("/vms/0").as_deref(), Some("/vms"));
        assert_eq!(stored("/0").as_deref(), Some("/"));
    }

    #[test]
    fn order_is_that_of_the_tree() {
        let mut paths = ["/vms-x", "/vms/100", "/", "/vms"].map(|p| AclPath::new(p).unwrap());
        paths.sort();
        assert_eq!(paths.map(|p| p.to_string()), ["/", "/vms", "/vms/100", "/vms-x"]);
    }

    #[test]
    fn only_known_shapes_are_assignable() {
        for path in ["/", "/vms/100", "/pool/a/b/c", "/sdn/zones/z/v/1", "/storage/local"] {
            assert!(is_assignable(path), "{path}");
        }
        let refused = ["/vms/99", "/vms/0100", "/users", "/pool/a/b/c/d", "/sdn/zones/z/v/12345"];
        for path in refused {
            assert!(!is_assignable(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "[a-z0/._-]{0,12}") {
            if let Some(path) = AclPath::new(&text) {
                prop_assert_eq!(AclPath::new(path.as_str()), Some(path));
            }
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            normalize_path(&text);
            is_assignable(&text);
        }
    }
}
