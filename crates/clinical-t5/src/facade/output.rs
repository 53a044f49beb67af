//! What comes back.

use std::fmt;
use std::ops::Range;

use clinical_generate::{Generated, StopReason};
use serde::Serialize;

/// A generated text. `Display` is the text alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Output {
    /// The text, without the end token and other special tokens. Tokens that were added as plain ones, such as
    /// `[Name]`, are in it.
    pub text: String,
    /// The new tokens, the end token included.
    pub ids: Vec<u32>,
    /// Why it ended; as text in JSON.
    pub stop: StopReason,
    /// The log-probability of each of [`Self::ids`], if `Generation::log_probs` asked for it or windows were compared
    /// by it; else empty.
    pub log_probs: Vec<f32>,
    /// What beam search ranked it by; `None` without beams.
    pub score: Option<f32>,
    /// The other sequences, the best first, where `Generation::num_return_sequences` asks for several.
    pub alternatives: Vec<Sequence>,
    /// The parts of the input that were read, in order. The whole input is one; a cut one lacks an end; one read in
    /// windows has a part for each.
    pub windows: Vec<Window>,
    /// Which of [`Self::windows`] the text comes from.
    pub window: usize,
}

/// One of several sequences for an input.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sequence {
    /// As [`Output::text`].
    pub text: String,
    /// As [`Output::ids`].
    pub ids: Vec<u32>,
    /// As [`Output::stop`].
    pub stop: StopReason,
    /// As [`Output::log_probs`].
    pub log_probs: Vec<f32>,
    /// As [`Output::score`].
    pub score: Option<f32>,
}

/// A part of an input that was read, and what it gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Window {
    /// Bytes of the input, as it was given.
    pub range: Range<usize>,
    /// The text for this part alone; `None` where it is the output itself.
    pub text: Option<String>,
}

/// What the model put for one sentinel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Span {
    /// The number in `<extra_id_0>`, `<extra_id_1>`, ...
    pub sentinel: usize,
    /// The text that fills it; empty if the model gave none.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// The log-probability of each of its tokens.
    pub log_probs: Vec<f32>,
    /// Whether the output has this sentinel, and goes on or ends after the span by itself: `false` for a span that is
    /// missing, or cut off by the limit of tokens.
    pub complete: bool,
}

impl Output {
    /// The output of the window whose best sequence has the highest mean log-probability per token, the earlier of two
    /// equals. Each window has its range and its sequences, the best first; `None` without any.
    pub(super) fn best(found: Vec<(Range<usize>, Vec<Generated>)>) -> Option<Self> {
        let first = |sequences: &[Generated]| sequences.first().map_or(f64::NEG_INFINITY, mean);
        let mut best = 0;
        for (at, (_, sequences)) in found.iter().enumerate() {
            if first(sequences) > first(&found[best].1) {
                best = at;
            }
        }
        let windows = found.iter().enumerate().map(|(at, (range, sequences))| {
            let text = sequences.first().filter(|_| at != best);
            Window {
                range: range.clone(),
                text: text.map(|sequence| sequence.text.clone().unwrap_or_default()),
            }
        });
        let windows = windows.collect();
        let (_, sequences) = found.into_iter().nth(best)?;
        let mut sequences = sequences.into_iter().map(Sequence::from);
        let first = sequences.next()?;
        Some(Self {
            text: first.text,
            ids: first.ids,
            stop: first.stop,
            log_probs: first.log_probs,
            score: first.score,
            alternatives: sequences.collect(),
            windows,
            window: best,
        })
    }
}

/// The mean log-probability per token.
fn mean(sequence: &Generated) -> f64 {
    let total = sequence.log_prob().unwrap_or(f64::NEG_INFINITY);
    total / sequence.log_probs.len().max(1) as f64
}

impl From<Generated> for Sequence {
    fn from(generated: Generated) -> Self {
        Self {
            text: generated.text.unwrap_or_default(),
            ids: generated.ids,
            stop: generated.stop,
            log_probs: generated.log_probs,
            score: generated.score,
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq<str> for Output {
    fn eq(&self, text: &str) -> bool {
        self.text == text
    }
}

impl PartialEq<&str> for Output {
    fn eq(&self, text: &&str) -> bool {
        self.text == *text
    }
}
