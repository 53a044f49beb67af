//! Texts as rows of token ids.

use std::ops::Range;

use clinical_tokenizer::Tokenizer;

use super::ClinicalBert;
use crate::config::Family;
use crate::{Error, Row};

/// What to do with a text that has more tokens than the model reads at once. Nothing is ever cut without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LongText {
    /// [`Error::TooLong`].
    Error,
    /// Reads as many tokens from the start as fit.
    KeepStart,
    /// Reads as many tokens from the end as fit.
    KeepEnd,
    /// Reads the text in windows that end at sections and sentences ([`clinical_notes::windows`]). Each window repeats up
    /// to `overlap` tokens of the one before.
    Windows {
        /// Tokens that a window repeats: less than half of what the model reads.
        overlap: usize,
    },
}

/// A text that is refused is counted up to this many times what the model reads.
const COUNTED: usize = 4;

/// A row that owns its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnedRow {
    pub(super) ids: Vec<u32>,
    pub(super) types: Vec<u32>,
}

impl OwnedRow {
    pub(super) fn row(&self) -> Row<'_> {
        Row {
            ids: &self.ids,
            types: &self.types,
        }
    }
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) id: u32,
    /// Bytes of the caller's text.
    pub(super) bytes: Range<usize>,
    /// Whether it continues the word of the token before it.
    pub(super) continues: bool,
}

/// The tokenizer, and how the model wants texts to be wrapped.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) tokenizer: Tokenizer,
    pub(super) family: Family,
    pub(super) start: u32,
    pub(super) separator: u32,
    pub(super) mask: Option<u32>,
    /// WordPiece vocabularies: whether the token of this id continues a word (`##`).
    continuing: Option<Vec<bool>>,
}

impl Text {
    /// Special tokens around one text.
    pub(super) const AROUND: usize = 2;

    pub(super) fn new(tokenizer: Tokenizer, family: Family) -> Result<Self, Error> {
        let special = tokenizer.special();
        let missing = |token| Error::NoSpecialToken { token };
        let continuing: Vec<bool> = (0..tokenizer.vocab_size() as u32)
            .map(|id| {
                tokenizer
                    .id_to_token(id)
                    .is_some_and(|token| token.len() > 2 && token.starts_with("##"))
            })
            .collect();
        Ok(Self {
            start: special.cls.or(special.bos).ok_or(missing("start"))?,
            separator: special
                .sep
                .or(special.eos.first().copied())
                .ok_or(missing("separator"))?,
            mask: special.mask,
            continuing: continuing.contains(&true).then_some(continuing),
            tokenizer,
            family,
        })
    }

    /// Ids without special tokens.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.tokenizer.encode(text, false)?.into_ids())
    }

    /// [`Self::ids`] if there are at most `limit`; otherwise more than `limit`, and perhaps not all.
    pub(super) fn ids_up_to(&self, text: &str, limit: usize) -> Result<Vec<u32>, Error> {
        Ok(self.tokenizer.encode_start(text, false, limit)?.into_ids())
    }

    /// Tokens with their places, `from` added to each.
    pub(super) fn tokens(&self, text: &str, from: usize) -> Result<Vec<Token>, Error> {
        let encoding = self.tokenizer.encode(text, false)?;
        let mut tokens: Vec<Token> = Vec::with_capacity(encoding.len());
        for (&id, &(start, end)) in encoding.ids().iter().zip(encoding.offsets()) {
            let bytes = trimmed(text, start..end);
            let continues = match &self.continuing {
                Some(continuing) => continuing
                    .get(id as usize)
                    .is_some_and(|&continues| continues),
                None => !tokens.is_empty() && same_word(text, bytes.start),
            };
            tokens.push(Token {
                id,
                bytes: bytes.start + from..bytes.end + from,
                continues,
            });
        }
        Ok(tokens)
    }

    /// `[CLS] text [SEP]`.
    pub(super) fn single(&self, ids: &[u32]) -> OwnedRow {
        OwnedRow {
            ids: [&[self.start], ids, &[self.separator]].concat(),
            types: Vec::new(),
        }
    }

    /// `[CLS] first [SEP] second [SEP]` with types 0 and 1; for RoBERTa `<s> first </s></s> second </s>` without types.
    pub(super) fn pair(&self, first: &[u32], second: &[u32]) -> OwnedRow {
        let separator = &[self.separator];
        if self.family == Family::Roberta {
            return OwnedRow {
                ids: [
                    &[self.start],
                    first,
                    separator,
                    separator,
                    second,
                    separator,
                ]
                .concat(),
                types: Vec::new(),
            };
        }
        let ids = [&[self.start], first, separator, second, separator].concat();
        let mut types = vec![0; first.len() + 2];
        types.resize(ids.len(), 1);
        OwnedRow { ids, types }
    }

    /// Special tokens around a pair, and those before its second text beside the first text.
    pub(super) fn around_pair(&self) -> (usize, usize) {
        match self.family {
            Family::Roberta => (4, 3),
            Family::Bert | Family::MegatronBert => (3, 2),
        }
    }
}

