//! The text of an answer, as it is written and token by token.

use std::ops::Range;

use clinical_facade::TokenText;
use clinical_generate::{Generated, TextDecoder, TextStream};
use clinical_tokenizer::Tokenizer;

use crate::answer::{LikelyToken, Token};

/// Holds white space back until text follows it: an answer has none at either end. Or lets all of it through.
#[derive(Default)]
pub(crate) struct Trim {
    keep: bool,
    held: String,
    pub written: String,
}

impl Trim {
    pub fn new(keep: bool) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    /// What of a whole text is let through.
    pub fn range(&self, text: &str) -> Range<usize> {
        if self.keep {
            return 0..text.len();
        }
        let start = text.len() - text.trim_start().len();
        start..text.trim_end().len().max(start)
    }

    /// What of the next piece is let through, with what was held back before.
    pub fn push(&mut self, piece: &str) -> Option<String> {
        if self.keep {
            self.written.push_str(piece);
            return (!piece.is_empty()).then(|| piece.to_owned());
        }
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

/// Decodes new tokens for the engine, after what stands before them.
pub(crate) struct Text<'a> {
    tokens: TokenText,
    /// The prompt of each row where its text is to go on without a seam: a tokenizer gives the first token of a text no
    /// blank. Empty for texts of their own.
    before: &'a [&'a [u32]],
}

impl<'a> Text<'a> {
    pub(crate) fn new(tokenizer: &Tokenizer, before: &'a [&'a [u32]]) -> Self {
        Self {
            tokens: TokenText::new(tokenizer),
            before,
        }
    }

    /// The pieces of the new tokens of the only row. Those of an end, and of what stands after a stop string, are
    /// empty; `worded` says that the end token is a word, which is text as in `transformers`.
    pub(crate) fn pieces(&self, result: &Generated, worded: bool) -> Vec<String> {
        let mut stream = self.stream(0);
        let written = if worded {
            &result.ids
        } else {
            result.content()
        };
        let mut pieces: Vec<String> = written.iter().map(|&id| stream.push(id)).collect();
        if let Some(last) = pieces.last_mut() {
            last.push_str(&stream.finish());
        }
        pieces.resize(result.ids.len(), String::new());
        pieces
    }

    /// The likeliest tokens at each place of the only row, as far as they were asked for, each with what it would have
    /// written there.
    pub(crate) fn top(&self, result: &Generated, tokenizer: &Tokenizer) -> Vec<Vec<LikelyToken>> {
        let mut stream = self.stream(0);
        let mut all = Vec::with_capacity(result.top_log_probs.len());
        for (&id, top) in result.ids.iter().zip(&result.top_log_probs) {
            // Some decoders hold all text back until the end; a blank that is held belongs to the next token.
            let held = stream.fork().finish();
            let held = if held.trim().is_empty() { "" } else { &held };
            let of = top.iter().map(|token| {
                let mut ahead = stream.fork();
                let mut text = ahead.push(token.id);
                text.push_str(&ahead.finish());
                if let Some(rest) = text.strip_prefix(held) {
                    text = rest.to_owned();
                }
                if text.contains(char::REPLACEMENT_CHARACTER) {
                    text.clear();
                }
                LikelyToken {
                    id: token.id,
                    text,
                    name: tokenizer.id_to_token(token.id).unwrap_or_default(),
                    log_prob: token.log_prob,
                }
            });
            all.push(of.collect());
            stream.push(id);
        }
        all
    }
}

/// Each new token with its piece of `kept`, a range of the text of all of them, and the likeliest at its place.
pub(crate) fn tokens(
    result: &Generated,
    pieces: &[String],
    top: Vec<Vec<LikelyToken>>,
    kept: Range<usize>,
) -> Vec<Token> {
    let mut at = 0;
    let mut top = top.into_iter();
    let tokens = result.ids.iter().zip(&result.log_probs).zip(pieces);
    let tokens = tokens.map(|((&id, &log_prob), piece)| {
        let end = at + piece.len();
        let range = at.clamp(kept.start, kept.end)..end.clamp(kept.start, kept.end);
        let inside = kept.start.clamp(at, end) - at..kept.end.clamp(at, end) - at;
        let mut top = top.next().unwrap_or_default();
        if at < kept.start {
            // The white space that the chosen one loses.
            for token in &mut top {
                token.text = token.text.trim_start().to_owned();
            }
        }
        at = end;
        Token {
            id,
            text: piece.get(inside).unwrap_or_default().to_owned(),
            range: range.start - kept.start..range.end - kept.start,
            log_prob,
            top,
        }
    });
    tokens.collect()
}

impl TextDecoder for Text<'_> {
    fn stream(&self, row: usize) -> Box<dyn TextStream> {
        let mut stream = self.tokens.stream(row);
        for &id in self.before.get(row).copied().unwrap_or_default() {
            stream.push(id);
        }
        stream
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
