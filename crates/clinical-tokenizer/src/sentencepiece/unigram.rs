//! The most probable segmentation: a Viterbi search over all pieces (`EncodeOptimized` of SentencePiece 0.2.3).
//!
//! Scores are added in `f32`, as SentencePiece does, because two paths of equal score (runs of dashes, blanks, digits)
//! are told apart by rounding only. The Unigram model of the `tokenizers` crate adds in `f64` and therefore differs
//! there.

use super::model::{PieceKind, SentencePieceModel};
use crate::trie::{ByteTrie, NONE};

/// Scores are moved back to zero when they pass this bound, or long texts would lose their precision.
const SCORE_RESET: f32 = 100_000.0;

/// How much worse than the worst piece an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The pieces of a unigram model, ready for the search.
#[derive(Debug, Clone)]
pub(crate) struct Unigram {
    trie: ByteTrie,
    scores: Vec<f32>,
    unknown_score: f32,
    unk: u32,
}

#[derive(Clone, Copy)]
struct Best {
    score: f32,
    start: u32,
    id: u32,
}

impl Unigram {
    pub(crate) fn new(model: &SentencePieceModel) -> Self {
        let lowest = model
            .pieces
            .iter()
            .filter(|p| p.kind == PieceKind::Normal)
            .map(|p| p.score)
            .fold(f32::MAX, f32::min);
        let in_text = |kind| matches!(kind, PieceKind::Normal | PieceKind::UserDefined);
        let keys = model
            .pieces
            .iter()
            .enumerate()
            .filter(|(_, p)| in_text(p.kind))
            .map(|(i, p)| (p.text.as_bytes(), i as u32));
        let score = |p: &super::model::Piece| match p.kind {
            // A user-defined piece must beat every path of other pieces.
            PieceKind::UserDefined => (0.1 * (p.text.len() as f64 - 1.0)) as f32,
            _ => p.score,
        };
        Self {
            trie: ByteTrie::new(keys),
            scores: model.pieces.iter().map(score).collect(),
            unknown_score: lowest - UNKNOWN_PENALTY,
            unk: model.unk,
        }
    }

    /// Appends `(id, end)` for each piece, in order; an unknown character is a piece of its own here.
    pub(crate) fn encode(&self, text: &str, out: &mut Vec<(u32, u32)>) {
        let bytes = text.as_bytes();
        let mut best = vec![
            Best {
                score: 0.0,
                start: NONE,
                id: self.unk
            };
            bytes.len() + 1
        ];
        let (mut start, mut frontier) = (0, 0);
        while start < bytes.len() {
            let mut here = best[start].score;
            if here.abs() > SCORE_RESET {
                for (i, node) in best.iter_mut().enumerate().take(frontier + 1).skip(start) {
                    if i == start || node.start != NONE {
                        node.score -= here;
                    }
                }
                here = 0.0;
            }
            let width = text[start..].chars().next().map_or(1, char::len_utf8);
            let mut single = false;
            let mut node = ByteTrie::ROOT;
            for (i, &byte) in bytes.iter().enumerate().skip(start) {
                node = self.trie.child(node, byte);
                if node == NONE {
                    break;
                }
                let id = self.trie.value(node);
                if id != NONE {
                    let end = i + 1;
                    frontier = frontier.max(end);
                    best[end].offer(self.scores[id as usize] + here, start, id);
                    single |= end - start == width;
                }
            }
            if !single {
                frontier = frontier.max(start + width);
                best[start + width].offer(self.unknown_score + here, start, self.unk);
            }
            start += width;
        }
        let first = out.len();
        let mut end = bytes.len();
        while end > 0 {
            out.push((best[end].id, end as u32));
            end = best[end].start as usize;
        }
        out[first..].reverse();
    }
}

impl Best {
    #[inline]
    fn offer(&mut self, score: f32, start: usize, id: u32) {
        if self.start == NONE || score > self.score {
            *self = Self {
                score,
                start: start as u32,
                id,
            };
        }
    }
}
