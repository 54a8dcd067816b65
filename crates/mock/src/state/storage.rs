//! An entry of `storage.cfg` and its use on a node.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::seed::StorageSeed;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Storage {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) content: String,
    pub(crate) path: Option<String>,
    pub(crate) shared: bool,
    size: Option<u64>,
}

impl Storage {
    pub(crate) fn new(seed: StorageSeed) -> Self {
        let StorageSeed { id, kind, content, path, shared, size } = seed;
        Self { id, kind, content, path, shared, size }
    }

    /// `None` has never been reported.
    pub(crate) fn resize(&mut self, size: Option<u64>) {
        self.size = size;
    }

    /// The storage's members in `cluster/resources` for one node.
    pub(crate) fn resource(&self, node: &str) -> Value {
        let mut entry = json!({
            "id": format!("storage/{node}/{}", self.id),
            "type": "storage",
            "storage": self.id,
            "node": node,
            "plugintype": self.kind,
            "content": self.content,
            "shared": u8::from(self.shared),
            "status": if self.size.is_some() { "available" } else { "unknown" },
        });
        if let (Some(size), Value::Object(entry)) = (self.size, &mut entry) {
            entry.insert("disk".to_owned(), json!(self.used(size)));
            entry.insert("maxdisk".to_owned(), json!(size));
        }
        entry
    }

    /// The entry in `storage`.
    pub(crate) fn definition(&self, digest: &str) -> Value {
        let mut entry = json!({
            "storage": self.id,
            "type": self.kind,
            "content": self.content,
            "digest": digest,
        });
        if let Value::Object(entry) = &mut entry {
            if let Some(path) = &self.path {
                entry.insert("path".to_owned(), json!(path));
            }
            if self.shared {
                entry.insert("shared".to_owned(), json!(1));
            }
        }
        entry
    }

    /// The entry in `nodes/{node}/storage`, and in that storage's `status`.
    pub(crate) fn status(&self) -> Value {
        let size = self.size.unwrap_or(0);
        let used = self.used(size);
        json!({
            "storage": self.id,
            "type": self.kind,
            "content": self.content,
            "shared": u8::from(self.shared),
            "enabled": 1,
            "active": u8::from(self.size.is_some()),
            "total": size,
            "used": used,
            "avail": size - used,
            "used_fraction": if size == 0 { 0.0 } else { 0.25 },
        })
    }

    fn used(&self, size: u64) -> u64 {
        size / 4
    }
}
