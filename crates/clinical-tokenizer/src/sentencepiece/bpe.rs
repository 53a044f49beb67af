//! Merging neighbours, best score first (`bpe::Model::SampleEncode` of SentencePiece 0.2.3, without sampling).
//!
//! Any two neighbours whose joined text is a piece may merge, in the order of that piece's score, leftmost first. This
//! is not quite what a table of merges does (the BPE model of the `tokenizers` crate): pieces of equal score, unknown
//! characters inside longer pieces, user-defined and unused pieces come out differently there.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use super::model::{PieceKind, SentencePieceModel, is_reserved};
use super::normalizer::Matcher;
use crate::trie::{ByteTrie, NONE};

/// Unused pieces inside unused pieces are cut up this deep.
const MAX_RESEGMENT_DEPTH: usize = 100;

/// The pieces of a BPE model, ready for merging.
#[derive(Debug, Clone)]
pub(crate) struct Bpe {
    trie: ByteTrie,
    scores: Vec<f32>,
    unused: Option<Vec<bool>>,
    /// No piece goes on over a `▁`, so words can be merged one by one: small queues instead of one for the whole note.
    by_words: bool,
    unk: u32,
}

/// Memory that is used again from word to word.
#[derive(Default)]
struct Work {
    symbols: Vec<Symbol>,
    agenda: BinaryHeap<Pair>,
    parts: Parts,
}

/// A stretch of text. An empty one was merged into its left neighbour.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    end: u32,
    previous: u32,
    next: u32,
    /// Where the text of this symbol ends in the trie, or `NONE` if no piece begins with it.
    node: u32,
    frozen: bool,
}

/// A merge that could be done.
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    bytes: u32,
    node: u32,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// Where the word that begins at `start` ends: at the next `▁` that follows another character.
fn word_end(text: &str, start: usize) -> usize {
    let rest = &text[start..];
    let letters = rest.len() - rest.trim_start_matches('▁').len();
    rest[letters..]
        .find('▁')
        .map_or(text.len(), |i| start + letters + i)
}

/// How each unused piece was put together, so that it can be taken apart.
type Parts = HashMap<u32, (Range<usize>, Range<usize>)>;

impl Bpe {
    pub(crate) fn new(model: &SentencePieceModel) -> Self {
        let keys = model
            .pieces
            .iter()
            .enumerate()
            .filter(|(_, p)| !is_reserved(p.kind))
            .map(|(i, p)| (p.text.as_bytes(), i as u32));
        let unused: Vec<bool> = model
            .pieces
            .iter()
            .map(|p| p.kind == PieceKind::Unused)
            .collect();
        let unused = unused.contains(&true).then_some(unused);
        let over_blank = |text: &str| text.trim_start_matches('▁').contains('▁');
        // The parts of unused pieces are remembered over the whole text.
        let by_words = unused.is_none()
            && !model
                .pieces
                .iter()
                .any(|p| !is_reserved(p.kind) && over_blank(&p.text));
        Self {
            trie: ByteTrie::new(keys),
            scores: model.pieces.iter().map(|p| p.score).collect(),
            unused,
            by_words,
            unk: model.unk,
        }
    }

    /// Appends `(id, end)` for each piece, in order.
    pub(crate) fn encode(&self, matcher: &Matcher, text: &str, out: &mut Vec<(u32, u32)>) {
        let mut work = Work::default();
        let mut start = 0;
        while start < text.len() {
            let end = if self.by_words {
                word_end(text, start)
            } else {
                text.len()
            };
            self.merge(matcher, text, start..end, &mut work, out);
            start = end;
        }
    }

