//! Texts of more tokens than the model reads at once: an error, a cut, or windows.

use std::ops::Range;

use clinical_facade::{CallOptions, LongText, TextTooLong};

use super::ClinicalBert;
use super::text::{Text, Token};
use crate::{Error, Result, TokenRow};

/// A text that is refused is counted up to this many times what the model reads.
const COUNTED: usize = 4;
/// Most tokens that windows of labelled texts repeat unless the caller says otherwise: about three sentences.
const OVERLAP: usize = 64;

/// A part of a text that the model reads at once, and the bytes that it decides about.
pub(super) struct Window {
    pub(super) tokens: Vec<Token>,
    pub(super) keep: Range<usize>,
}

impl ClinicalBert {
    /// Tokens of a row, special ones included.
    pub(super) fn limit(&self, call: &CallOptions) -> usize {
        let asked = call.max_tokens.unwrap_or(self.max_tokens());
        asked.min(self.encoder().max_tokens)
    }

    /// Tokens of a text that a row has room for: at least one.
    pub(super) fn room(&self, call: &CallOptions) -> Result<usize> {
        let limit = self.limit(call);
        match limit.checked_sub(Text::AROUND) {
            None | Some(0) => match call.long_text {
                Some(LongText::CutStart | LongText::CutEnd) => Err(Error::NothingLeft),
                _ => Err(Error::NoRoom { limit }),
            },
            Some(room) => Ok(room),
        }
    }

    /// The rows of one text: one, or several if it is read in windows.
    pub(super) fn rows(
        &self,
        text: &str,
        call: &CallOptions,
        default: LongText,
    ) -> Result<Vec<TokenRow>> {
        let room = self.room(call)?;
        let limits = (room, self.limit(call));
        match call.long_text.unwrap_or(default) {
            LongText::Windows { overlap } => {
                let ids = self.text.ids_up_to(text, room)?;
                if ids.len() <= room {
                    return Ok(vec![self.text.single(&ids)]);
                }
                self.window_rows(text, room, overlap, |ids| self.text.single(ids))
            }
            long => {
                let ids = self.fitting(text, "text", limits, long)?;
                Ok(vec![self.text.single(&ids)])
            }
        }
    }

    /// The rows of a pair. The first text is read whole; the second is cut, or read in windows.
    pub(super) fn pair_rows(
        &self,
        first: &str,
        second: &str,
        call: &CallOptions,
    ) -> Result<Vec<TokenRow>> {
        let limit = self.limit(call);
        let first = self.text.ids_up_to(first, limit)?;
        let taken = first.len() + self.text.around_pair().0;
        if taken >= limit {
            let tokens = taken + 1;
            return Err(TextTooLong::new("first text of a pair", tokens, limit).into());
        }
        let room = limit - taken;
        let row = |ids: &[u32]| self.text.pair(&first, ids);
        match call.long_text.unwrap_or_default() {
            LongText::Windows { overlap } => {
                let ids = self.text.ids_up_to(second, room)?;
                if ids.len() <= room {
                    return Ok(vec![row(&ids)]);
                }
                self.window_rows(second, room, overlap, row)
            }
            long => {
                let ids = self.fitting(second, "pair of texts", (room, limit), long)?;
                Ok(vec![row(&ids)])
            }
        }
    }

    /// The ids of a text, cut to `room` if `long` says so. `limit` is that of the whole row, for the error.
    fn fitting(
        &self,
        text: &str,
        name: &'static str,
        (room, limit): (usize, usize),
        long: LongText,
    ) -> Result<Vec<u32>> {
        let mut ids = match long {
            LongText::CutEnd => self.text.ids_up_to(text, room)?,
            LongText::CutStart => self.text.last_ids(text, room)?,
            _ => self.text.ids_up_to(text, room.saturating_mul(COUNTED))?,
        };
        if ids.len() <= room {
            return Ok(ids);
        }
        match long {
            LongText::CutEnd => ids.truncate(room),
            LongText::CutStart => {
                ids.drain(..ids.len() - room);
            }
            _ => {
                let tokens = ids.len() + limit - room;
                return Err(TextTooLong::new(name, tokens, limit).into());
            }
        }
        self.something(&ids)?;
        Ok(ids)
    }

    /// That what a cut has left is more than white space.
    fn something(&self, ids: &[u32]) -> Result<()> {
        let left = self.text.tokenizer.decode(ids, false)?;
        match left.trim().is_empty() {
            true => Err(Error::NothingLeft),
            false => Ok(()),
        }
    }

    /// A row for each window of a text that has tokens.
    fn window_rows(
        &self,
        text: &str,
        room: usize,
        overlap: usize,
        row: impl Fn(&[u32]) -> TokenRow,
    ) -> Result<Vec<TokenRow>> {
        let mut rows = Vec::new();
        for window in self.windows(text, room, overlap)? {
            let ids = self.text.ids(&text[window])?;
            // A window of white space alone says nothing.
            if !ids.is_empty() {
                rows.push(row(&ids));
            }
        }
        if rows.is_empty() {
            rows.push(row(&[]));
        }
        Ok(rows)
    }

    /// Windows of a text with the positions of their tokens. Each token of an overlap belongs to the window that has
    /// more text around it.
    pub(super) fn token_windows(
        &self,
        text: &str,
        call: &CallOptions,
        default: Option<LongText>,
    ) -> Result<Vec<Window>> {
        let room = self.room(call)?;
        let mut tokens = self.text.tokens(text, 0)?;
        if tokens.len() > room {
            match call.long_text.or(default) {
                None => return self.labelled_windows(text, room, OVERLAP.min(room / 4)),
                Some(LongText::Windows { overlap }) => {
                    return self.labelled_windows(text, room, overlap);
                }
                Some(LongText::CutEnd) => tokens.truncate(room),
                Some(LongText::CutStart) => {
                    tokens.drain(..tokens.len() - room);
                }
                Some(_) => {
                    let tokens = tokens.len() + Text::AROUND;
                    return Err(TextTooLong::new("text", tokens, self.limit(call)).into());
                }
            }
            let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
            self.something(&ids)?;
        }
        let keep = 0..text.len();
        Ok(vec![Window { tokens, keep }])
    }

    fn labelled_windows(&self, text: &str, room: usize, overlap: usize) -> Result<Vec<Window>> {
        let mut windows: Vec<Window> = Vec::new();
        for range in self.windows(text, room, overlap)? {
            let tokens = self.text.tokens(&text[range.clone()], range.start)?;
            let mut keep = range.clone();
            if let Some(before) = windows.last_mut() {
                let cut = middle(&tokens, before.keep.end);
                before.keep.end = cut;
                keep.start = cut;
            }
            windows.push(Window { tokens, keep });
        }
        Ok(windows)
    }

    /// The windows of a text by sections and sentences, each of at most `room` tokens.
    fn windows(&self, text: &str, room: usize, overlap: usize) -> Result<Vec<Range<usize>>> {
        if overlap >= room.div_ceil(2) {
            return Err(Error::Overlap {
                overlap,
                window: room,
            });
        }
        let windows = clinical_notes::windows(text, room, overlap, |text| {
            self.text.ids(text).map(|ids| ids.len())
        })?;
        Ok(windows.into_iter().map(|window| window.range).collect())
    }
}

/// Where a window takes over from the one before, which ends at `end`: at the first word in the second half of the
/// tokens that both have.
fn middle(tokens: &[Token], end: usize) -> usize {
    let shared = tokens.partition_point(|token| token.bytes.start < end);
    tokens[shared / 2..shared]
        .iter()
        .find(|token| !token.continues)
        .map_or(end, |token| token.bytes.start)
}
