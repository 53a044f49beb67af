//! Texts as the rows that the model layer takes, for people who write their own loops.

use std::ops::Range;

use clinical_facade::TextTooLong;

use super::ClinicalBert;
use crate::{Result, TokenRow};

impl ClinicalBert {
    /// `[CLS] text [SEP]`, as the model reads it.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`](crate::Error::TooLong) for a text that the model cannot read at once, and those of the
    /// tokenizer.
    pub fn encode(&self, text: &str) -> Result<TokenRow> {
        let ids = self.text.ids(text)?;
        self.fits(self.text.single(&ids))
    }

    /// `[CLS] first [SEP] second [SEP]`, as the family of the model joins two texts.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_pair(&self, first: &str, second: &str) -> Result<TokenRow> {
        let (first, second) = (self.text.ids(first)?, self.text.ids(second)?);
        self.fits(self.text.pair(&first, &second))
    }

    /// A row of words, as labelled texts are often published, and for each of its tokens the word that it belongs to
    /// (`None` for special tokens). [`align_labels`](crate::align_labels) makes labels for the tokens of it.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_words<T: AsRef<str>>(
        &self,
        words: &[T],
    ) -> Result<(TokenRow, Vec<Option<usize>>)> {
        let mut text = String::new();
        let mut ranges: Vec<Range<usize>> = Vec::with_capacity(words.len());
        for word in words {
            if !text.is_empty() {
                text.push(' ');
            }
            let start = text.len();
            text.push_str(word.as_ref());
            ranges.push(start..text.len());
        }
        let tokens = self.text.tokens(&text, 0)?;
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let row = self.fits(self.text.single(&ids))?;
        let word = |start: usize| ranges.partition_point(|range| range.end <= start);
        let of = tokens.iter().map(|token| Some(word(token.bytes.start)));
        let of = std::iter::once(None).chain(of).chain([None]).collect();
        Ok((row, of))
    }

    fn fits(&self, row: TokenRow) -> Result<TokenRow> {
        let (tokens, limit) = (row.ids.len(), self.max_tokens());
        if tokens > limit {
            return Err(TextTooLong::new("text", tokens, limit).into());
        }
        Ok(row)
    }
}
