//! What goes into the facade and what comes out.

use std::fmt;

use clinical_generate::{Generated, StopReason};

/// What to do with an input of more tokens than [`ClinicalT5::max_input_tokens`](crate::ClinicalT5::max_input_tokens).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LongInput {
    /// [`Error::InputTooLong`](crate::Error::InputTooLong) (the default): nothing of a note is left out unnoticed.
    #[default]
    Error,
    /// Leave out the end, as `transformers` truncates.
    CutEnd,
    /// Leave out the start.
    CutStart,
    /// Read all of it. Relative positions allow any length; memory grows with its square.
    Read,
}

/// A generated text. `Display` is the text alone.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Output {
    /// The text, without the end token and other special tokens. Tokens that were added as plain ones, such as `[Name]`,
    /// are in it.
    pub text: String,
    /// The new tokens, the end token included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stop: StopReason,
    /// The input it belongs to.
    pub row: usize,
    /// Which of the input's outputs it is, from 0, best first.
    pub sequence: usize,
    /// The log-probability of each of [`Self::ids`], if `Generation::log_probs` asked for it; else empty.
    pub log_probs: Vec<f32>,
    /// What beam search ranked it by; `None` without beams.
    pub score: Option<f32>,
}

impl From<Generated> for Output {
    fn from(generated: Generated) -> Self {
        Self {
            text: generated.text.unwrap_or_default(),
            ids: generated.ids,
            stop: generated.stop,
            row: generated.row,
            sequence: generated.sequence,
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

/// The log-probabilities of a target's tokens.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// The tokens, the end token included.
    pub ids: Vec<u32>,
    /// The natural logarithm of the probability of each.
    pub log_probs: Vec<f32>,
}

impl Score {
    /// The log-probability of the whole target.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.log_probs
            .iter()
            .map(|&log_prob| f64::from(log_prob))
            .sum()
    }

    /// The mean log-probability of a token.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.total() / self.log_probs.len().max(1) as f64
    }
}
