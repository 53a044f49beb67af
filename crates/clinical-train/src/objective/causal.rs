//! Decoder-only rows: packed notes, and instructions with answers.

use clinical_nn::IGNORED;
use serde::{Deserialize, Serialize};

use super::Pieces;
use crate::DataError;

/// A row for a decoder-only model. All three are of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CausalExample {
    /// What the model reads.
    pub ids: Vec<u32>,
    /// The token to learn at each position, not shifted (the loss does that: the first label has nothing before it and
    /// is not used), or [`IGNORED`].
    pub labels: Vec<i64>,
    /// Whether later tokens see this one.
    pub attention_mask: Vec<bool>,
    /// Tokens that the limit cut off at the end.
    pub cut: usize,
}

impl CausalExample {
    /// How many tokens carry loss.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.labels
            .iter()
            .skip(1)
            .filter(|&&label| label >= 0)
            .count()
    }

    /// The row from the first token on that later tokens see, which is what a model is to read: rotary positions are
    /// relative, so the rest gives the same without what is hidden before it. A start token inside a text stays.
    ///
    /// The first label of the new row has nothing before it that is seen, and is not used.
    #[must_use]
    pub fn without_hidden_start(mut self) -> Self {
        let hidden = self.attention_mask.iter().take_while(|seen| !**seen);
        let hidden = hidden.count();
        self.ids.drain(..hidden);
        self.labels.drain(..hidden);
        self.attention_mask.drain(..hidden);
        self
    }
}

/// Rows of one length from a stream of notes ([`packed`]).
#[derive(Debug, Clone)]
pub struct Packed<I> {
    pieces: Pieces<I>,
    bos: u32,
    eos: u32,
    published: bool,
    empty: u64,
}

/// Packs notes into rows of `length` tokens for pretraining: labels are the inputs, notes see their neighbours in the
/// row, and what does not fill the last row is dropped.
///
/// | | stream |
/// |---|---|
/// | clean (`published: false`, what new training should use) | `BOS note EOS BOS note EOS ...` |
/// | `published: true` (Asclepius, `tokenize_data.py`) | `BOS BOS note EOS BOS BOS note EOS BOS ...`: the tokenizer's start token comes on top of the script's |
///
/// A note may come with or without one start token before it and one end token after it: they are put where the
/// stream has them. A note without text adds nothing to the clean stream ([`Packed::empty_notes`] counts them); the
/// published stream keeps its special tokens.
///
/// ```
/// use std::convert::Infallible;
/// use clinical_train::objective::causal::packed;
///
/// let notes = || [vec![1, 10, 11], vec![1, 12]].map(Ok::<_, Infallible>);
/// let rows = |published| -> Result<Vec<Vec<u32>>, Box<dyn std::error::Error>> {
///     packed(notes(), 1, 2, 3, published)?.map(|row| Ok(row?.ids)).collect()
/// };
/// assert_eq!(rows(false)?, [[1, 10, 11], [2, 1, 12]]);
/// assert_eq!(rows(true)?, [[1, 1, 10], [11, 2, 1], [1, 12, 2]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`DataError::TooFewTokens`] for rows of fewer than 2 tokens. The rows give the errors of `notes`.
pub fn packed<I, E>(
    notes: I,
    bos: u32,
    eos: u32,
    length: usize,
    published: bool,
) -> Result<Packed<I::IntoIter>, DataError>
where
    I: IntoIterator<Item = Result<Vec<u32>, E>>,
{
    let mut pieces = Pieces::new(notes, length)?;
    if published {
        pieces.push(bos);
    }
    Ok(Packed {
        pieces,
        bos,
        eos,
        published,
        empty: 0,
    })
}

impl<I, E> Packed<I>
where
    I: Iterator<Item = Result<Vec<u32>, E>>,
{
    /// The notes that were read so far, empty ones among them.
    #[must_use]
    pub fn notes(&self) -> u64 {
        self.pieces.notes()
    }

    /// The notes without text so far.
    #[must_use]
    pub fn empty_notes(&self) -> u64 {
        self.empty
    }

    /// The tokens that were dropped at the end.
    #[must_use]
    pub fn dropped_tokens(&self) -> u64 {
        self.pieces.dropped_tokens()
    }
}

