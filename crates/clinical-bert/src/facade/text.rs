//! Texts as tokens, and tokens as rows.

use std::borrow::Cow;
use std::ops::Range;

use clinical_tokenizer::Tokenizer;
use clinical_tokenizer::limits::DEFAULT_MAX_TEXT_BYTES;

use crate::config::Family;
use crate::{Error, Result, TokenRow};

/// A token and where it is.
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
    family: Family,
    /// Whether a text is lower-cased before it is split, beside what the tokenizer does.
    lower_case: bool,
    pub(super) start: u32,
    pub(super) separator: u32,
    pub(super) mask: Option<u32>,
    /// WordPiece vocabularies: whether the token of this id continues a word (`##`).
    continuing: Option<Vec<bool>>,
}

impl Text {
    /// Special tokens around one text.
    pub(super) const AROUND: usize = 2;

    pub(super) fn new(tokenizer: Tokenizer, family: Family, lower_case: bool) -> Result<Self> {
        let special = tokenizer.special();
        let missing = |token| Error::NoSpecialToken { token };
        Ok(Self {
            start: special.cls.or(special.bos).ok_or(missing("start"))?,
            separator: special
                .sep
                .or(special.eos.first().copied())
                .ok_or(missing("separator"))?,
            mask: special.mask,
            continuing: continuing(&tokenizer),
            tokenizer,
            family,
            lower_case,
        })
    }

    /// The same with another tokenizer.
    pub(super) fn with_tokenizer(&self, tokenizer: Tokenizer) -> Result<Self> {
        Self::new(tokenizer, self.family, self.lower_case)
    }

    fn cased<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.lower_case {
            true => text.to_lowercase().into(),
            false => text.into(),
        }
    }

    /// Ids of a text of any length, without special tokens.
    pub(super) fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let text = self.cased(text);
        let mut ids = Vec::new();
        for part in parts(&text) {
            ids.extend(self.tokenizer.encode(&text[part], false)?.into_ids());
        }
        Ok(ids)
    }

    /// [`Self::ids`] if there are at most `limit`; otherwise more than `limit`, and perhaps not all.
    pub(super) fn ids_up_to(&self, text: &str, limit: usize) -> Result<Vec<u32>> {
        let text = self.cased(text);
        let mut ids = Vec::new();
        for part in parts(&text) {
            let left = limit.saturating_sub(ids.len());
            let start = self.tokenizer.encode_start(&text[part], false, left)?;
            ids.extend(start.into_ids());
            if ids.len() > limit {
                break;
            }
        }
        Ok(ids)
    }

    /// [`Self::ids`] if there are at most `limit`; otherwise more than `limit`, without some at the start perhaps.
    pub(super) fn last_ids(&self, text: &str, limit: usize) -> Result<Vec<u32>> {
        let text = self.cased(text);
        let mut last = Vec::new();
        for part in parts(&text).into_iter().rev() {
            let mut ids = self.tokenizer.encode(&text[part], false)?.into_ids();
            ids.append(&mut last);
            last = ids;
            if last.len() > limit {
                break;
            }
        }
        Ok(last)
    }

    /// Tokens of a text of any length with the bytes that they have in it, `from` added to each.
    pub(super) fn tokens(&self, text: &str, from: usize) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        for part in parts(text) {
            self.add_tokens(&text[part.clone()], from + part.start, &mut tokens)?;
        }
        Ok(tokens)
    }

    fn add_tokens(&self, text: &str, from: usize, tokens: &mut Vec<Token>) -> Result<()> {
        let encoding = self.tokenizer.encode(text, false)?;
        tokens.reserve(encoding.len());
        let mut is_first = true;
        for (&id, &(start, end)) in encoding.ids().iter().zip(encoding.offsets()) {
            let bytes = trimmed(text, start..end);
            let continues = match &self.continuing {
                Some(continuing) => continuing.get(id as usize).copied().unwrap_or(false),
                None => !is_first && same_word(text, bytes.start),
            };
            is_first = false;
            tokens.push(Token {
                id,
                bytes: bytes.start + from..bytes.end + from,
                continues,
            });
        }
        Ok(())
    }

    /// `[CLS] text [SEP]`.
    pub(super) fn single(&self, ids: &[u32]) -> TokenRow {
        TokenRow {
            ids: [&[self.start], ids, &[self.separator]].concat(),
            types: Vec::new(),
        }
    }

    /// `[CLS] first [SEP] second [SEP]` with types 0 and 1; for RoBERTa `<s> first </s></s> second </s>` without types.
    pub(super) fn pair(&self, first: &[u32], second: &[u32]) -> TokenRow {
        let (start, end): (&[u32], &[u32]) = (&[self.start], &[self.separator]);
        if self.family == Family::Roberta {
            return TokenRow {
                ids: [start, first, end, end, second, end].concat(),
                types: Vec::new(),
            };
        }
        let ids = [start, first, end, second, end].concat();
        let mut types = vec![0; first.len() + 2];
        types.resize(ids.len(), 1);
        TokenRow { ids, types }
    }

    /// Special tokens around a pair, and those before its second text beside the first text.
    pub(super) fn around_pair(&self) -> (usize, usize) {
        match self.family {
            Family::Roberta => (4, 3),
            Family::Bert | Family::MegatronBert => (3, 2),
        }
    }
}

/// For each id whether its token continues a word; `None` for a vocabulary without `##`.
fn continuing(tokenizer: &Tokenizer) -> Option<Vec<bool>> {
    let continues = |id| {
        let token = tokenizer.id_to_token(id);
        token.is_some_and(|token| token.len() > 2 && token.starts_with("##"))
    };
    let all: Vec<bool> = (0..tokenizer.vocab_size() as u32).map(continues).collect();
    all.contains(&true).then_some(all)
}

/// A text in parts that the tokenizer takes at once, cut before white space where there is some. A text up to its limit
/// is one part.
fn parts(text: &str) -> Vec<Range<usize>> {
    parts_of(text, DEFAULT_MAX_TEXT_BYTES)
}

fn parts_of(text: &str, limit: usize) -> Vec<Range<usize>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    while text.len() - start > limit {
        let end = text.floor_char_boundary(start + limit);
        let space = text[start..end].rfind(char::is_whitespace);
        let end = match space {
            Some(at) if at > 0 => start + at,
            _ => end,
        };
        parts.push(start..end);
        start = end;
    }
    parts.push(start..text.len());
    parts
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

/// Whether the word of the character before `at` goes on at `at`: letters, digits and signs are words of their own, as
/// in the patterns of byte-level vocabularies.
fn same_word(text: &str, at: usize) -> bool {
    let (before, after) = (text[..at].chars().next_back(), text[at..].chars().next());
    let kind = |c: char| (c.is_whitespace(), c.is_alphabetic(), c.is_numeric());
    match (before, after) {
        (Some(before), Some(after)) => !before.is_whitespace() && kind(before) == kind(after),
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

    #[test]
    fn parts_hold_all_of_a_text_and_end_before_white_space() {
        let text = "one two three \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} x";
        for limit in [3, 5, 8, 100] {
            let parts = parts_of(text, limit);
            let joined: String = parts.iter().map(|part| &text[part.clone()]).collect();
            assert_eq!(joined, text);
            assert!(parts.iter().all(|part| part.len() <= limit));
        }
        let parts = parts_of(text, 8);
        assert_eq!(&text[parts[0].clone()], "one two");
        assert_eq!(parts_of("", 8), vec![Range { start: 0, end: 0 }]);
    }
}
