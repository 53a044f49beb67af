//! The options of a call, and texts as rows of token ids.

use std::ops::Range;

use clinical_facade::{CallOptions, LongText, TextTooLong, call_options};
use clinical_generate::Generation;

use super::ClinicalGpt2;
use crate::{Error, Result};

/// Texts that are computed at once, unless the caller says otherwise: enough to keep a CPU busy, few enough to stay
/// small.
const BATCH: usize = 8;

/// A text that is refused is counted up to this many times the limit.
const COUNTED: usize = 4;

/// How a text is read, and how one is written. The default reads a text as it is, refuses one that is too long, and
/// writes greedily.
///
/// A text and the new tokens that are asked for must fit into the model's positions together. `with_max_tokens` sets a
/// smaller limit for the text. With [`LongText::Windows`] `generate` gives the text with the highest mean log-probability
/// per token, `classify` the mean of the logits, weighted by tokens, and `answer_span` the best span; `score` refuses.
///
/// ```
/// use clinical_gpt2::{Generation, Gpt2Options, LongText};
///
/// let options = Gpt2Options::new()
///     .with_generation(Generation::beam(3).with_max_new_tokens(32))
///     .with_long_text(LongText::CutStart);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Gpt2Options {
    generation: Option<Generation>,
    pub(super) call: CallOptions,
}

call_options!(Gpt2Options);

impl Gpt2Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How tokens are chosen. Default: greedy, at most 256 new tokens.
    #[must_use]
    pub fn with_generation(mut self, generation: Generation) -> Self {
        self.generation = Some(generation);
        self
    }

    pub(super) fn generation(&self) -> Generation {
        let mut generation = self.generation.clone().unwrap_or_else(Generation::greedy);
        if generation.cancel.is_none() {
            generation.cancel.clone_from(&self.call.cancel);
        }
        generation
    }

    pub(super) fn batch(&self) -> usize {
        self.call.batch.unwrap_or(BATCH).max(1)
    }

    pub(super) fn long_text(&self) -> LongText {
        self.call.long_text.unwrap_or_default()
    }
}

/// A text, or a part of one, as the model reads it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) ids: Vec<u32>,
    /// Bytes of the text.
    pub(super) range: Range<usize>,
}

impl ClinicalGpt2 {
    /// The ids of a text as [`classify`](Self::classify) reads it, cut as the options say: for callers who train.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::NoText`], [`Error::NothingLeft`], [`Error::NoWindows`], [`Error::Cancelled`],
    /// [`Error::Tokenizer`].
    pub fn text_row(&self, text: &str, options: &Gpt2Options) -> Result<Vec<u32>> {
        Ok(self.part(text, options, 0, "text_row")?.ids)
    }

    /// The tokens that a row may have beside `reserved` others.
    pub(super) fn room(&self, options: &Gpt2Options, reserved: usize) -> usize {
        let own = self.max_tokens().saturating_sub(reserved);
        options.call.max_tokens.map_or(own, |limit| limit.min(own))
    }

    /// A text as the model reads it, with room for `reserved` more tokens: one part, or one for each window.
    pub(super) fn parts(
        &self,
        text: &str,
        options: &Gpt2Options,
        reserved: usize,
    ) -> Result<Vec<Part>> {
        let room = self.room(options, reserved);
        match options.long_text() {
            LongText::Windows { overlap } if room > 0 => {
                if options.call.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let start = self.tokenizer.encode_start(text, true, room)?;
                match start.len() {
                    0 => Err(Error::NoText),
                    length if length <= room => Ok(vec![Part {
                        ids: start.into_ids(),
                        range: 0..text.len(),
                    }]),
                    _ => self.windows(text, room, overlap),
                }
            }
            LongText::Windows { .. } => Err(Error::NothingLeft),
            _ => Ok(vec![self.part(text, options, reserved, "")?]),
        }
    }

    /// A text as the model reads it at once; `call` is the name of the call.
    pub(super) fn part(
        &self,
        text: &str,
        options: &Gpt2Options,
        reserved: usize,
        call: &'static str,
    ) -> Result<Part> {
        if options.call.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let room = self.room(options, reserved);
        let enough = match options.long_text() {
            LongText::Error => room.saturating_mul(COUNTED),
            _ => room,
        };
        let start = self.tokenizer.encode_start(text, true, enough.max(1))?;
        if start.is_empty() {
            return Err(Error::NoText);
        }
        if start.len() <= room {
            return Ok(Part {
                ids: start.into_ids(),
                range: 0..text.len(),
            });
        }
        match options.long_text() {
            LongText::CutStart | LongText::CutEnd if room == 0 => Err(Error::NothingLeft),
            LongText::CutEnd => Ok(Part {
                ids: start.ids()[..room].to_vec(),
                range: 0..start.range(room - 1).map_or(0, |range| range.end),
            }),
            LongText::CutStart => {
                let end = self.tokenizer.encode_end(text, true, room)?;
                let first = end.len().saturating_sub(room);
                Ok(Part {
                    ids: end.ids()[first..].to_vec(),
                    range: end.range(first).map_or(0, |range| range.start)..text.len(),
                })
            }
            LongText::Windows { .. } => Err(Error::NoWindows { call }),
            _ => Err(TextTooLong::new("text", start.len(), room)
                .with_reserved(reserved)
                .into()),
        }
    }

    fn windows(&self, text: &str, room: usize, overlap: usize) -> Result<Vec<Part>> {
        let count = |text: &str| -> Result<usize> { Ok(self.tokenizer.count_up_to(text, room)?) };
        let mut parts = Vec::new();
        for window in clinical_notes::windows(text, room, overlap, count)? {
            let ids = self.tokenizer.encode(&text[window.range.clone()], true)?;
            if !ids.is_empty() {
                parts.push(Part {
                    ids: ids.into_ids(),
                    range: window.range,
                });
            }
        }
        match parts.is_empty() {
            true => Err(Error::NothingLeft),
            false => Ok(parts),
        }
    }
}
