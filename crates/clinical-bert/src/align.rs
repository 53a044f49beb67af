//! From labels of words to labels of the pieces that a tokenizer cuts words into.

use clinical_nn::IGNORED;

use crate::{Error, Result};

/// What the later pieces of a word learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PieceLabels {
    /// Nothing: the first piece of a word has its label, the others are [`IGNORED`]. It fits
    /// [`Aggregation::First`](crate::Aggregation::First), which reads the first piece alone.
    #[default]
    First,
    /// The label of their word.
    All,
    /// This label: `X` of the published `run_ner.py`.
    Rest(i64),
}

/// One label for each piece of a row. `words` says of which word each piece is (`None` for special tokens, which are
/// [`IGNORED`]), as [`ClinicalBert::encode_words`](crate::ClinicalBert::encode_words) gives it; `labels` has one label
/// for each word.
///
/// ```
/// use clinical_bert::{IGNORED, PieceLabels, align_labels};
///
/// // [CLS] no ab ##norm ##ality [SEP]
/// let words = [None, Some(0), Some(1), Some(1), Some(1), None];
/// let labels = align_labels(&words, &[0, 3], PieceLabels::First)?;
/// assert_eq!(labels, [IGNORED, 0, 3, IGNORED, IGNORED, IGNORED]);
/// # Ok::<(), clinical_bert::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::WordLabels`] for a word without a label.
pub fn align_labels(
    words: &[Option<usize>],
    labels: &[i64],
    pieces: PieceLabels,
) -> Result<Vec<i64>> {
    let mut before = None;
    let of = |&word: &Option<usize>| {
        let Some(index) = word else {
            before = None;
            return Ok(IGNORED);
        };
        let label = labels.get(index).copied();
        let label = label.ok_or(Error::WordLabels {
            word: index,
            labels: labels.len(),
        })?;
        let is_first = before != word;
        before = word;
        Ok(match pieces {
            PieceLabels::All => label,
            _ if is_first => label,
            PieceLabels::First => IGNORED,
            PieceLabels::Rest(label) => label,
        })
    };
    words.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_pieces_follow_the_rule() {
        let words = [None, Some(0), Some(0), Some(1), Some(2), Some(2), None];
        let with = |pieces| align_labels(&words, &[5, 6, 7], pieces).unwrap();
        let no = IGNORED;
        assert_eq!(with(PieceLabels::First), [no, 5, no, 6, 7, no, no]);
        assert_eq!(with(PieceLabels::All), [no, 5, 5, 6, 7, 7, no]);
        assert_eq!(with(PieceLabels::Rest(9)), [no, 5, 9, 6, 7, 9, no]);
    }

    #[test]
    fn every_word_needs_a_label() {
        let found = align_labels(&[Some(0), Some(1)], &[5], PieceLabels::First);
        assert!(matches!(
            found,
            Err(Error::WordLabels { word: 1, labels: 1 })
        ));
    }
}
