//! How much of the data did not fit.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::causal::CausalExample;
use super::seq2seq::Seq2SeqExample;

/// Counts of what limits cut off, over many examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Truncation {
    /// Examples that were counted.
    pub examples: u64,
    /// Examples whose input was cut. A decoder-only row counts here only: its end is what is cut, most often the
    /// answer's.
    pub inputs_cut: u64,
    /// Examples whose target was cut.
    pub targets_cut: u64,
    /// Tokens that were cut off, of inputs and targets.
    pub tokens_cut: u64,
    /// Examples whose target is the end token alone.
    pub empty_targets: u64,
}

impl Truncation {
    /// Counts a pair.
    pub fn add_pair(&mut self, example: &Seq2SeqExample) {
        self.examples += 1;
        self.inputs_cut += u64::from(example.input_cut > 0);
        self.targets_cut += u64::from(example.target_cut > 0);
        self.tokens_cut += (example.input_cut + example.target_cut) as u64;
        self.empty_targets += u64::from(example.labels.len() == 1);
    }

    /// Counts a decoder-only row.
    pub fn add_row(&mut self, example: &CausalExample) {
        self.examples += 1;
        self.inputs_cut += u64::from(example.cut > 0);
        self.tokens_cut += example.cut as u64;
    }
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of {} examples {} inputs and {} targets were cut ({} tokens), {} targets are empty",
            self.examples, self.inputs_cut, self.targets_cut, self.tokens_cut, self.empty_targets
        )
    }
}
