//! The text of an answer, as it is written.

use clinical_generate::{TextDecoder, TextStream};
use clinical_tokenizer::{DecodeStream, Tokenizer};

/// Holds white space back until text follows it: an answer has none at either end.
#[derive(Default)]
pub(crate) struct Trim {
    held: String,
    pub written: String,
}

impl Trim {
    pub fn push(&mut self, piece: &str) -> Option<String> {
        self.held.push_str(piece);
        let end = self.held.trim_end().len();
        if end == 0 {
            return None;
        }
        let rest = self.held.split_off(end);
        let mut piece = std::mem::replace(&mut self.held, rest);
        if self.written.is_empty() {
            piece = piece.trim_start().to_owned();
        }
        self.written.push_str(&piece);
        Some(piece)
    }
}

/// Decodes the new tokens of a row for the engine.
pub(crate) struct Text<'a>(pub &'a Tokenizer);

impl TextDecoder for Text<'_> {
    fn stream(&self, _row: usize) -> Box<dyn TextStream> {
        Box::new(Stream(self.0.decode_stream(true)))
    }
}

#[derive(Clone)]
struct Stream(DecodeStream);

impl TextStream for Stream {
    fn push(&mut self, id: u32) -> String {
        // An id without a piece has no text; the engine has already checked it against the vocabulary.
        self.0.push(id).ok().flatten().unwrap_or_default()
    }

    fn finish(&mut self) -> String {
        self.0.finish().unwrap_or_default()
    }

    fn fork(&self) -> Box<dyn TextStream> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::Trim;

    #[test]
    fn pieces_have_no_white_space_at_either_end() {
        let mut trim = Trim::default();
        let pieces: Vec<Option<String>> = [" ", "\nA", " ", "b ", "\n"]
            .map(|piece| trim.push(piece))
            .into();
        let pieces: Vec<&str> = pieces.iter().flatten().map(String::as_str).collect();
        assert_eq!(pieces, ["A", " b"]);
        assert_eq!(trim.written, "A b");
    }
}
