//! Metrics that equal the reference implementations: scikit-learn, the script of SQuAD 2.0, seqeval, SciPy.
//!
//! Shares are between 0 and 1, those of SQuAD too, whose script gives percent. Where scikit-learn warns and takes 0 (a
//! precision without a prediction, a recall without a reference) these give 0; where it has no value (a ROC-AUC with
//! one class) they give `None`. Nothing to measure is an error.

mod agreement;
mod bootstrap;
mod classes;
mod labels;
mod paired;
mod roc;
mod spans;
mod squad;

use serde::Serialize;

pub use agreement::{KappaWeights, Scale, cohen_kappa, krippendorff_alpha};
pub use bootstrap::{Bootstrap, Interval};
pub use classes::{ClassScores, class_scores};
pub use labels::{Decision, MultiLabelScores, RocAucs, decide, multi_label_scores, roc_aucs};
pub use paired::{McNemar, PairedTest, Significance, mcnemar};
pub use roc::roc_auc;
pub use spans::{EntityScores, entity_scores};
pub use squad::{
    BestThreshold, Overlap, SquadAnswer, SquadItem, SquadScores, WindowRule, answer_f1,
    best_threshold, exact_match, normalized_answer, squad_items, squad_scores, window_answer,
};

use crate::{Error, Result};

/// Precision, recall and F1 of one label, or of several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct F1Score {
    /// Share of the predictions that are right; 0 without a prediction.
    pub precision: f64,
    /// Share of the references that were found; 0 without a reference.
    pub recall: f64,
    /// Their harmonic mean; 0 where nothing is right.
    pub f1: f64,
    /// References.
    pub support: usize,
}

/// Right predictions, all predictions, all references.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) right: usize,
    pub(crate) predicted: usize,
    pub(crate) truth: usize,
}

impl Counts {
    pub(crate) fn score(self) -> F1Score {
        F1Score {
            precision: share(self.right, self.predicted),
            recall: share(self.right, self.truth),
            f1: share(2 * self.right, self.predicted + self.truth),
            support: self.truth,
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, one| Self {
            right: sum.right + one.right,
            predicted: sum.predicted + one.predicted,
            truth: sum.truth + one.truth,
        })
    }
}

/// A share, 0 of nothing.
fn share(part: usize, of: usize) -> f64 {
    match of {
        0 => 0.0,
        of => part as f64 / of as f64,
    }
}

/// The unweighted mean of each value, with the sum of the references.
fn macro_average(scores: &[F1Score]) -> F1Score {
    let mean = |value: fn(&F1Score) -> f64| match scores.len() {
        0 => 0.0,
        count => scores.iter().map(value).sum::<f64>() / count as f64,
    };
    F1Score {
        precision: mean(|score| score.precision),
        recall: mean(|score| score.recall),
        f1: mean(|score| score.f1),
        support: scores.iter().map(|score| score.support).sum(),
    }
}

/// The mean of each value weighted by the references; 0 where there is none.
fn weighted_average(scores: &[F1Score]) -> F1Score {
    let support: usize = scores.iter().map(|score| score.support).sum();
    let mean = |value: fn(&F1Score) -> f64| match support {
        0 => 0.0,
        all => {
            scores
                .iter()
                .map(|score| value(score) * score.support as f64)
                .sum::<f64>()
                / all as f64
        }
    };
    F1Score {
        precision: mean(|score| score.precision),
        recall: mean(|score| score.recall),
        f1: mean(|score| score.f1),
        support,
    }
}

/// Refuses what cannot be compared.
fn comparable(truth: usize, predicted: usize) -> Result<()> {
    match (truth, predicted) {
        (0, 0) => Err(Error::Nothing),
        _ if truth != predicted => Err(Error::Lengths { truth, predicted }),
        _ => Ok(()),
    }
}
