//! Who waits for a turn: each peer in its own line, one of each line after the other.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// At most `per_key` items of one key and `total` of all.
#[derive(Debug)]
pub(crate) struct FairQueue<K, T> {
    per_key: usize,
    total: usize,
    lines: HashMap<K, VecDeque<T>>,
    /// The keys with a line, next first.
    turns: VecDeque<K>,
    length: usize,
}

impl<K: Clone + Eq + Hash, T> FairQueue<K, T> {
    pub(crate) fn new(per_key: usize, total: usize) -> Self {
        let (lines, turns) = (HashMap::new(), VecDeque::new());
        Self { per_key, total, lines, turns, length: 0 }
    }

    /// Adds an item at the end of its line; gives it back when there is no room.
    pub(crate) fn push(&mut self, key: &K, item: T) -> Result<(), T> {
        let own = self.lines.get(key).map_or(0, VecDeque::len);
        if own >= self.per_key || self.length >= self.total {
            return Err(item);
        }
        if own == 0 {
            self.turns.push_back(key.clone());
        }
        self.lines.entry(key.clone()).or_default().push_back(item);
        self.length += 1;
        Ok(())
    }

    /// The first item of the next line whose key is `ready`; that line goes behind the others.
    pub(crate) fn pop(&mut self, ready: impl Fn(&K) -> bool) -> Option<(K, T)> {
        let at = self.turns.iter().position(ready)?;
        let key = self.turns.remove(at)?;
        let line = self.lines.get_mut(&key)?;
        let item = line.pop_front()?;
        self.length -= 1;
        if line.is_empty() {
            self.lines.remove(&key);
        } else {
            self.turns.push_back(key.clone());
        }
        Some((key, item))
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_line_does_not_delay_a_short_one() {
        let mut queue = FairQueue::new(10, 20);
        (0..10).for_each(|n| queue.push(&"flood", n).unwrap());
        queue.push(&"lawful", 100).unwrap();
        assert_eq!(queue.push(&"flood", 11), Err(11));
        assert_eq!(queue.pop(|_| true), Some(("flood", 0)));
        assert_eq!(queue.pop(|_| true), Some(("lawful", 100)));
        assert_eq!(queue.pop(|key| *key == "lawful"), None);
        assert_eq!((queue.pop(|_| true), queue.len()), (Some(("flood", 1)), 8));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_repeated_or_overtaken(steps in proptest::collection::vec((0..4_u8, any::<bool>()), 0..200)) {
            let mut queue = FairQueue::new(3, 8);
            let (mut next, mut inside): (u32, Vec<(u8, u32)>) = (0, Vec::new());
            for (key, push) in steps {
                if push {
                    let own = inside.iter().filter(|(k, _)| *k == key).count();
                    let fits = own < 3 && inside.len() < 8;
                    prop_assert_eq!(queue.push(&key, next).is_ok(), fits);
                    if fits {
                        inside.push((key, next));
                    }
                    next += 1;
                } else if let Some((key, item)) = queue.pop(|k| *k != key) {
                    let first = inside.iter().position(|(k, _)| *k == key).unwrap();
                    prop_assert_eq!(inside.remove(first), (key, item));
                }
                prop_assert_eq!(queue.len(), inside.len());
            }
        }
    }
}
