//! What a mock cluster holds when it starts.

mod file;
mod presets;

pub(crate) use file::apply as fill;
pub use file::{SeedFile, Steps};

use secrets::SecretString;

/// The contents of a mock cluster, as plain facts. [`crate::Mock`] is started from one.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Answer of `GET /version`.
    pub version: Version,
    /// Cluster name; `None` is a single node without a cluster.
    pub cluster: Option<String>,
    /// At least one; the first is the node that answers.
    pub nodes: Vec<NodeSeed>,
    /// Guests; ids are unique across the cluster.
    pub guests: Vec<GuestSeed>,
    /// Storages, defined cluster-wide as in `storage.cfg`.
    pub storages: Vec<StorageSeed>,
    /// Users, groups, roles, access rules, tokens and pools in the syntax of `user.cfg`.
    pub user_cfg: String,
    /// Passwords by user id (`alice@pve`).
    pub passwords: Vec<(String, SecretString)>,
    /// Token secrets by full token id (`alice@pve!ci`); the tokens stand in `user_cfg`.
    pub tokens: Vec<(String, SecretString)>,
}

/// What the server says it is.
#[derive(Debug, Clone)]
pub struct Version {
    /// For example `9.2.3`.
    pub version: String,
    /// For example `9.2`.
    pub release: String,
    /// Commit of pve-manager, 16 hex digits in releases.
    pub repoid: String,
}

/// One node of the cluster.
#[derive(Debug, Clone)]
pub struct NodeSeed {
    /// Host name.
    pub name: String,
    /// Address shown in `cluster/status`.
    pub ip: String,
    /// Fingerprint shown in `nodes`; `None` shows the mock's own certificate.
    pub ssl_fingerprint: Option<String>,
    /// Hardware; `None` is a node whose status daemon has never reported (`unknown`).
    pub hardware: Option<Hardware>,
}

/// Size of a node.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Logical processors.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the root file system.
    pub disk: u64,
}

/// Virtual machine or container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestKind {
    /// Virtual machine.
    Qemu,
    /// Container.
    Lxc,
}

/// One guest.
#[derive(Debug, Clone)]
pub struct GuestSeed {
    /// Id from 100 on.
    pub vmid: u32,
    /// Virtual machine or container.
    pub kind: GuestKind,
    /// Node it stands on.
    pub node: String,
    /// Name or host name.
    pub name: String,
    /// Processors.
    pub cores: u32,
    /// Memory in MiB.
    pub memory: u64,
    /// Disk in GiB.
    pub disk: u64,
    /// Whether it runs at the start.
    pub running: bool,
    /// `;`-separated tags, empty for none.
    pub tags: String,
}

/// One entry of `storage.cfg`.
#[derive(Debug, Clone)]
pub struct StorageSeed {
    /// Storage id.
    pub id: String,
    /// Plugin type, for example `dir`.
    pub kind: String,
    /// Content types in their order.
    pub content: String,
    /// Directory or export path.
    pub path: Option<String>,
    /// Whether all nodes see the same contents.
    pub shared: bool,
    /// Bytes in all; `None` has never been reported.
    pub size: Option<u64>,
}
