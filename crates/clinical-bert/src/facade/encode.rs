//! Texts as the rows that the model layer takes, for people who write their own loops.

use std::ops::Range;

use clinical_facade::{CallOptions, LongText, TextTooLong};

use super::ClinicalBert;
use crate::{Result, SpanOptions, TokenRow};

/// A question with a part of a context, as [`ClinicalBert::encode_question`] gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuestionRow {
    /// What the model reads.
    pub row: TokenRow,
    /// For each token the bytes of the context that it stands for; `None` for the question and special tokens.
    pub bytes: Vec<Option<Range<usize>>>,
}

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

    /// [`encode`](Self::encode), or [`encode_pair`](Self::encode_pair) where there is a second text, of at most
    /// `max_tokens`: the end of the text, or of the second one, is left out. Default: [`max_tokens`](Self::max_tokens).
    /// What training on published data does with long texts.
    ///
    /// # Errors
    ///
    /// [`Error::NothingLeft`](crate::Error::NothingLeft) for a cut that leaves white space,
    /// [`Error::TooLong`](crate::Error::TooLong) for a first text that alone is too long, and those of the tokenizer.
    pub fn encode_cut(
        &self,
        text: &str,
        second: Option<&str>,
        max_tokens: Option<usize>,
    ) -> Result<TokenRow> {
        let mut call = CallOptions::default();
        (call.long_text, call.max_tokens) = (Some(LongText::CutEnd), max_tokens);
        let rows = match second {
            Some(second) => self.pair_rows(text, second, &call),
            None => self.rows(text, &call, LongText::CutEnd),
        };
        // A cut leaves one row.
        Ok(rows?.into_iter().next().unwrap_or_default())
    }

    /// The rows in which [`answer_span_with`](Self::answer_span_with) reads a context, with the bytes of the context that
    /// each token stands for: what a span head is trained on.
    ///
    /// # Errors
    ///
    /// As [`answer_span_with`](Self::answer_span_with).
    pub fn encode_question(
        &self,
        question: &str,
        context: &str,
        options: &SpanOptions,
    ) -> Result<Vec<QuestionRow>> {
        options.check()?;
        let question = self.text.ids(question)?;
        let mut tokens = self.text.tokens(context, 0)?;
        let windows = self.context_windows(question.len(), &mut tokens, options)?;
        let (around, before) = self.text.around_pair();
        let before = before + question.len();
        let row = |window: Range<usize>| {
            let tokens = &tokens[window];
            let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
            let row = self.text.pair(&question, &ids);
            let mut bytes = vec![None; before];
            bytes.extend(tokens.iter().map(|token| Some(token.bytes.clone())));
            bytes.resize(around + question.len() + ids.len(), None);
            QuestionRow { row, bytes }
        };
        Ok(windows.into_iter().map(row).collect())
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
