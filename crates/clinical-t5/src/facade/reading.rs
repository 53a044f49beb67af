//! Texts as rows of token ids.

use std::ops::Range;

use clinical_facade::{LongText, TextTooLong};
use clinical_tokenizer::{Encoding, Tokenizer};

use super::{ClinicalT5, T5Options};
use crate::{Error, Result};

/// A text that is refused is counted up to this many times the limit.
const COUNTED: usize = 4;

/// A part of a text, as the encoder reads it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) ids: Vec<u32>,
    /// Bytes of the text as it was given.
    pub(super) range: Range<usize>,
}

/// What the tokenizer puts around a text: in every published T5 nothing before it and an end token after it.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    before: Vec<u32>,
    after: Vec<u32>,
}

impl Around {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        // A text of one letter tells what stands before it from what stands after it.
        let Ok(encoding) = tokenizer.encode("a", true) else {
            return Self::default();
        };
        let (special, ids) = (encoding.special(), encoding.ids());
        let before = special.iter().take_while(|&&special| special).count();
        let (before, rest) = ids.split_at(before);
        let after = special.iter().rev().take_while(|&&special| special).count();
        Self {
            before: before.to_vec(),
            after: rest[rest.len() - after.min(rest.len())..].to_vec(),
        }
    }

    fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    fn wrap(&self, ids: &[u32]) -> Vec<u32> {
        [&self.before, ids, &self.after].concat()
    }
}

/// A text, and whether it fits.
enum Fit {
    Whole(Part),
    Long {
        /// The first tokens, more than `room`.
        start: Encoding,
        /// Tokens of the text that there is room for.
        room: usize,
    },
}

impl ClinicalT5 {
    /// A text as the encoder reads it: one part, or one for each window, in the order of the text.
    pub(super) fn parts(&self, text: &str, options: &T5Options) -> Result<Vec<Part>> {
        converted(text, options, |text| {
            match (self.fit(text, options)?, options.long_text()) {
                (Fit::Whole(part), _) => Ok(vec![part]),
                (Fit::Long { room, .. }, LongText::Windows { overlap }) => {
                    self.windows(text, room, overlap)
                }
                (Fit::Long { start, room }, policy) => {
                    Ok(vec![self.cut(text, policy, &start, room)?])
                }
            }
        })
    }

    /// A text as the encoder reads it at once, for calls that do not put windows together: `call` is their name.
    pub(super) fn part(&self, text: &str, options: &T5Options, call: &'static str) -> Result<Part> {
        let parts = converted(text, options, |text| {
            match (self.fit(text, options)?, options.long_text()) {
                (Fit::Whole(part), _) => Ok(vec![part]),
                (Fit::Long { .. }, LongText::Windows { .. }) => Err(Error::NoWindows { call }),
                (Fit::Long { start, room }, policy) => {
                    Ok(vec![self.cut(text, policy, &start, room)?])
                }
            }
        })?;
        parts.into_iter().next().ok_or(Error::NothingLeft)
    }

    fn fit(&self, text: &str, options: &T5Options) -> Result<Fit> {
        let limit = options.call.max_tokens.unwrap_or(self.max_tokens());
        let room = limit.saturating_sub(self.around.len());
        let enough = match options.long_text() {
            LongText::Error => limit.saturating_mul(COUNTED),
            _ => room,
        };
        let start = self.tokenizer.encode_start(text, false, enough)?;
        if start.len() > room {
            return Ok(Fit::Long { start, room });
        }
        Ok(Fit::Whole(Part {
            ids: self.around.wrap(start.ids()),
            range: 0..text.len(),
        }))
    }

    /// A text of which an end is left out, as `policy` says. What stands around a text stays, as where `transformers`
    /// truncates.
    fn cut(&self, text: &str, policy: LongText, start: &Encoding, room: usize) -> Result<Part> {
        let part = |ids: &[u32], range| Part {
            ids: self.around.wrap(ids),
            range,
        };
        match policy {
            LongText::CutStart | LongText::CutEnd if room == 0 => Err(Error::NothingLeft),
            LongText::CutEnd => {
                let end = start.range(room - 1).map_or(0, |range| range.end);
                Ok(part(&start.ids()[..room], 0..end))
            }
            LongText::CutStart => {
                let end = self.tokenizer.encode_end(text, false, room)?;
                let first = end.len() - room.min(end.len());
                let start = end.range(first).map_or(0, |range| range.start);
                Ok(part(&end.ids()[first..], start..text.len()))
            }
            _ => {
                let around = self.around.len();
                let long = TextTooLong::new("text", start.len() + around, room + around);
                Err(long.into())
            }
        }
    }

    fn windows(&self, text: &str, room: usize, overlap: usize) -> Result<Vec<Part>> {
        let around = self.around.len();
        let count = |text: &str| -> Result<usize> {
            let tokens = self.tokenizer.count_up_to(text, room + around)?;
            Ok(tokens.saturating_sub(around))
        };
        let mut parts = Vec::new();
        for window in clinical_notes::windows(text, room, overlap, count)? {
            let encoding = self.tokenizer.encode(&text[window.range.clone()], false)?;
            // A window of white space alone says nothing.
            if !encoding.is_empty() {
                parts.push(Part {
                    ids: self.around.wrap(encoding.ids()),
                    range: window.range,
                });
            }
        }
        Ok(parts)
    }
}

/// Reads a text with its de-identification tags converted, if the options say so. Ranges come back as those of the text
/// as it was given.
fn converted(
    text: &str,
    options: &T5Options,
    read: impl FnOnce(&str) -> Result<Vec<Part>>,
) -> Result<Vec<Part>> {
    let Some(normalizer) = options.deid else {
        return read(text);
    };
    let converted = normalizer.normalize(text)?;
    let mut parts = read(&converted.text)?;
    for part in &mut parts {
        let range = converted.original_range(part.range.clone());
        part.range = range.unwrap_or(0..text.len());
    }
    Ok(parts)
}
