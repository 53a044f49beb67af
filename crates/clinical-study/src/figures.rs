//! The figures of predictions.

use std::collections::BTreeMap;

use clinical_tasks::metrics::{F1Score, class_scores, entity_scores, multi_label_scores, roc_aucs};
use serde::{Deserialize, Serialize};

use crate::prediction::{EntityAt, Found, Prediction};
use crate::{Result, TaskKind};

/// A figure by which models are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Share of the examples that are right.
    Accuracy,
    /// Mean F1 over the labels.
    MacroF1,
    /// F1 of all decisions about labels together.
    MicroF1,
    /// Share of the examples with exactly the right labels.
    SubsetAccuracy,
    /// Entities: F1 of exact spans with their type. Answers: mean F1 of their words.
    F1,
    /// Share of the questions that are answered exactly.
    Exact,
}

impl Metric {
    /// Those of a task, the default first.
    #[must_use]
    pub const fn of(task: TaskKind) -> &'static [Self] {
        match task {
            TaskKind::Mednli => &[Self::Accuracy, Self::MacroF1],
            TaskKind::Radqa => &[Self::F1, Self::Exact],
            TaskKind::Clip => &[Self::MacroF1, Self::MicroF1, Self::SubsetAccuracy],
            TaskKind::Entities => &[Self::F1, Self::MacroF1],
        }
    }

    /// Its name in a specification and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::MacroF1 => "macro_f1",
            Self::MicroF1 => "micro_f1",
            Self::SubsetAccuracy => "subset_accuracy",
            Self::F1 => "f1",
            Self::Exact => "exact",
        }
    }
}

/// The figures of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LabelFigures {
    /// The label, or the type of entities.
    pub label: String,
    /// Share of the predictions that are right.
    pub precision: f64,
    /// Share of the references that were found.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// References.
    pub support: usize,
}

impl LabelFigures {
    fn new(label: &str, score: &F1Score) -> Self {
        Self {
            label: label.to_owned(),
            precision: score.precision,
            recall: score.recall,
            f1: score.f1,
            support: score.support,
        }
    }
}

/// All figures of the predictions of a part.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) scores: BTreeMap<String, f64>,
    pub(crate) labels: Vec<LabelFigures>,
}

/// The figures by the metrics of `clinical-tasks`. `labels` are those of the task.
pub(crate) fn figures(predictions: &[Prediction], labels: &[String]) -> Result<Figures> {
    let mut scores = BTreeMap::new();
    let mut put = |name: &str, value: f64| {
        scores.insert(name.to_owned(), value);
    };
    let mut of_labels = Vec::new();
    let (mut classes, mut sets, mut probabilities) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lines, mut answers) = (Vec::new(), Vec::new());
    for prediction in predictions {
        match &prediction.found {
            Found::Class {
                truth, predicted, ..
            } => classes.push((truth.as_str(), predicted.as_deref().unwrap_or_default())),
            Found::Labels {
                truth,
                predicted,
                scores,
                ..
            } => {
                sets.push((row(truth, labels), row(predicted, labels)));
                if scores.len() == labels.len() {
                    probabilities.push(scores.clone());
                }
            }
            Found::Entities {
                words,
                truth,
                predicted,
            } => lines.push((
                EntityAt::labels(truth, *words),
                EntityAt::labels(predicted, *words),
            )),
            Found::Answer {
                truth, exact, f1, ..
            } => answers.push((truth.is_empty(), *exact, *f1)),
        }
    }
    if !classes.is_empty() {
        let (truth, predicted): (Vec<_>, Vec<_>) = classes.into_iter().unzip();
        let known: Vec<&str> = labels.iter().map(String::as_str).collect();
        let found = class_scores(&truth, &predicted, Some(&known))?;
        put("accuracy", found.accuracy);
        put("macro_f1", found.macro_average.f1);
        let all = found.labels.iter();
        of_labels = all
            .map(|(label, score)| LabelFigures::new(label, score))
            .collect();
    }
    if !sets.is_empty() {
        let (truth, predicted): (Vec<_>, Vec<_>) = sets.into_iter().unzip();
        let found = multi_label_scores(&truth, &predicted)?;
        put("macro_f1", found.macro_average.f1);
        put("micro_f1", found.micro_average.f1);
        put("subset_accuracy", found.subset_accuracy);
        if probabilities.len() == truth.len() {
            let found = roc_aucs(&truth, &probabilities)?;
            if let Some(value) = found.macro_average {
                put("macro_roc_auc", value);
            }
            if let Some(value) = found.micro_average {
                put("micro_roc_auc", value);
            }
        }
        let all = labels.iter().zip(&found.labels);
        of_labels = all
            .map(|(label, score)| LabelFigures::new(label, score))
            .collect();
    }
    if !lines.is_empty() {
        let (truth, predicted): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        let found = entity_scores(&truth, &predicted)?;
        put("f1", found.micro_average.f1);
        put("precision", found.micro_average.precision);
        put("recall", found.micro_average.recall);
        put(
            "macro_f1",
            found.macro_average.map_or(0.0, |score| score.f1),
        );
        let all = found.kinds.iter();
        of_labels = all
            .map(|(kind, score)| LabelFigures::new(kind, score))
            .collect();
    }
    if !answers.is_empty() {
        let mean = |chosen: &dyn Fn(bool) -> bool, value: fn(&(bool, f64, f64)) -> f64| {
            let values = answers.iter().filter(|answer| chosen(answer.0)).map(value);
            let values: Vec<f64> = values.collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        for (name, value) in [
            ("exact", mean(&|_| true, |answer| answer.1)),
            ("f1", mean(&|_| true, |answer| answer.2)),
            ("answerable_f1", mean(&|empty| !empty, |answer| answer.2)),
            ("unanswerable_f1", mean(&|empty| empty, |answer| answer.2)),
        ] {
            if let Some(value) = value {
                put(name, value);
            }
        }
    }
    Ok(Figures {
        scores,
        labels: of_labels,
    })
}

pub(crate) fn row(labels: &[String], known: &[String]) -> Vec<bool> {
    known.iter().map(|label| labels.contains(label)).collect()
}
