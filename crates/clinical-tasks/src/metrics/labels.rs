//! Any number of labels for each example.

use serde::Serialize;

use super::{Counts, F1Score, comparable, macro_average, roc_auc, share};
use crate::{Error, Result};

/// Scores of predictions with any number of labels each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MultiLabelScores {
    /// Share of the examples that have exactly the right labels (`accuracy_score`).
    pub subset_accuracy: f64,
    /// The mean over the labels.
    pub macro_average: F1Score,
    /// All decisions together.
    pub micro_average: F1Score,
    /// The scores of each label, in the order of the columns.
    pub labels: Vec<F1Score>,
    /// Examples.
    pub examples: usize,
}

/// Precision, recall and F1 of each label, micro and macro, and the share of examples that are wholly right, as
/// scikit-learn has them. A row holds whether the example has each label: `[bool; 7]` for CLIP.
///
/// ```
/// use clinical_tasks::metrics::multi_label_scores;
///
/// let truth = [[true, false], [true, true], [false, false]];
/// let predicted = [[true, false], [true, false], [false, false]];
/// let scores = multi_label_scores(&truth, &predicted)?;
/// assert_eq!(scores.subset_accuracy, 2.0 / 3.0);
/// assert_eq!((scores.micro_average.f1, scores.macro_average.f1), (0.8, 0.5));
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Nothing`], [`Error::Lengths`], [`Error::LabelCount`].
pub fn multi_label_scores<R: AsRef<[bool]>>(
    truth: &[R],
    predicted: &[R],
) -> Result<MultiLabelScores> {
    comparable(truth.len(), predicted.len())?;
    let width = same_width(truth.iter().chain(predicted).map(AsRef::as_ref))?;
    let mut counts = vec![Counts::default(); width];
    let mut right = 0;
    for (truth, predicted) in truth.iter().zip(predicted) {
        let (truth, predicted) = (truth.as_ref(), predicted.as_ref());
        right += usize::from(truth == predicted);
        for ((counts, &truth), &predicted) in counts.iter_mut().zip(truth).zip(predicted) {
            counts.truth += usize::from(truth);
            counts.predicted += usize::from(predicted);
            counts.right += usize::from(truth && predicted);
        }
    }
    let labels: Vec<F1Score> = counts.iter().map(|counts| counts.score()).collect();
    Ok(MultiLabelScores {
        subset_accuracy: share(right, truth.len()),
        macro_average: macro_average(&labels),
        micro_average: counts.into_iter().sum::<Counts>().score(),
        labels,
        examples: truth.len(),
    })
}

/// The number of columns that all rows have.
fn same_width<'r, T: 'r>(rows: impl Iterator<Item = &'r [T]>) -> Result<usize> {
    let mut width = None;
    for (row, columns) in rows.enumerate() {
        let expected = *width.get_or_insert(columns.len());
        if columns.len() != expected {
            return Err(Error::LabelCount {
                row,
                found: columns.len(),
                expected,
            });
        }
    }
    width.filter(|width| *width > 0).ok_or(Error::Nothing)
}

/// When a label is given, by its logit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decision {
    /// Where its probability is at least one half: a logit of at least 0.
    #[default]
    Probability,
    /// Where the logit itself is at least 0.5, as the published code of CLIP's encoders decides: a probability of at
    /// least 62 %.
    PublishedLogit,
}

/// Which labels logits give.
pub fn decide(logits: &[f32], decision: Decision) -> Vec<bool> {
    let least = match decision {
        Decision::Probability => 0.0,
        Decision::PublishedLogit => 0.5,
    };
    logits.iter().map(|logit| *logit >= least).collect()
}

/// ROC-AUC of scores for any number of labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RocAucs {
    /// That of each label, in the order of the columns; `None` where all examples have it, or none.
    pub labels: Vec<Option<f64>>,
    /// Their mean; `None` where one of them has no value, as in scikit-learn.
    pub macro_average: Option<f64>,
    /// That of all decisions together.
    pub micro_average: Option<f64>,
}

/// `roc_auc_score` of scikit-learn for each label, with its averages. The published code gives it decisions (0 and 1)
/// instead of scores for T5, which has none: give those as scores for the published figure.
///
/// # Errors
///
/// [`Error::Nothing`], [`Error::Lengths`], [`Error::LabelCount`], [`Error::NotANumber`].
pub fn roc_aucs<R: AsRef<[bool]>, S: AsRef<[f64]>>(truth: &[R], scores: &[S]) -> Result<RocAucs> {
    comparable(truth.len(), scores.len())?;
    let width = same_width(truth.iter().map(AsRef::as_ref))?;
    for (row, found) in scores.iter().map(|row| row.as_ref().len()).enumerate() {
        if found != width {
            return Err(Error::LabelCount {
                row,
                found,
                expected: width,
            });
        }
    }
    let column = |at: usize| {
        let truth: Vec<bool> = truth.iter().map(|row| row.as_ref()[at]).collect();
        let scores: Vec<f64> = scores.iter().map(|row| row.as_ref()[at]).collect();
        roc_auc(&truth, &scores)
    };
    let labels = (0..width).map(column).collect::<Result<Vec<_>>>()?;
    let sum: Option<f64> = labels.iter().copied().sum();
    let all_truth: Vec<bool> = truth.iter().flat_map(AsRef::as_ref).copied().collect();
    let all_scores: Vec<f64> = scores.iter().flat_map(AsRef::as_ref).copied().collect();
    Ok(RocAucs {
        labels,
        macro_average: sum.map(|sum| sum / width as f64),
        micro_average: roc_auc(&all_truth, &all_scores)?,
    })
}
