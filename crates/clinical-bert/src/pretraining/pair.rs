//! Pairs of texts from one document, and their masks.

use super::{Document, PretrainingExample, PretrainingOptions, Vocabulary};
use crate::pretraining::random::PythonRandom;

/// How often another document is drawn before the document itself is taken for a random second text.
const DRAWS: usize = 10;
/// Of the predicted tokens, how many become the mask; of the rest, how many stay as they are.
const MASKED: f64 = 0.8;
const KEPT: f64 = 0.5;

/// `create_instances_from_document` of the published script.
pub(super) struct Pairs<'a> {
    pub(super) documents: &'a [Document],
    pub(super) options: &'a PretrainingOptions,
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) random: &'a mut PythonRandom,
}

impl Pairs<'_> {
    /// Adds the examples of one document. Draws random numbers in the order of the script.
    pub(super) fn of(&mut self, index: usize, examples: &mut Vec<PretrainingExample>) {
        let document = &self.documents[index];
        // Room for [CLS], [SEP] and [SEP].
        let room = self.options.max_seq_length - 3;
        let mut target = room;
        if self.random.unit() < self.options.short_seq_prob {
            target = self.random.between(2, room);
        }
        let (mut from, mut length, mut at) = (0, 0, 0);
        while at < document.len() {
            length += document[at].len();
            if at + 1 < document.len() && length < target {
                at += 1;
                continue;
            }
            let chunk = &document[from..=at];
            let first_sentences = match chunk.len() {
                1 => 1,
                sentences => self.random.between(1, sentences - 1),
            };
            let mut first = chunk[..first_sentences].concat();
            let is_random_next = chunk.len() == 1 || self.random.unit() < 0.5;
            let mut second = if is_random_next {
                // The sentences that the true second text would have had are used again.
                at -= chunk.len() - first_sentences;
                self.elsewhere(index, target.saturating_sub(first.len()))
            } else {
                chunk[first_sentences..].concat()
            };
            self.shorten(&mut first, &mut second, room);
            examples.push(self.example(&first, &second, is_random_next));
            at += 1;
            (from, length) = (at, 0);
        }
    }

    /// At least `target` tokens (if there are as many) from a random position of another document.
    fn elsewhere(&mut self, index: usize, target: usize) -> Vec<u32> {
        let mut other = index;
        for _ in 0..DRAWS {
            other = self.random.between(0, self.documents.len() - 1);
            if other != index {
                break;
            }
        }
        let sentences = &self.documents[other];
        let start = self.random.between(0, sentences.len() - 1);
        let mut tokens = Vec::new();
        for sentence in &sentences[start..] {
            tokens.extend_from_slice(sentence);
            if tokens.len() >= target {
                break;
            }
        }
        tokens
    }

    /// `truncate_seq_pair`: the longer text (the second, if equal) loses a token at a random end until both fit.
    fn shorten(&mut self, first: &mut Vec<u32>, second: &mut Vec<u32>, room: usize) {
        let (mut kept_first, mut kept_second) = (0..first.len(), 0..second.len());
        while kept_first.len() + kept_second.len() > room {
            let longer = if kept_first.len() > kept_second.len() {
                &mut kept_first
            } else {
                &mut kept_second
            };
            if self.random.unit() < 0.5 {
                longer.start += 1;
            } else {
                longer.end -= 1;
            }
        }
        for (text, kept) in [(first, kept_first), (second, kept_second)] {
            text.truncate(kept.end);
            text.drain(..kept.start);
        }
    }

    fn example(
        &mut self,
        first: &[u32],
        second: &[u32],
        is_random_next: bool,
    ) -> PretrainingExample {
        let (start, separator) = (self.vocabulary.start, self.vocabulary.separator);
        let ids = [&[start], first, &[separator], second, &[separator]].concat();
        let mut types = vec![0; first.len() + 2];
        types.resize(ids.len(), 1);
        let (ids, positions, labels) = self.mask(ids);
        PretrainingExample {
            ids,
            types,
            positions,
            labels,
            is_random_next,
        }
    }

    /// `create_masked_lm_predictions`: of the predicted tokens 80 % become the mask, 10 % stay, 10 % become random.
    fn mask(&mut self, mut ids: Vec<u32>) -> (Vec<u32>, Vec<usize>, Vec<u32>) {
        let special = [self.vocabulary.start, self.vocabulary.separator];
        let mut positions: Vec<usize> = (0..ids.len())
            .filter(|&at| !special.contains(&ids[at]))
            .collect();
        self.random.shuffle(&mut positions);
        // Python rounds halves to the even number.
        let wanted = (ids.len() as f64 * self.options.masked_lm_prob).round_ties_even() as usize;
        positions.truncate(wanted.max(1).min(self.options.max_predictions));
        let mut predicted = Vec::with_capacity(positions.len());
        for position in positions {
            let label = ids[position];
            if self.random.unit() < MASKED {
                ids[position] = self.vocabulary.mask;
            } else if self.random.unit() >= KEPT {
                ids[position] = self.random.between(0, self.vocabulary.size - 1) as u32;
            }
            predicted.push((position, label));
        }
        predicted.sort_unstable();
        let (positions, labels) = predicted.into_iter().unzip();
        (ids, positions, labels)
    }
}
