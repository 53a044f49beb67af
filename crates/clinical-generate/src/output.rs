//! What a generation gives back: one step at a time, and at the end.

use std::fmt;

use serde::{Serialize, Serializer};

/// One new token, given to the caller as soon as it is chosen.
///
/// Beam search knows its answer only at the end: it gives all steps of each returned sequence then.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Step<'a> {
    /// The row of the prompt, in the caller's order.
    pub row: usize,
    /// Which of the row's sequences, from 0 (see `num_return_sequences`).
    pub sequence: usize,
    /// Which new token of the sequence, from 0.
    pub index: usize,
    /// The token.
    pub id: u32,
    /// Text that became certain with this token; empty without a text decoder. Text that might be the start of a
    /// stop string is held back until it is certain that it is not one.
    pub text: &'a str,
    /// The model's log-probability of the token, if asked for with `log_probs`.
    pub log_prob: Option<f32>,
    /// Why the sequence ends with this token; `None` while it goes on.
    pub stop: Option<StopReason>,
}

/// What to give up, returned by the caller's closure inside [`ControlFlow::Break`](std::ops::ControlFlow::Break).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// This sequence only; the others go on.
    Row,
    /// Everything.
    All,
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// An end token was chosen.
    EndToken,
    /// A stop sequence of ids came up.
    StopSequence,
    /// A stop string came up.
    StopString,
    /// The constraint allows nothing more, and there is no end token to say so.
    Complete,
    /// `max_new_tokens` were chosen.
    MaxNewTokens,
    /// The model has no further position.
    MaxPositions,
    /// The deadline passed.
    Deadline,
    /// The caller's closure or flag cancelled it.
    Cancelled,
}

impl StopReason {
    /// Whether the answer came to its own end, rather than being cut off.
    #[must_use]
    pub fn is_complete(self) -> bool {
        matches!(
            self,
            Self::EndToken | Self::StopSequence | Self::StopString | Self::Complete
        )
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndToken => "end token",
            Self::StopSequence => "stop sequence",
            Self::StopString => "stop string",
            Self::Complete => "complete",
            Self::MaxNewTokens => "max_new_tokens",
            Self::MaxPositions => "the model's last position",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
        })
    }
}

/// In JSON and the like, the words of [`Display`](fmt::Display).
impl Serialize for StopReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A token that could have been chosen, and how likely the model found it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TopToken {
    /// Its id.
    pub id: u32,
    /// The model's own log-probability of it (natural logarithm, before any processor).
    pub log_prob: f32,
}

/// One finished sequence.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Generated {
    /// The row of the prompt, in the caller's order.
    pub row: usize,
    /// Which of the row's sequences, from 0: best first for beams.
    pub sequence: usize,
    /// The new tokens, the end token or stop sequence included.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub stop: StopReason,
    /// The text before the end token or stop string, if a text decoder was given.
    pub text: Option<String>,
    /// The model's own log-probability of each of [`ids`](Self::ids) (natural logarithm, before any processor), if
    /// asked for with `log_probs`; else empty.
    pub log_probs: Vec<f32>,
    /// For each of [`ids`](Self::ids) the likeliest tokens at its place, the likeliest first, of equal ones the lower id
    /// first: as many as `top_log_probs` asked for, or the vocabulary has. The chosen token need not be among them. Empty
    /// if none were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_log_probs: Vec<Vec<TopToken>>,
    /// The score that beam search ranked it by: the sum of the processed log-probabilities divided by
    /// `length^length_penalty`. `None` without beams.
    pub score: Option<f32>,
    /// How many of `ids` belong to the end token or stop sequence.
    #[serde(skip)]
    pub(crate) ending: usize,
}

impl Generated {
    /// The new tokens without the end token or the stop sequence.
    #[must_use]
    pub fn content(&self) -> &[u32] {
        &self.ids[..self.ids.len() - self.ending]
    }

    /// The log-probability of all new tokens together, if `log_probs` was asked for.
    #[must_use]
    pub fn log_prob(&self) -> Option<f64> {
        (!self.log_probs.is_empty()).then(|| self.log_probs.iter().map(|&p| f64::from(p)).sum())
    }
}
