//! Entities by their exact words and type.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::{Counts, F1Score, comparable, macro_average, weighted_average};
use crate::entities::{EntitySpan, entity_spans};
use crate::{Error, Result};

/// Scores of entities.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EntityScores {
    /// All entities together: the figure that papers report.
    pub micro_average: F1Score,
    /// The mean over the types; `None` without an entity, where seqeval has no value either.
    pub macro_average: Option<F1Score>,
    /// The mean over the types, weighted by their entities.
    pub weighted_average: F1Score,
    /// The scores of each type, in order.
    pub kinds: Vec<(String, F1Score)>,
}

/// Precision, recall and F1 of entities, each sequence of labels against its reference, as seqeval has them (its
/// default mode): an entity is right when its words and its type are, and [`entity_spans`] says what labels mean. Without
/// an entity the micro average is 0.
///
/// ```
/// use clinical_tasks::metrics::entity_scores;
///
/// let truth = [vec!["B-test", "I-test", "O", "B-problem"]];
/// let predicted = [vec!["B-test", "O", "O", "B-problem"]];
/// let scores = entity_scores(&truth, &predicted)?;
/// assert_eq!(scores.micro_average.f1, 0.5);
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Nothing`]; [`Error::Lengths`] for the sequences, or for the labels of one.
pub fn entity_scores<S: AsRef<str>>(
    truth: &[Vec<S>],
    predicted: &[Vec<S>],
) -> Result<EntityScores> {
    comparable(truth.len(), predicted.len())?;
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for (truth, predicted) in truth.iter().zip(predicted) {
        if truth.len() != predicted.len() {
            return Err(Error::Lengths {
                truth: truth.len(),
                predicted: predicted.len(),
            });
        }
        let truth: HashSet<EntitySpan> = entity_spans(truth).into_iter().collect();
        for span in entity_spans(predicted) {
            let right = truth.contains(&span);
            let counts = counts.entry(span.kind).or_default();
            counts.predicted += 1;
            counts.right += usize::from(right);
        }
        for span in truth {
            counts.entry(span.kind).or_default().truth += 1;
        }
    }
    let scores: Vec<F1Score> = counts.values().map(|counts| counts.score()).collect();
    Ok(EntityScores {
        micro_average: counts.values().copied().sum::<Counts>().score(),
        macro_average: (!scores.is_empty()).then(|| macro_average(&scores)),
        weighted_average: weighted_average(&scores),
        kinds: counts.into_keys().zip(scores).collect(),
    })
}