impl<I, E> Iterator for Packed<I>
where
    I: Iterator<Item = Result<Vec<u32>, E>>,
{
    type Item = Result<CausalExample, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self {
            pieces,
            bos,
            eos,
            published,
            empty,
        } = self;
        let row = pieces.next_with(|stream, note| {
            let text = note.strip_prefix(&[*bos]).unwrap_or(&note);
            let text = text.strip_suffix(&[*eos]).unwrap_or(text);
            *empty += u64::from(text.is_empty());
            if text.is_empty() && !*published {
                return;
            }
            stream.push(*bos);
            stream.extend(text);
            stream.push(*eos);
            if *published {
                stream.push(*bos);
            }
        })?;
        Some(row.map(|ids| CausalExample {
            labels: ids.iter().map(|&id| i64::from(id)).collect(),
            attention_mask: vec![true; ids.len()],
            ids,
            cut: 0,
        }))
    }
}

/// Which tokens of an instruction carry loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Masking {
    /// The answer and its end token; every token is seen.
    #[default]
    Corrected,
    /// As Asclepius was trained (`instruction_ft.py`), where the padding token is the start token. The prompt's tokens
    /// are counted without it, so the last token of the prompt carries loss as well, and the start token is hidden
    /// from attention (positions still count it), although it is seen when the model answers.
    Published,
}

/// A row of instruction tuning: `source` is the prompt, `full` the prompt with its answer and end token, both cut after
/// `limit` tokens (Asclepius: 2048; Llama 2: 4096; Llama 3 and Mistral: 8192). `pad` is the tokenizer's padding token
/// and matters for [`Masking::Published`] only.
///
/// ```
/// use clinical_train::objective::causal::{Masking, instruction};
///
/// let (source, full) = ([1, 10, 11, 12], [1, 10, 11, 12, 20, 2]);
/// let row = instruction(&source, &full, 1, 2048, Masking::Corrected)?;
/// assert_eq!(row.labels, [-100, -100, -100, -100, 20, 2]);
/// let row = instruction(&source, &full, 1, 2048, Masking::Published)?;
/// assert_eq!(row.labels, [-100, -100, -100, 12, 20, 2]);
/// assert_eq!(row.attention_mask, [false, true, true, true, true, true]);
/// # Ok::<(), clinical_train::DataError>(())
/// ```
///
/// # Errors
///
/// [`DataError::NoTarget`] when no token carries loss: the prompt fills the row, or there is no answer. With
/// [`Masking::Published`] a prompt that is too long keeps its last token as a target, as it did upstream.
/// [`DataError::NotAPrefix`] when `full` does not begin with `source` (only [`Masking::Corrected`] looks), and
/// [`DataError::TooFewTokens`] for a limit below 2.
pub fn instruction(
    source: &[u32],
    full: &[u32],
    pad: u32,
    limit: usize,
    masking: Masking,
) -> Result<CausalExample, DataError> {
    if limit < 2 {
        return Err(DataError::TooFewTokens {
            setting: "the limit of a row",
            tokens: limit,
        });
    }
    let ids = &full[..full.len().min(limit)];
    let prompt = &source[..source.len().min(limit)];
    let masked = match masking {
        Masking::Corrected => {
            let differs = |at: &usize| ids.get(*at) != prompt.get(*at);
            if let Some(at) = (0..prompt.len()).find(differs) {
                return Err(DataError::NotAPrefix { at });
            }
            prompt.len()
        }
        Masking::Published => prompt.iter().filter(|&&id| id != pad).count(),
    };
    let label = |(at, &id): (usize, &u32)| if at < masked { IGNORED } else { i64::from(id) };
    let example = CausalExample {
        labels: ids.iter().enumerate().map(label).collect(),
        attention_mask: ids
            .iter()
            .map(|&id| masking == Masking::Corrected || id != pad)
            .collect(),
        ids: ids.to_vec(),
        cut: full.len() - ids.len(),
    };
    if example.targets() == 0 {
        return Err(DataError::NoTarget {
            prompt: source.len(),
            limit: ids.len(),
        });
    }
    Ok(example)
}
