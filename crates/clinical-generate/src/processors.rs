//! Changes to the logits before a token is chosen, in the order of `transformers`' `_get_logits_processor`.

use std::collections::BTreeMap;

use crate::constraint::{Matcher, TokenMask};
use crate::{Generation, Processor};

/// Where a sequence stands when its next token is to be chosen.
pub(crate) struct Position<'a> {
    /// The context and the new tokens.
    pub(crate) history: &'a [u32],
    /// Where the new tokens begin.
    pub(crate) start: usize,
    /// Whether no token can follow the next one.
    pub(crate) last: bool,
}

/// The active processors of one call, and their scratch memory.
pub(crate) struct Processors {
    token_bias: Vec<(u32, f32)>,
    sequence_bias: Vec<(Vec<u32>, f32)>,
    repetition_penalty: Option<f32>,
    no_repeat_ngram: usize,
    bad_tokens: Vec<u32>,
    bad_words: Vec<Vec<u32>>,
    min_new_tokens: usize,
    end: Vec<u32>,
    constrained: bool,
    mask: TokenMask,
    forced_first: Option<u32>,
    forced_last: Option<u32>,
    suppress: Vec<u32>,
    custom: Vec<Processor>,
    /// `stamps[id] == stamp`: the token was seen in this pass.
    stamps: Vec<u32>,
    stamp: u32,
}

impl Processors {
    pub(crate) fn new(options: &Generation, end: &[u32], vocabulary: usize) -> Self {
        let biases: BTreeMap<&[u32], f64> = options
            .logit_bias
            .iter()
            .map(|(ids, bias)| (ids.as_slice(), *bias))
            .collect();
        let (tokens, sequences): (Vec<_>, Vec<_>) =
            biases.into_iter().partition(|(ids, _)| ids.len() == 1);
        let is_end = |word: &[u32]| matches!(word, [id] if end.contains(id));
        let (bad_tokens, bad_words): (Vec<_>, Vec<_>) = options
            .bad_words
            .iter()
            .filter(|word| !is_end(word))
            .cloned()
            .partition(|word| word.len() == 1);
        let penalty = options.repetition_penalty;
        Self {
            token_bias: tokens
                .into_iter()
                .map(|(ids, b)| (ids[0], b as f32))
                .collect(),
            sequence_bias: sequences
                .into_iter()
                .map(|(ids, b)| (ids.to_vec(), b as f32))
                .collect(),
            repetition_penalty: (penalty != 1.0).then_some(penalty as f32),
            no_repeat_ngram: options.no_repeat_ngram,
            bad_tokens: bad_tokens.into_iter().flatten().collect(),
            bad_words,
            min_new_tokens: if end.is_empty() {
                0
            } else {
                options.min_new_tokens
            },
            end: end.to_vec(),
            constrained: options.constraint.is_some(),
            mask: TokenMask::new(vocabulary),
            forced_first: options.forced_first,
            forced_last: options.forced_last,
            suppress: options.suppress.clone(),
            custom: options.processors.clone(),
            stamps: if penalty == 1.0 {
                Vec::new()
            } else {
                vec![0; vocabulary]
            },
            stamp: 0,
        }
    }

    /// Whether no processor changes anything at any step.
    pub(crate) fn are_off(&self) -> bool {
        self.token_bias.is_empty()
            && self.sequence_bias.is_empty()
            && self.repetition_penalty.is_none()
            && self.no_repeat_ngram == 0
            && self.bad_tokens.is_empty()
            && self.bad_words.is_empty()
            && self.min_new_tokens == 0
            && !self.constrained
            && self.forced_first.is_none()
            && self.forced_last.is_none()
            && self.suppress.is_empty()
            && self.custom.is_empty()
    }

    /// Whether tokens are forbidden at most, and all other scores stay as they are. A forced token has the score 0,
    /// which in beam search (`scores_add_up`) is not the same as to forbid the others.
    pub(crate) fn only_forbid(&self, scores_add_up: bool) -> bool {
        let forces = self.forced_first.is_some() || self.forced_last.is_some();
        self.token_bias.is_empty()
            && self.sequence_bias.is_empty()
            && self.repetition_penalty.is_none()
            && self.custom.is_empty()
            && !(scores_add_up && forces)
    }

    /// Changes the scores of the next token, `[vocabulary]`.
    pub(crate) fn apply(
        &mut self,
        position: &Position<'_>,
        matcher: Option<&mut (dyn Matcher + 'static)>,
        scores: &mut [f32],
    ) {
        let &Position {
            history,
            start,
            last,
        } = position;
        let new = history.len() - start;
        self.add_biases(history, scores);
        self.penalise_repetition(history, scores);
        self.forbid_ngrams(history, scores);
        forbid(&self.bad_tokens, scores);
        for word in &self.bad_words {
            if completes(history, word) {
                scores[word[word.len() - 1] as usize] = f32::NEG_INFINITY;
            }
        }
        if new < self.min_new_tokens {
            forbid(&self.end, scores);
        }
        if let Some(matcher) = matcher {
            self.mask.clear();
            matcher.allow(&mut self.mask);
            let can_end = matcher.can_end();
            for &id in &self.end {
                if can_end {
                    self.mask.allow(id);
                } else {
                    self.mask.forbid(id);
                }
            }
            self.mask.apply(scores);
        }
        if let (Some(id), 0) = (self.forced_first, new) {
            force(id, scores);
        }
        if let (Some(id), true) = (self.forced_last, last) {
            force(id, scores);
        }
        forbid(&self.suppress, scores);
        for processor in &self.custom {
            processor.apply(&history[..start], &history[start..], scores);
        }
    }

    fn add_biases(&self, history: &[u32], scores: &mut [f32]) {
        for &(id, bias) in &self.token_bias {
            scores[id as usize] += bias;
        }
        for (ids, bias) in &self.sequence_bias {
            if completes(history, ids) {
                scores[ids[ids.len() - 1] as usize] += bias;
            }
        }
    }

    fn penalise_repetition(&mut self, history: &[u32], scores: &mut [f32]) {
        let Some(penalty) = self.repetition_penalty else {
            return;
        };
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.stamps.fill(0);
            self.stamp = 1;
        }
        for &id in history {
            // A start token may lie outside the logits.
            let Some(stamp) = self.stamps.get_mut(id as usize) else {
                continue;
            };
            if *stamp != self.stamp {
                *stamp = self.stamp;
                let score = &mut scores[id as usize];
                *score = if *score < 0.0 {
                    *score * penalty
                } else {
                    *score / penalty
                };
            }
        }
    }

    fn forbid_ngrams(&self, history: &[u32], scores: &mut [f32]) {
        let n = self.no_repeat_ngram;
        if n == 0 || history.len() < n {
            return;
        }
        let open = &history[history.len() - n + 1..];
        for ngram in history.windows(n) {
            if &ngram[..n - 1] == open
                && let Some(score) = scores.get_mut(ngram[n - 1] as usize)
            {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// Whether the next token may complete `ids`: all but its last stand at the end of the context. As in `transformers`,
/// a sequence longer than the context is passed over.
fn completes(history: &[u32], ids: &[u32]) -> bool {
    ids.len() <= history.len() && history.ends_with(&ids[..ids.len() - 1])
}

fn forbid(ids: &[u32], scores: &mut [f32]) {
    for &id in ids {
        scores[id as usize] = f32::NEG_INFINITY;
    }
}

fn force(id: u32, scores: &mut [f32]) {
    scores.fill(f32::NEG_INFINITY);
    scores[id as usize] = 0.0;
}