impl ClinicalBert {
    /// The rows of one text. What is too long is treated as `long` says.
    pub(super) fn rows(
        &self,
        index: usize,
        text: &str,
        long: LongText,
    ) -> Result<Vec<OwnedRow>, Error> {
        let room = self.max_length() - Text::AROUND;
        let enough = match long {
            LongText::Error => room.saturating_mul(COUNTED),
            LongText::KeepStart | LongText::Windows { .. } => room,
            LongText::KeepEnd => usize::MAX,
        };
        let ids = self.text.ids_up_to(text, enough)?;
        if ids.len() <= room {
            return Ok(vec![self.text.single(&ids)]);
        }
        Ok(match long {
            LongText::Error => {
                self.check_length(index, ids.len() + Text::AROUND)?;
                Vec::new()
            }
            LongText::KeepStart => vec![self.text.single(&ids[..room])],
            LongText::KeepEnd => vec![self.text.single(&ids[ids.len() - room..])],
            LongText::Windows { overlap } => {
                let mut rows = Vec::new();
                for window in self.windows(text, overlap)? {
                    let ids = self.text.ids(&text[window])?;
                    // A window of white space alone says nothing.
                    if !ids.is_empty() {
                        rows.push(self.text.single(&ids));
                    }
                }
                rows
            }
        })
    }

    /// The windows of a text by sections and sentences.
    pub(super) fn windows(&self, text: &str, overlap: usize) -> Result<Vec<Range<usize>>, Error> {
        let window = self.max_length() - Text::AROUND;
        if overlap >= window.div_ceil(2) {
            return Err(Error::Overlap { overlap, window });
        }
        let windows = clinical_notes::windows(text, window, overlap, |text| {
            self.text.ids(text).map(|ids| ids.len())
        })?;
        Ok(windows.into_iter().map(|window| window.range).collect())
    }
}

/// A range of a text without white space at its ends, on the borders of characters.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let (start, end) = (
        text.floor_char_boundary(range.start),
        text.ceil_char_boundary(range.end),
    );
    let piece = text.get(start..end).unwrap_or_default();
    let inner = piece.trim();
    if inner.is_empty() {
        return start..end.max(start);
    }
    let start = start + piece.len() - piece.trim_start().len();
    start..start + inner.len()
}

/// Whether the word of the character before `at` goes on at `at`: letters, digits and signs are words of their own, as in
/// the patterns of byte-level vocabularies.
fn same_word(text: &str, at: usize) -> bool {
    let (before, behind) = (text[..at].chars().next_back(), text[at..].chars().next());
    let kind = |c: char| (c.is_whitespace(), c.is_alphabetic(), c.is_numeric());
    match (before, behind) {
        (Some(before), Some(behind)) => !before.is_whitespace() && kind(before) == kind(behind),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lose_white_space_and_keep_characters_whole() {
        let text = "a  \u{e9}b\n";
        assert_eq!(trimmed(text, 1..6), 3..6);
        assert_eq!(trimmed(text, 4..5), 3..5);
        assert_eq!(trimmed(text, 1..3), 1..3);
        assert_eq!(trimmed(text, 6..99), 6..7);
    }

    #[test]
    fn words_end_where_the_kind_of_character_changes() {
        let text = "fever,38 c";
        let starts: Vec<usize> = (0..text.len()).filter(|&at| !same_word(text, at)).collect();
        assert_eq!(starts, [0, 5, 6, 8, 9]);
    }
}
