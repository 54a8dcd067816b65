//! Reading checked parameters by name.

use pve_access::{Privilege, Privileges, Rights};
use serde_json::Value;

use super::Call;
use crate::failure::Failure;
use crate::state::{Guest, Node};

/// Whether the caller holds one of some privileges, path by path.
pub(crate) struct Right<'c> {
    rights: Option<Rights<'c>>,
    wanted: Privileges,
}

impl Right<'_> {
    pub(crate) fn at(&self, path: &str) -> bool {
        self.rights.as_ref().is_some_and(|rights| rights.at(path).held.contains_any(self.wanted))
    }

    /// Whether the guest may be seen, for those that ask for `VM.Audit`.
    pub(crate) fn at_guest(&self, guest: &Guest) -> bool {
        // The path is not even written for root@pam, whom most tests poll as.
        match self.rights.as_ref().and_then(Rights::everywhere) {
            Some(all) => all.held.contains_any(self.wanted),
            None => self.at(&format!("/vms/{}", guest.vmid)),
        }
    }
}

impl Call<'_> {
    /// A text parameter; numbers are shown as text, null and absent are `None`.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.parameters.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// A parameter that the schema makes mandatory; empty when it is missing all the same.
    pub(crate) fn required(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// A boolean as the schema checker leaves it: 1, true or absent.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.text(name).as_deref(), Some("1" | "true"))
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The parts of a `-list` parameter.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let text = self.required(name);
        let parts = text.split([',', ';', ' ', '\0']);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Whether the caller holds one of the privileges on the path.
    pub(crate) fn may(&self, path: &str, privileges: &[&str]) -> bool {
        self.right(privileges).at(path)
    }

    /// The question of [`Call::may`], for many paths.
    pub(crate) fn right(&self, privileges: &[&str]) -> Right<'_> {
        let rights = self.caller.subject().map(|subject| self.state.accounts.rights(subject));
        let named = privileges.iter().filter_map(|name| Privilege::parse(name));
        Right { rights, wanted: named.collect() }
    }

    /// The node of the path.
    pub(crate) fn node(&self) -> Result<&Node, Failure> {
        let name = self.required("node");
        let name = if name == "localhost" { &self.state.local } else { &name };
        self.state
            .nodes
            .get(name)
            .ok_or_else(|| Failure::die(format!("no such cluster node '{name}'")))
    }

    /// The guest of the path, which must stand on the path's node and be of the path's kind.
    pub(crate) fn guest(&self) -> Result<&Guest, Failure> {
        let (node, vmid) = (self.node()?.name.clone(), self.required("vmid"));
        let kind = if self.method.path().contains("/lxc/") { "lxc" } else { "qemu" };
        let found = vmid.parse().ok().and_then(|vmid: u32| self.state.guests.get(&vmid));
        let found = found.filter(|guest| guest.node == node && guest.kind_name() == kind);
        found.ok_or_else(|| {
            let directory = if kind == "qemu" { "qemu-server" } else { "lxc" };
            Failure::die(format!(
                "Configuration file 'nodes/{node}/{directory}/{vmid}.conf' does not exist"
            ))
        })
    }
}