    /// Merges one stretch of the text.
    fn merge(
        &self,
        matcher: &Matcher,
        text: &str,
        range: Range<usize>,
        work: &mut Work,
        out: &mut Vec<(u32, u32)>,
    ) {
        let Work {
            symbols,
            agenda,
            parts,
        } = work;
        self.split(matcher, text, range, symbols);
        for right in 1..symbols.len() as u32 {
            agenda.extend(self.pair(symbols, right - 1, right, text, parts));
        }
        while let Some(pair) = agenda.pop() {
            let (left, right) = (symbols[pair.left as usize], symbols[pair.right as usize]);
            let stale = left.start == left.end
                || right.start == right.end
                || right.end - left.start != pair.bytes;
            if stale {
                continue;
            }
            symbols[pair.left as usize] = Symbol {
                end: right.end,
                next: right.next,
                node: pair.node,
                ..left
            };
            if right.next != NONE {
                symbols[right.next as usize].previous = pair.left;
            }
            symbols[pair.right as usize].end = right.start;
            if left.previous != NONE {
                agenda.extend(self.pair(symbols, left.previous, pair.left, text, parts));
            }
            if right.next != NONE {
                agenda.extend(self.pair(symbols, pair.left, right.next, text, parts));
            }
        }
        let mut at = if symbols.is_empty() { NONE } else { 0 };
        while at != NONE {
            let symbol = symbols[at as usize];
            let id = self.trie.value(symbol.node);
            self.emit(
                id,
                symbol.start as usize..symbol.end as usize,
                text,
                parts,
                0,
                out,
            );
            at = symbol.next;
        }
    }

    /// Characters and user-defined pieces; the latter are frozen.
    fn split(&self, matcher: &Matcher, text: &str, range: Range<usize>, symbols: &mut Vec<Symbol>) {
        symbols.clear();
        let mut start = range.start;
        while start < range.end {
            let rest = &text[start..range.end];
            let own = matcher.longest(rest);
            let length = own.unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8));
            let index = symbols.len() as u32;
            let end = start + length;
            symbols.push(Symbol {
                start: start as u32,
                end: end as u32,
                previous: index.wrapping_sub(1), // the first has none: u32::MAX is `NONE`
                next: if end == range.end { NONE } else { index + 1 },
                node: self.trie.walk(ByteTrie::ROOT, &text.as_bytes()[start..end]),
                frozen: own.is_some(),
            });
            start = end;
        }
    }

    /// The merge of two neighbours, if their joined text is a piece.
    #[inline]
    fn pair(
        &self,
        symbols: &[Symbol],
        left: u32,
        right: u32,
        text: &str,
        parts: &mut Parts,
    ) -> Option<Pair> {
        let (a, b) = (symbols[left as usize], symbols[right as usize]);
        if a.frozen || b.frozen || a.node == NONE {
            return None;
        }
        let node = self
            .trie
            .walk(a.node, &text.as_bytes()[b.start as usize..b.end as usize]);
        let id = self.trie.value(node);
        if id == NONE {
            return None;
        }
        if self
            .unused
            .as_ref()
            .is_some_and(|unused| unused[id as usize])
        {
            parts.insert(
                id,
                (
                    a.start as usize..a.end as usize,
                    b.start as usize..b.end as usize,
                ),
            );
        }
        Some(Pair {
            score: self.scores[id as usize],
            left,
            right,
            bytes: b.end - a.start,
            node,
        })
    }

    /// Writes a piece, or what an unused piece was merged from.
    ///
    /// The parts were remembered from some position in the text with the same letters; only their lengths matter.
    fn emit(
        &self,
        id: u32,
        at: Range<usize>,
        text: &str,
        parts: &Parts,
        depth: usize,
        out: &mut Vec<(u32, u32)>,
    ) {
        let unused = id != NONE
            && self
                .unused
                .as_ref()
                .is_some_and(|unused| unused[id as usize]);
        if id == NONE {
            out.push((self.unk, at.end as u32));
        } else if !unused || depth > MAX_RESEGMENT_DEPTH {
            out.push((id, at.end as u32));
        } else if let Some((left, right)) = parts.get(&id) {
            let middle = at.start + left.len();
            for (part, place) in [(left, at.start..middle), (right, middle..at.end)] {
                let id = self.trie.value(
                    self.trie
                        .walk(ByteTrie::ROOT, &text.as_bytes()[part.clone()]),
                );
                self.emit(id, place, text, parts, depth + 1, out);
            }
        } else {
            out.push((self.unk, at.end as u32));
        }
    }
}
