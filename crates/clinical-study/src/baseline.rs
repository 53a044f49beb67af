//! What predictions without a model score.

use clinical_tasks::Portion;
use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use crate::Result;
use crate::data::{Examples, TaskData, question};
use crate::figures::figures;
use crate::prediction::{EntityAt, Found, Prediction};

/// A rule that needs no model, and its figures on the test part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Baseline {
    /// What it predicts.
    pub name: String,
    /// Its figures on the test part.
    pub test: BTreeMap<String, f64>,
}

/// The rules of a task: the class that most training examples have, no answer, no entity, no label or every label.
pub(crate) fn baselines(data: &TaskData) -> Result<Vec<Baseline>> {
    let majority = data.majority().unwrap_or_default();
    let labels = data.labels();
    let rules: &[&str] = match &data.examples {
        Examples::MedNli(_) => &["the most frequent class"],
        Examples::RadQa(_) => &["never an answer"],
        Examples::Entities(_) => &["never an entity"],
        Examples::Clip(_) => &["never a label", "every label"],
    };
    let mut found = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let predictions = (0..data.len(Portion::Test)).map(|index| Prediction {
            example: index,
            id: String::new(),
            found: match empty(data, index) {
                Found::Class { truth, scores, .. } => Found::Class {
                    truth,
                    predicted: Some(majority.clone()),
                    scores,
                },
                Found::Labels {
                    bytes,
                    truth,
                    scores,
                    ..
                } => Found::Labels {
                    bytes,
                    truth,
                    predicted: if number == 0 {
                        Vec::new()
                    } else {
                        labels.clone()
                    },
                    scores,
                },
                other => other,
            },
        });
        let predictions: Vec<Prediction> = predictions.collect();
        found.push(Baseline {
            name: (*rule).to_owned(),
            test: figures(&predictions, &labels)?.scores,
        });
    }
    Ok(found)
}

/// What is right for a test example, with nothing predicted.
fn empty(data: &TaskData, index: usize) -> Found {
    match &data.examples {
        Examples::MedNli(pairs) => Found::Class {
            truth: pairs.test[index].label.name().to_owned(),
            predicted: None,
            scores: Vec::new(),
        },
        Examples::Clip(notes) => {
            let (note, at) = notes.get(Portion::Test, index);
            Found::Labels {
                bytes: note.sentences[at].range.clone(),
                truth: note.sentences[at].label_names(),
                predicted: Vec::new(),
                scores: Vec::new(),
            }
        }
        Examples::RadQa(reports) => {
            let (report, at) = reports.get(Portion::Test, index);
            let truth = question(report, at).answers.iter();
            let truth: Vec<_> = truth.map(|answer| answer.range.clone()).collect();
            let right = f64::from(u8::from(truth.is_empty()));
            Found::Answer {
                truth,
                answered: false,
                predicted: None,
                no_answer: 1.0,
                exact: right,
                f1: right,
            }
        }
        Examples::Entities(lines) => {
            let line = &lines.test[index];
            Found::Entities {
                words: line.row.words.len(),
                truth: EntityAt::of(&line.row.labels, &line.bytes),
                predicted: Vec::new(),
            }
        }
    }
}
