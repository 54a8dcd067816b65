//! A map that knows which of its entries may have changed.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

/// Reads like the map it holds. Every way to a changeable entry notes its key once tracking is
/// on; a key too many costs one record, a forgotten one would lose a write.
#[derive(Debug, Clone)]
pub(crate) struct Tracked<K, V> {
    map: BTreeMap<K, V>,
    /// `None` while nobody keeps the changes.
    touched: Option<BTreeSet<K>>,
}

impl<K: Ord + Clone, V> Tracked<K, V> {
    /// Notes changes from now on.
    pub(crate) fn track(&mut self) {
        self.touched.get_or_insert_default();
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.touched.is_some()
    }

    /// The keys that were touched since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<K> {
        self.touched.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        if let Some(touched) = &mut self.touched {
            touched.insert(self.map.get_key_value(key)?.0.clone());
        }
        self.map.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(touched) = &mut self.touched {
            touched.insert(key.clone());
        }
        self.map.insert(key, value)
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (key, value) = self.map.remove_entry(key)?;
        if let Some(touched) = &mut self.touched {
            touched.insert(key);
        }
        Some(value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        let touched = &mut self.touched;
        self.map.retain(|key, value| {
            if let Some(touched) = touched {
                touched.insert(key.clone());
            }
            keep(key, value)
        });
    }

    /// The entry, made when there is none.
    pub(crate) fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        if let Some(touched) = &mut self.touched {
            touched.insert(key.clone());
        }
        self.map.entry(key).or_default()
    }

    /// An entry to change in a way that is no news.
    pub(crate) fn untracked<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.map.get_mut(key)
    }

    /// All entries, to change them in ways that are no news.
    pub(crate) fn values_untracked(&mut self) -> impl Iterator<Item = &mut V> {
        self.map.values_mut()
    }

    /// Sets or, with `None`, removes an entry.
    pub(crate) fn put(&mut self, key: K, value: Option<V>) {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(&key),
        };
    }
}

impl<K, V> Deref for Tracked<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), touched: None }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Tracked<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self { map: entries.into_iter().collect(), touched: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_change_an_entry_is_noted() {
        let mut map: Tracked<u32, u32> = (0..6).map(|key| (key, 0)).collect();
        map.insert(9, 9);
        assert!(map.take_touched().is_empty(), "nobody keeps changes yet");
        map.track();
        map.insert(1, 1);
        map.get_mut(&2);
        map.get_mut(&77);
        map.remove(&3);
        map.remove(&78);
        map.or_default(4);
        map.or_default(40);
        assert_eq!(map.take_touched(), BTreeSet::from([1, 2, 3, 4, 40]));
        map.retain(|key, _| *key != 5);
        let all = map.take_touched();
        assert!(all.contains(&5) && map.keys().all(|key| all.contains(key)));
        assert!(map.take_touched().is_empty());
    }
}
