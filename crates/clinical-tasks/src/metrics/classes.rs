//! One label for each example.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Counts, F1Score, comparable, macro_average, share};
use crate::Result;

/// Scores of predictions with one label each.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassScores<L> {
    /// Share of the examples that are right.
    pub accuracy: f64,
    /// The mean over the labels (`average="macro"`).
    pub macro_average: F1Score,
    /// All decisions about the labels together (`average="micro"`). Where `labels` were not given its three values are
    /// the accuracy.
    pub micro_average: F1Score,
    /// The scores of each label, in order.
    pub labels: Vec<(L, F1Score)>,
    /// Examples.
    pub examples: usize,
}

/// Accuracy, and precision, recall and F1 of each label, micro and macro, as `accuracy_score` and
/// `precision_recall_fscore_support` of scikit-learn have them.
///
/// Without `labels` those count that stand in `truth` or `predicted`, in order: text that a model wrote instead of a
/// label lowers the macro average, as in the study. With `labels` only these count, present or not.
///
/// ```
/// use clinical_tasks::metrics::class_scores;
///
/// let truth = ["neutral", "entailment", "neutral", "contradiction"];
/// let predicted = ["neutral", "entailment", "entailment", "neutral"];
/// let scores = class_scores(&truth, &predicted, None)?;
/// assert_eq!(scores.accuracy, 0.5);
/// assert_eq!(scores.labels[1].1.f1, 2.0 / 3.0);
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Nothing`](crate::Error::Nothing), [`Error::Lengths`](crate::Error::Lengths).
pub fn class_scores<L: Ord + Clone>(
    truth: &[L],
    predicted: &[L],
    labels: Option<&[L]>,
) -> Result<ClassScores<L>> {
    comparable(truth.len(), predicted.len())?;
    let mut counts: BTreeMap<&L, Counts> = BTreeMap::new();
    for (truth, predicted) in truth.iter().zip(predicted) {
        counts.entry(truth).or_default().truth += 1;
        counts.entry(predicted).or_default().predicted += 1;
        if truth == predicted {
            counts.entry(truth).or_default().right += 1;
        }
    }
    let right = truth
        .iter()
        .zip(predicted)
        .filter(|(truth, predicted)| truth == predicted);
    let counted: Vec<(L, Counts)> = match labels {
        None => counts
            .into_iter()
            .map(|(label, counts)| (label.clone(), counts))
            .collect(),
        Some(labels) => {
            let of = |label| counts.get(label).copied().unwrap_or_default();
            labels
                .iter()
                .map(|label| (label.clone(), of(label)))
                .collect()
        }
    };
    let micro: Counts = counted.iter().map(|(_, counts)| *counts).sum();
    let scores: Vec<F1Score> = counted.iter().map(|(_, counts)| counts.score()).collect();
    Ok(ClassScores {
        accuracy: share(right.count(), truth.len()),
        macro_average: macro_average(&scores),
        micro_average: micro.score(),
        labels: counted
            .into_iter()
            .map(|(label, _)| label)
            .zip(scores)
            .collect(),
        examples: truth.len(),
    })
}
