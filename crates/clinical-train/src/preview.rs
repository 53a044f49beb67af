//! What a model learns of a row, as text.

use std::error::Error as StdError;
use std::fmt;

use serde::Serialize;

use crate::DataError;
use crate::objective::causal::CausalExample;
use crate::objective::seq2seq::Seq2SeqExample;

/// Why a text could not be decoded.
type Cause = Box<dyn StdError + Send + Sync>;

/// Tokens in a row that all carry loss, or none of which does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Segment {
    /// The tokens decoded.
    pub text: String,
    /// How many tokens.
    pub tokens: usize,
    /// Whether they carry loss.
    pub loss: bool,
}

/// A row decoded, with what carries loss.
///
/// Displayed, the segments that carry loss stand between `«` and `»`, the target of an encoder-decoder row in a line of
/// its own:
///
/// ```
/// use std::convert::Infallible;
/// use clinical_train::RowPreview;
///
/// let words = ["<s>", " Why", " admitted", "?", " Fever", "</s>"];
/// let decode = |ids: &[u32]| Ok::<_, Infallible>(ids.iter().map(|&id| words[id as usize]).collect());
/// let preview = RowPreview::decoder_only(&[0, 1, 2, 3, 4, 5], &[-100, -100, -100, -100, 4, 5], decode)?;
/// assert_eq!(preview.to_string(), "6 tokens, 2 with loss\n<s> Why admitted?« Fever</s>»");
/// # Ok::<(), clinical_train::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RowPreview {
    /// What a decoder-only model or an encoder reads.
    pub input: Vec<Segment>,
    /// What a decoder learns after it; `None` for a decoder-only row.
    pub target: Option<Vec<Segment>>,
}

impl RowPreview {
    /// A decoder-only row: labels stand beside the ids, not shifted. The first token never carries loss, for nothing
    /// stands before it.
    ///
    /// # Errors
    ///
    /// [`DataError::LabelCount`], [`DataError::OtherLabel`] for a label that is another token than the one beside it,
    /// [`DataError::Decode`] with the error of `decode`.
    pub fn decoder_only<E: Into<Cause>>(
        ids: &[u32],
        labels: &[i64],
        decode: impl FnMut(&[u32]) -> Result<String, E>,
    ) -> Result<Self, DataError> {
        if ids.len() != labels.len() {
            return Err(DataError::LabelCount {
                ids: ids.len(),
                labels: labels.len(),
            });
        }
        for (at, (&id, &label)) in ids.iter().zip(labels).enumerate() {
            if label >= 0 && label != i64::from(id) {
                return Err(DataError::OtherLabel { at, label, id });
            }
        }
        let carries = |at: usize| at > 0 && labels[at] >= 0;
        Ok(Self {
            input: segments(ids, carries, decode)?,
            target: None,
        })
    }

    /// A row of an encoder: what `carries` says of a position, and the names of the labels of the whole row.
    ///
    /// # Errors
    ///
    /// [`DataError::Decode`].
    pub fn encoder<E: Into<Cause>>(
        ids: &[u32],
        carries: impl Fn(usize) -> bool,
        labels: &[&str],
        decode: impl FnMut(&[u32]) -> Result<String, E>,
    ) -> Result<Self, DataError> {
        let label = |label: &&str| Segment {
            text: (*label).to_owned(),
            tokens: 1,
            loss: true,
        };
        Ok(Self {
            input: segments(ids, carries, decode)?,
            target: (!labels.is_empty()).then(|| labels.iter().map(label).collect()),
        })
    }

    /// A row of an encoder-decoder model. Ignored labels are left out, as they stand for padding.
    ///
    /// # Errors
    ///
    /// [`DataError::BadLabel`] for a label that does not fit a token id, [`DataError::Decode`].
    pub fn encoder_decoder<E: Into<Cause>>(
        ids: &[u32],
        labels: &[i64],
        decode: impl FnMut(&[u32]) -> Result<String, E>,
    ) -> Result<Self, DataError> {
        let mut learned = Vec::with_capacity(labels.len());
        for (at, &label) in labels.iter().enumerate().filter(|(_, label)| **label >= 0) {
            let id = u32::try_from(label).map_err(|_| DataError::BadLabel { at, label })?;
            learned.push(id);
        }
        pair(ids, &learned, decode)
    }

    /// A row of [`objective::causal`](crate::objective::causal).
    ///
    /// # Errors
    ///
    /// Those of [`Self::decoder_only`].
    pub fn of_row<E: Into<Cause>>(
        example: &CausalExample,
        decode: impl FnMut(&[u32]) -> Result<String, E>,
    ) -> Result<Self, DataError> {
        Self::decoder_only(&example.ids, &example.labels, decode)
    }

    /// A pair of [`objective::seq2seq`](crate::objective::seq2seq).
    ///
    /// # Errors
    ///
    /// [`DataError::Decode`].
    pub fn of_pair<E: Into<Cause>>(
        example: &Seq2SeqExample,
        decode: impl FnMut(&[u32]) -> Result<String, E>,
    ) -> Result<Self, DataError> {
        pair(&example.input_ids, &example.labels, decode)
    }

    /// How many tokens the row has, those of the target among them.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.all().map(|segment| segment.tokens).sum()
    }

    /// How many tokens carry loss.
    #[must_use]
    pub fn targets(&self) -> usize {
        let carry = self.all().filter(|segment| segment.loss);
        carry.map(|segment| segment.tokens).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Segment> {
        self.input.iter().chain(self.target.iter().flatten())
    }
}

impl fmt::Display for RowPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tokens, {} with loss", self.tokens(), self.targets())?;
        for segment in &self.input {
            write!(f, "{segment}")?;
        }
        for (at, segment) in self.target.iter().flatten().enumerate() {
            let line = if at == 0 { "\n" } else { "" };
            write!(f, "{line}{segment}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.loss {
            write!(f, "«{}»", self.text)
        } else {
            f.write_str(&self.text)
        }
    }
}

fn pair<E: Into<Cause>>(
    ids: &[u32],
    labels: &[u32],
    mut decode: impl FnMut(&[u32]) -> Result<String, E>,
) -> Result<RowPreview, DataError> {
    Ok(RowPreview {
        input: segments(ids, |_| false, &mut decode)?,
        target: Some(segments(labels, |_| true, decode)?),
    })
}

/// Runs of tokens that `loss` says the same of. A run's text is what decoding adds to the text before it, so blanks at
/// its beginning stay; where a character is spread over the border, the run is decoded alone.
fn segments<E: Into<Cause>>(
    ids: &[u32],
    loss: impl Fn(usize) -> bool,
    mut decode: impl FnMut(&[u32]) -> Result<String, E>,
) -> Result<Vec<Segment>, DataError> {
    let mut decode = |ids: &[u32]| decode(ids).map_err(|error| DataError::Decode(error.into()));
    let mut found = Vec::new();
    let mut before = String::new();
    let mut start = 0;
    while start < ids.len() {
        let same = (start..ids.len()).take_while(|&at| loss(at) == loss(start));
        let end = start + same.count();
        let until = decode(&ids[..end])?;
        let text = match until.strip_prefix(&before) {
            Some(text) => text.to_owned(),
            None => decode(&ids[start..end])?,
        };
        found.push(Segment {
            text,
            tokens: end - start,
            loss: loss(start),
        });
        before = until;
        start = end;
    }
    Ok(found)
}
