//! Texts of more tokens than a model reads at once.

/// What to do with a text that has more tokens than the model reads at once. Nothing is ever cut without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum LongText {
    /// [`TextTooLong`] (the default).
    #[default]
    Error,
    /// Leaves out the start of the text: its end is read.
    CutStart,
    /// Leaves out the end of the text: its start is read.
    CutEnd,
    /// Reads the text in windows that end at sections and sentences ([`clinical_notes::windows`]).
    Windows {
        /// Tokens of the end of one window that the next one repeats.
        overlap: usize,
    },
}

/// A text with more tokens than the model reads at once, which was not to be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {text} is too long: it has at least {tokens} tokens, and the model has room for {limit}{}; choose \
     LongText::Windows, CutStart or CutEnd",
    if *reserved > 0 { format!(" with {reserved} kept for the answer") } else { String::new() }
)]
#[non_exhaustive]
pub struct TextTooLong {
    /// Which text: `note`, `text`, `input`.
    pub text: &'static str,
    /// Its tokens with all that stands around it; of a very long text not all are counted.
    pub tokens: usize,
    /// The tokens that there is room for.
    pub limit: usize,
    /// Positions that are kept for an answer, on top of `limit`; 0 for models that write nothing.
    pub reserved: usize,
}

impl TextTooLong {
    /// A text of `tokens` where there is room for `limit`.
    #[must_use]
    pub fn new(text: &'static str, tokens: usize, limit: usize) -> Self {
        Self {
            text,
            tokens,
            limit,
            reserved: 0,
        }
    }

    /// The same where `positions` more are kept for the answer.
    #[must_use]
    pub fn with_reserved(mut self, positions: usize) -> Self {
        self.reserved = positions;
        self
    }
}
