//! What an answer may be: a list of allowed answers, or a caller's own grammar.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::Error;

/// A set of token sequences that answers must come from.
pub trait Constraint: Debug + Send + Sync {
    /// Follows one answer to the prompt in row `row`, from its first token.
    fn start(&self, row: usize) -> Box<dyn Matcher>;

    /// Checks the constraint against the model's vocabulary, before anything is computed.
    ///
    /// # Errors
    ///
    /// [`Error`] if no answer can be formed.
    fn check(&self, vocabulary: usize) -> Result<(), Error>;
}

/// Follows one answer through a [`Constraint`].
pub trait Matcher: Send {
    /// Adds the tokens that may come next to an empty mask. End tokens are the engine's job.
    fn allow(&mut self, mask: &mut TokenMask);

    /// Whether the answer may end here.
    fn can_end(&self) -> bool;

    /// Whether nothing may follow: the answer ends here even without an end token.
    fn must_end(&self) -> bool;

    /// Moves on by a token that was allowed.
    fn accept(&mut self, id: u32);

    /// A copy that goes on by itself: beams share a prefix.
    fn fork(&self) -> Box<dyn Matcher>;
}

/// A set of token ids.
#[derive(Debug, Clone)]
pub struct TokenMask {
    words: Vec<u64>,
    vocabulary: usize,
}

impl TokenMask {
    /// An empty set of ids below `vocabulary`.
    #[must_use]
    pub fn new(vocabulary: usize) -> Self {
        Self {
            words: vec![0; vocabulary.div_ceil(64)],
            vocabulary,
        }
    }

    /// The number of ids that a set may hold.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Adds an id; one outside the vocabulary is left out.
    pub fn allow(&mut self, id: u32) {
        if (id as usize) < self.vocabulary {
            self.words[id as usize / 64] |= 1 << (id % 64);
        }
    }

    /// Adds 64 ids at a time: bit `b` of word `w` is id `64 * w + b`. Words past the vocabulary are left out.
    pub fn allow_words(&mut self, words: impl IntoIterator<Item = u64>) {
        for (own, other) in self.words.iter_mut().zip(words) {
            *own |= other;
        }
    }

    /// Removes an id.
    pub fn forbid(&mut self, id: u32) {
        if (id as usize) < self.vocabulary {
            self.words[id as usize / 64] &= !(1 << (id % 64));
        }
    }

    /// Whether an id is in the set.
    #[must_use]
    pub fn contains(&self, id: u32) -> bool {
        (id as usize) < self.vocabulary && self.words[id as usize / 64] >> (id % 64) & 1 == 1
    }

    pub(crate) fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Sets the scores of all other ids to minus infinity.
    pub(crate) fn apply(&self, scores: &mut [f32]) {
        for (word, scores) in self.words.iter().zip(scores.chunks_mut(64)) {
            match *word {
                0 => scores.fill(f32::NEG_INFINITY),
                u64::MAX => {}
                bits => {
                    for (bit, score) in scores.iter_mut().enumerate() {
                        if bits >> bit & 1 == 0 {
                            *score = f32::NEG_INFINITY;
                        }
                    }
                }
            }
        }
    }
}

/// A list of allowed answers, kept as a trie.
///
/// After a whole answer an end token may follow; if one answer is a prefix of another, the model chooses between
/// ending and going on.
#[derive(Debug, Clone)]
pub struct Allowed {
    nodes: Arc<[Node]>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    next: BTreeMap<u32, usize>,
    is_answer: bool,
}

impl Allowed {
    /// The answers, each as the ids of its tokens without an end token.
    #[must_use]
    pub fn new(answers: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let mut nodes = vec![Node::default()];
        for answer in answers {
            let mut at = 0;
            for id in answer {
                at = match nodes[at].next.get(&id) {
                    Some(&next) => next,
                    None => {
                        nodes.push(Node::default());
                        let next = nodes.len() - 1;
                        nodes[at].next.insert(id, next);
                        next
                    }
                };
            }
            nodes[at].is_answer = true;
        }
        Self {
            nodes: nodes.into(),
        }
    }
}

