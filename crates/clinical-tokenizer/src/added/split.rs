//! Splitting on added tokens, exactly as the slow tokenizers of `transformers` do it.
//!
//! A port of `transformers.tokenization_utils.Trie` (4.57.6), states, look-ahead and all: where added tokens overlap,
//! its result is not the plain leftmost-longest one, and the ids of a text depend on it.

use std::ops::Range;

#[derive(Debug, Clone, Default)]
struct Node {
    /// Sorted by character.
    next: Vec<(char, u32)>,
    end: bool,
}

/// A trie of words that cuts a text at each occurrence.
#[derive(Debug, Clone)]
pub(crate) struct SplitTrie {
    nodes: Vec<Node>,
}

impl Default for SplitTrie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl SplitTrie {
    /// Adds a word; the empty word is ignored.
    pub(crate) fn add(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        let mut node = 0;
        for c in word.chars() {
            node = match self.nodes[node]
                .next
                .binary_search_by_key(&c, |(label, _)| *label)
            {
                Ok(i) => self.nodes[node].next[i].1 as usize,
                Err(i) => {
                    let new = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[node].next.insert(i, (c, new as u32));
                    new
                }
            };
        }
        self.nodes[node].end = true;
    }

    fn child(&self, node: u32, c: char) -> Option<u32> {
        let next = &self.nodes[node as usize].next;
        next.binary_search_by_key(&c, |(label, _)| *label)
            .ok()
            .map(|i| next[i].1)
    }

    fn ends(&self, node: u32) -> bool {
        self.nodes[node as usize].end
    }

    /// Cuts `text` into words of the trie and the stretches between them; no stretch is empty.
    pub(crate) fn split(&self, text: &str) -> Vec<Range<usize>> {
        // Partial matches: where each began and how far it came, in the order of their beginnings.
        let mut states: Vec<(usize, u32)> = Vec::new();
        let mut cuts = vec![0];
        let mut skip = 0;
        for (current, c) in text.char_indices() {
            if current < skip {
                continue;
            }
            let after = current + c.len_utf8();
            let mut reset = false;
            let mut dead: Vec<usize> = Vec::new();
            for k in 0..states.len() {
                let (begin, node) = states[k];
                if self.ends(node) {
                    let (start, end) =
                        self.look_ahead(&states, begin, current, after, text, &mut skip);
                    cuts.push(start);
                    cuts.push(end);
                    reset = true;
                    break;
                }
                match self.child(node, c) {
                    Some(next) => states[k].1 = next,
                    None => dead.push(k),
                }
            }
            if reset {
                states.clear();
            } else {
                for &k in dead.iter().rev() {
                    states.remove(k);
                }
            }
            if current >= skip
                && let Some(node) = self.child(0, c)
            {
                states.push((current, node));
            }
        }
        if let Some(&(start, _)) = states.iter().find(|(_, node)| self.ends(*node)) {
            cuts.push(start);
            cuts.push(text.len());
        }
        Self::pieces(cuts, text.len())
    }

    /// A match was found: looks for the longest one among it and the partial matches that began before it.
    fn look_ahead(
        &self,
        states: &[(usize, u32)],
        mut start: usize,
        current: usize,
        after: usize,
        text: &str,
        skip: &mut usize,
    ) -> (usize, usize) {
        let mut end = current;
        for &(begin, mut node) in states {
            if begin > start {
                break;
            }
            // An earlier match has already taken the current character.
            let mut at = if begin < start { after } else { current };
            end = at;
            if self.ends(node) {
                (start, end, *skip) = (begin, at, at);
            }
            while let Some((next, c)) = text[at..]
                .chars()
                .next()
                .and_then(|c| Some((self.child(node, c)?, c)))
            {
                node = next;
                at += c.len_utf8();
                if self.ends(node) {
                    (start, end, *skip) = (begin, at, at);
                }
            }
        }
        (start, end)
    }

    fn pieces(mut cuts: Vec<usize>, length: usize) -> Vec<Range<usize>> {
        cuts.push(length);
        let mut out = Vec::with_capacity(cuts.len());
        let mut start = 0;
        for end in cuts {
            if start < end {
                out.push(start..end);
                start = end;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Fixture {
        /// Words, text, and the pieces of `transformers.tokenization_utils.Trie`.
        splits: Vec<(Vec<String>, String, Vec<String>)>,
        /// Every character that Python's `str.isspace` accepts.
        blanks: Vec<u32>,
    }

    fn fixture() -> Fixture {
        serde_json::from_str(include_str!("../../tests/data/trie.json")).unwrap()
    }

    #[test]
    fn splits_are_those_of_transformers() {
        for (words, text, wanted) in fixture().splits {
            let mut trie = SplitTrie::default();
            words.iter().for_each(|word| trie.add(word));
            let found: Vec<&str> = trie
                .split(&text)
                .into_iter()
                .map(|range| &text[range])
                .collect();
            assert_eq!(found, wanted, "{words:?} in {text:?}");
        }
    }

    #[test]
    fn blanks_are_those_of_python() {
        let found: Vec<u32> = (0..0x11_0000)
            .filter(|&c| char::from_u32(c).is_some_and(crate::chars::is_py_space))
            .collect();
        assert_eq!(found, fixture().blanks);
    }

    #[test]
    fn one_megabyte_is_split_in_one_pass() {
        let mut trie = SplitTrie::default();
        ["[Name]", "[Reg#]", "aaaaaaaaab"]
            .iter()
            .for_each(|word| trie.add(word));
        let text = "aaaaaaaa[Name".repeat(80_000);
        let start = std::time::Instant::now();
        assert_eq!(trie.split(&text).len(), 1);
        assert!(start.elapsed().as_secs() < 5);
    }
}
