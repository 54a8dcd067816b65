//! Objects of the API that the mock keeps without knowing more of them than the schema says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Members of one object as they were written.
pub(crate) type Fields = Map<String, Value>;

/// Collections by their path with all variables filled in (`/cluster/backup`), objects by id;
/// settings without an id by their own path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    collections: BTreeMap<String, BTreeMap<String, Fields>>,
    settings: BTreeMap<String, Fields>,
    /// What may have changed; `None` while nobody keeps the changes.
    touched: Option<BTreeSet<ObjectKey>>,
}

/// What one record of the state file holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObjectKey {
    /// Collection and id.
    Object(String, String),
    /// Path.
    Settings(String),
}

impl Objects {
    pub(crate) fn list(&self, collection: &str) -> impl Iterator<Item = (&String, &Fields)> {
        self.collections.get(collection).into_iter().flatten()
    }

    pub(crate) fn find(&self, collection: &str, id: &str) -> Option<&Fields> {
        self.collections.get(collection)?.get(id)
    }

    /// Notes changes from now on.
    pub(crate) fn track(&mut self) {
        self.touched.get_or_insert_default();
    }

    /// What may have changed since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<ObjectKey> {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        let objects = self.collections.iter().flat_map(|(collection, objects)| {
            objects.keys().map(|id| ObjectKey::Object(collection.clone(), id.clone()))
        });
        objects.chain(self.settings.keys().cloned().map(ObjectKey::Settings))
    }

    /// Sets or, with `None`, removes what a record holds, and that alone.
    pub(crate) fn put(&mut self, key: ObjectKey, fields: Option<Fields>) {
        match (key, fields) {
            (ObjectKey::Object(collection, id), Some(fields)) => {
                self.collections.entry(collection).or_default().insert(id, fields);
            }
            (ObjectKey::Object(collection, id), None) => {
                if let Some(objects) = self.collections.get_mut(&collection) {
                    objects.remove(&id);
                }
            }
            (ObjectKey::Settings(path), Some(fields)) => {
                self.settings.insert(path, fields);
            }
            (ObjectKey::Settings(path), None) => {
                self.settings.remove(&path);
            }
        }
    }

    fn touch(&mut self, key: impl FnOnce() -> ObjectKey) {
        if let Some(touched) = &mut self.touched {
            touched.insert(key());
        }
    }

    /// Notes every key for which it holds: what a sweep may remove.
    fn touch_all(&mut self, is_meant: impl Fn(&ObjectKey) -> bool) {
        if self.touched.is_some() {
            let meant: Vec<ObjectKey> = self.keys().filter(is_meant).collect();
            self.touched.get_or_insert_default().extend(meant);
        }
    }

    pub(crate) fn find_mut(&mut self, collection: &str, id: &str) -> Option<&mut Fields> {
        self.touch(|| ObjectKey::Object(collection.to_owned(), id.to_owned()));
        self.collections.get_mut(collection)?.get_mut(id)
    }

    pub(crate) fn count(&self, collection: &str) -> usize {
        self.collections.get(collection).map_or(0, BTreeMap::len)
    }

    pub(crate) fn insert(&mut self, collection: &str, id: &str, fields: Fields) {
        self.touch(|| ObjectKey::Object(collection.to_owned(), id.to_owned()));
        let objects = self.collections.entry(collection.to_owned()).or_default();
        objects.insert(id.to_owned(), fields);
    }

    /// Removes an object and the collections below it.
    pub(crate) fn remove(&mut self, collection: &str, id: &str) -> Option<Fields> {
        self.touch(|| ObjectKey::Object(collection.to_owned(), id.to_owned()));
        let removed = self.collections.get_mut(collection)?.remove(id)?;
        let below = format!("{collection}/{id}/");
        self.touch_all(|key| match key {
            ObjectKey::Object(path, _) | ObjectKey::Settings(path) => path.starts_with(&below),
        });
        self.collections.retain(|path, _| !path.starts_with(&below));
        self.settings.retain(|path, _| !path.starts_with(&below));
        Some(removed)
    }

    pub(crate) fn settings(&self, path: &str) -> Option<&Fields> {
        self.settings.get(path)
    }

    pub(crate) fn settings_mut(&mut self, path: &str) -> &mut Fields {
        self.touch(|| ObjectKey::Settings(path.to_owned()));
        self.settings.entry(path.to_owned()).or_default()
    }

    /// Takes a guest out of backup jobs, replication and high availability.
    pub(crate) fn purge_guest(&mut self, vmid: u32) {
        let id = vmid.to_string();
        self.touch_all(
            |key| matches!(key, ObjectKey::Object(path, _) if SWEPT.contains(&path.as_str())),
        );
        if let Some(jobs) = self.collections.get_mut("/cluster/backup") {
            jobs.retain(|_, job| drop_from_list(job, "vmid", &id));
        }
        if let Some(jobs) = self.collections.get_mut("/cluster/replication") {
            jobs.retain(|job, _| job.split('-').next() != Some(&id));
        }
        if let Some(resources) = self.collections.get_mut("/cluster/ha/resources") {
            resources.retain(|sid, _| sid.split(':').nth(1) != Some(&id));
        }
        if let Some(rules) = self.collections.get_mut("/cluster/ha/rules") {
            for kind in ["vm", "ct"] {
                rules.retain(|_, rule| drop_from_list(rule, "resources", &format!("{kind}:{id}")));
            }
        }
    }
}

/// Collections that a purged guest is taken out of.
const SWEPT: [&str; 4] =
    ["/cluster/backup", "/cluster/replication", "/cluster/ha/resources", "/cluster/ha/rules"];

/// Whether the object still names anything in that list.
fn drop_from_list(fields: &mut Fields, key: &str, id: &str) -> bool {
    let Some(Value::String(list)) = fields.get_mut(key) else { return true };
    let kept: Vec<&str> = list.split(',').filter(|one| *one != id).collect();
    *list = kept.join(",");
    !list.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(vmids: &str) -> Fields {
        Fields::from_iter([("vmid".to_owned(), Value::from(vmids))])
    }

    #[test]
    fn a_purged_guest_is_nowhere() {
        let mut objects = Objects::default();
        objects.insert("/cluster/backup", "a", job("100,101"));
        objects.insert("/cluster/backup", "b", job("100"));
        objects.insert("/cluster/replication", "100-0", Fields::new());
        objects.insert("/cluster/ha/resources", "vm:100", Fields::new());
        objects.purge_guest(100);
        assert_eq!(objects.find("/cluster/backup", "a"), Some(&job("101")));
        assert_eq!(objects.count("/cluster/backup"), 1);
        assert_eq!(objects.count("/cluster/replication"), 0);
        assert_eq!(objects.count("/cluster/ha/resources"), 0);
    }

    #[test]
    fn what_stands_below_goes_with_its_object() {
        let mut objects = Objects::default();
        objects.insert("/a", "x", Fields::new());
        objects.insert("/a/x/b", "y", Fields::new());
        objects.insert("/a/xx/b", "y", Fields::new());
        assert!(objects.remove("/a", "x").is_some() && objects.remove("/a", "x").is_none());
        assert_eq!((objects.count("/a/x/b"), objects.count("/a/xx/b")), (0, 1));
    }
}