impl Constraint for Allowed {
    fn start(&self, _row: usize) -> Box<dyn Matcher> {
        Box::new(Walk {
            nodes: Arc::clone(&self.nodes),
            at: Some(0),
        })
    }

    fn check(&self, vocabulary: usize) -> Result<(), Error> {
        let field = "allowed";
        if self.nodes[0].is_answer || self.nodes[0].next.is_empty() {
            return Err(Error::EmptyEntry { field });
        }
        let ids = self.nodes.iter().flat_map(|node| node.next.keys());
        match ids.copied().find(|&id| id as usize >= vocabulary) {
            Some(id) => Err(Error::UnknownToken {
                field,
                id,
                vocabulary,
            }),
            None => Ok(()),
        }
    }
}

struct Walk {
    nodes: Arc<[Node]>,
    /// `None` after a token that was not allowed, which a forced token may be.
    at: Option<usize>,
}

impl Walk {
    fn node(&self) -> Option<&Node> {
        self.at.map(|at| &self.nodes[at])
    }
}

impl Matcher for Walk {
    fn allow(&mut self, mask: &mut TokenMask) {
        if let Some(node) = self.node() {
            node.next.keys().for_each(|&id| mask.allow(id));
        }
    }

    fn can_end(&self) -> bool {
        self.node().is_none_or(|node| node.is_answer)
    }

    fn must_end(&self) -> bool {
        self.node().is_none_or(|node| node.next.is_empty())
    }

    fn accept(&mut self, id: u32) {
        self.at = self.node().and_then(|node| node.next.get(&id).copied());
    }

    fn fork(&self) -> Box<dyn Matcher> {
        Box::new(Walk {
            nodes: Arc::clone(&self.nodes),
            at: self.at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(matcher: &mut dyn Matcher) -> Vec<u32> {
        let mut mask = TokenMask::new(200);
        matcher.allow(&mut mask);
        (0..200).filter(|&id| mask.contains(id)).collect()
    }

    #[test]
    fn an_answer_may_be_a_prefix_of_another() {
        let trie = Allowed::new([vec![5, 70], vec![5], vec![130, 5, 6]]);
        assert!(trie.check(200).is_ok());
        let mut walk = trie.start(0);
        assert_eq!(allowed(&mut *walk), [5, 130]);
        assert!(!walk.can_end());
        walk.accept(5);
        assert_eq!(allowed(&mut *walk), [70]);
        assert!(walk.can_end() && !walk.must_end());
        let mut other = walk.fork();
        other.accept(70);
        assert!(other.must_end() && other.can_end());
        assert_eq!(allowed(&mut *walk), [70], "the fork moved on by itself");
    }

    #[test]
    fn empty_lists_and_unknown_ids_are_refused() {
        for answers in [vec![], vec![vec![]], vec![vec![1], vec![]]] {
            let error = Allowed::new(answers).check(10);
            assert!(matches!(error, Err(Error::EmptyEntry { field: "allowed" })));
        }
        let error = Allowed::new([vec![1, 10]]).check(10);
        assert!(matches!(error, Err(Error::UnknownToken { id: 10, .. })));
    }

    #[test]
    fn a_mask_keeps_its_ids_only() {
        for vocabulary in [1, 63, 64, 65, 200] {
            let mut mask = TokenMask::new(vocabulary);
            let ids = [0, 62, 64, 128, 199, 500];
            ids.iter().for_each(|&id| mask.allow(id));
            mask.forbid(62);
            let mut scores = vec![1.0; vocabulary];
            mask.apply(&mut scores);
            for (id, &score) in scores.iter().enumerate() {
                let kept = ids.contains(&(id as u32)) && id != 62;
                assert_eq!(score == 1.0, kept, "id {id} of {vocabulary}");
            }
        }
    }
}
