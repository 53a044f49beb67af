//! A trie over bytes in nine bytes per node: children of a node are neighbours, sorted by label.

/// Marks "no node" and "no value".
pub(crate) const NONE: u32 = u32::MAX;

/// Maps byte strings to numbers and walks them byte by byte.
#[derive(Debug, Clone)]
pub(crate) struct ByteTrie {
    /// First child of each node; the children of `n` are `first[n]..first[n + 1]`.
    first: Vec<u32>,
    /// The byte that leads to each node (unused for the root).
    labels: Vec<u8>,
    /// The number of each node, or [`NONE`].
    values: Vec<u32>,
    /// Children of the root by byte: every search begins here.
    root: [u32; 256],
}

impl ByteTrie {
    /// Builds the trie. Of equal keys the first one given wins; empty keys are ignored.
    pub(crate) fn new<'k>(keys: impl IntoIterator<Item = (&'k [u8], u32)>) -> Self {
        let mut keys: Vec<(&[u8], u32)> = keys
            .into_iter()
            .filter(|(key, _)| !key.is_empty())
            .collect();
        keys.sort_by(|a, b| a.0.cmp(b.0)); // stable: the first of equal keys stays first
        keys.dedup_by(|later, earlier| later.0 == earlier.0);

        let mut trie = Self {
            first: Vec::new(),
            labels: vec![0],
            values: vec![NONE],
            root: [NONE; 256],
        };
        // Nodes in breadth-first order, each with the range of keys below it and its depth.
        let mut queue: Vec<(u32, u32)> = vec![(0, keys.len() as u32)];
        let mut depth_ends = 1; // nodes before this index have depth `depth`
        let mut depth = 0;
        let mut node = 0;
        while node < queue.len() {
            if node == depth_ends {
                depth += 1;
                depth_ends = queue.len();
            }
            let (mut low, high) = queue[node];
            trie.first.push(queue.len() as u32);
            if low < high && keys[low as usize].0.len() == depth {
                trie.values[node] = keys[low as usize].1;
                low += 1;
            }
            while low < high {
                let label = keys[low as usize].0[depth];
                let mut end = low + 1;
                while end < high && keys[end as usize].0[depth] == label {
                    end += 1;
                }
                if node == 0 {
                    trie.root[label as usize] = queue.len() as u32;
                }
                trie.labels.push(label);
                trie.values.push(NONE);
                queue.push((low, end));
                low = end;
            }
            node += 1;
        }
        trie.first.push(queue.len() as u32);
        trie
    }

    /// The root.
    pub(crate) const ROOT: u32 = 0;

    /// The child of `node` under `byte`, or [`NONE`].
    #[inline]
    pub(crate) fn child(&self, node: u32, byte: u8) -> u32 {
        if node == Self::ROOT {
            return self.root[byte as usize];
        }
        let (start, end) = (
            self.first[node as usize] as usize,
            self.first[node as usize + 1] as usize,
        );
        let labels = &self.labels[start..end];
        let found = if labels.len() <= 12 {
            labels.iter().position(|&label| label == byte)
        } else {
            labels.binary_search(&byte).ok()
        };
        found.map_or(NONE, |i| (start + i) as u32)
    }

    /// The node reached from `node` by all of `bytes`, or [`NONE`].
    #[inline]
    pub(crate) fn walk(&self, mut node: u32, bytes: &[u8]) -> u32 {
        for &byte in bytes {
            if node == NONE {
                return NONE;
            }
            node = self.child(node, byte);
        }
        node
    }

    /// The number stored at a node, or [`NONE`].
    #[inline]
    pub(crate) fn value(&self, node: u32) -> u32 {
        if node == NONE {
            NONE
        } else {
            self.values[node as usize]
        }
    }

    /// The number of a key.
    #[cfg(test)]
    fn get(&self, key: &[u8]) -> Option<u32> {
        if key.is_empty() {
            return None;
        }
        let value = self.value(self.walk(Self::ROOT, key));
        (value != NONE).then_some(value)
    }

    /// Length of the longest key that `bytes` begins with.
    pub(crate) fn longest_prefix(&self, bytes: &[u8]) -> Option<usize> {
        let mut node = Self::ROOT;
        let mut longest = None;
        for (i, &byte) in bytes.iter().enumerate() {
            node = self.child(node, byte);
            if node == NONE {
                break;
            }
            if self.values[node as usize] != NONE {
                longest = Some(i + 1);
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn finds_exactly_the_keys(keys in prop::collection::vec(prop::collection::vec(0u8..5, 0..6), 0..60),
                                  probes in prop::collection::vec(prop::collection::vec(0u8..6, 0..8), 0..60)) {
            let trie = ByteTrie::new(keys.iter().enumerate().map(|(i, k)| (k.as_slice(), i as u32)));
            let mut wanted: BTreeMap<&[u8], u32> = BTreeMap::new();
            for (i, key) in keys.iter().enumerate().filter(|(_, k)| !k.is_empty()) {
                wanted.entry(key).or_insert(i as u32);
            }
            for probe in probes.iter().chain(&keys) {
                prop_assert_eq!(trie.get(probe), wanted.get(probe.as_slice()).copied());
                let longest = (1..=probe.len()).rev().find(|&n| wanted.contains_key(&probe[..n]));
                prop_assert_eq!(trie.longest_prefix(probe), longest);
            }
        }
    }

    #[test]
    fn many_children_are_searched_by_halves() {
        let keys: Vec<Vec<u8>> = (0..=255u8).map(|b| vec![7, b]).collect();
        let trie = ByteTrie::new(
            keys.iter()
                .enumerate()
                .map(|(i, k)| (k.as_slice(), i as u32)),
        );
        assert!((0..=255u8).all(|b| trie.get(&[7, b]) == Some(b.into())));
        assert_eq!(trie.get(&[7]), None);
        assert_eq!(trie.get(&[]), None);
    }
}
