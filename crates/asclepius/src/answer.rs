//! What comes back.

use std::fmt;
use std::ops::{AddAssign, Range};

use clinical_generate::StopReason;
use serde::{Serialize, Serializer};

/// An answer to a question about a note. [`Display`](fmt::Display) prints its text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// The text, without special tokens and without white space at either end.
    pub text: String,
    /// Why the model stopped; as text in JSON.
    #[serde(serialize_with = "as_text")]
    pub stop: StopReason,
    /// Tokens read and written, all windows together.
    pub usage: Usage,
    /// Sum of the log-probabilities of the answer's tokens.
    pub log_prob: f64,
    /// Which part of the note the answer rests on: the byte ranges that were read, in order. The whole note is one range;
    /// a cut note lacks an end; a note read in windows has one for each.
    pub windows: Vec<Window>,
    /// The window whose answer this is; `None` where the answers of several were asked again.
    pub window: Option<usize>,
}

/// A part of a note that was read, and what it gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Window {
    /// Bytes of the note.
    pub range: Range<usize>,
    /// The answer from this part alone; `None` where it is the answer itself, or the part was not asked.
    pub answer: Option<String>,
}

/// Tokens that a question cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Usage {
    /// Tokens of the prompts.
    pub prompt_tokens: usize,
    /// How many of these had been read before: the head that all prompts begin with, or what a
    /// [`Session`](crate::Session) keeps of its note.
    pub reused_tokens: usize,
    /// Tokens written.
    pub new_tokens: usize,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.reused_tokens += other.reused_tokens;
        self.new_tokens += other.new_tokens;
    }
}

fn as_text<S: Serializer>(stop: &StopReason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(stop)
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
