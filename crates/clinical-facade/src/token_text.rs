//! The tokenizer, as the generation engine wants it.

use clinical_generate::{TextDecoder, TextStream};
use clinical_tokenizer::{DecodeStream, Tokenizer};

/// Decodes the new tokens of a row, without special tokens. It shares the tokenizer, so it is cheap and lives as long
/// as its user needs it.
#[derive(Debug, Clone)]
pub struct TokenText(Tokenizer);

impl TokenText {
    /// The texts of this tokenizer.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self(tokenizer.clone())
    }
}

impl TextDecoder for TokenText {
    fn stream(&self, _row: usize) -> Box<dyn TextStream> {
        Box::new(Stream(self.0.decode_stream(true)))
    }
}

#[derive(Clone)]
struct Stream(DecodeStream);

impl TextStream for Stream {
    fn push(&mut self, id: u32) -> String {
        // An id without a piece (a padding row of the embedding table) has no text.
        self.0.push(id).ok().flatten().unwrap_or_default()
    }

    fn finish(&mut self) -> String {
        self.0.finish().unwrap_or_default()
    }

    fn fork(&self) -> Box<dyn TextStream> {
        Box::new(self.clone())
    }
}
