//! What a model said about an example: labels and byte offsets, never text.

use std::fs;
use std::ops::Range;
use std::path::Path;

use clinical_tasks::entities::entity_spans;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A prediction for a test example. A line of `predictions.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Prediction {
    /// The example's number in the test part, from 0.
    pub example: usize,
    /// The example's name in the task's files.
    pub id: String,
    /// What is right and what was predicted.
    #[serde(flatten)]
    pub found: Found,
}

/// What is right and what was predicted, by the kind of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Found {
    /// One class.
    Class {
        /// The right one.
        truth: String,
        /// The predicted one; `None` where the model wrote something else.
        predicted: Option<String>,
        /// A score of each class, in their order: a probability, or a log-probability of the class's word.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scores: Vec<f64>,
    },
    /// Any number of labels for a sentence.
    Labels {
        /// The sentence's bytes in its note.
        bytes: Range<usize>,
        /// The right ones.
        truth: Vec<String>,
        /// The predicted ones.
        predicted: Vec<String>,
        /// A probability of each label, in their order, where the model has one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scores: Vec<f64>,
    },
    /// Entities of a line.
    Entities {
        /// Words of the line.
        words: usize,
        /// The right ones.
        truth: Vec<EntityAt>,
        /// The predicted ones.
        predicted: Vec<EntityAt>,
    },
    /// An answer to a question.
    Answer {
        /// Bytes of the right answers in the report; none where it has no answer.
        truth: Vec<Range<usize>>,
        /// Whether an answer was predicted.
        answered: bool,
        /// The bytes of the predicted answer, where it stands in the report.
        predicted: Option<Range<usize>>,
        /// How much speaks for "no answer", from 0 to 1; 0 where the model does not say.
        no_answer: f64,
        /// 1 where the answer is exactly a right one, else 0.
        exact: f64,
        /// The F1 of its words.
        f1: f64,
    },
}

/// An entity of a line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntityAt {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its words in the line, from 0.
    pub words: Range<usize>,
    /// Its bytes in the note; in the line's words joined with spaces where there is no note.
    pub bytes: Range<usize>,
}

impl EntityAt {
    /// The entities that labels of words name.
    pub(crate) fn of<S: AsRef<str>>(labels: &[S], bytes: &[Range<usize>]) -> Vec<Self> {
        let spans = entity_spans(labels).into_iter();
        let spans = spans.filter_map(|span| {
            let first = bytes.get(span.words.start)?;
            let last = bytes.get(span.words.end.checked_sub(1)?)?;
            Some(Self {
                bytes: first.start..last.end,
                kind: span.kind,
                words: span.words,
            })
        });
        spans.collect()
    }

    /// The labels of a line's words.
    pub(crate) fn labels(entities: &[Self], words: usize) -> Vec<String> {
        let mut labels = vec!["O".to_owned(); words];
        for entity in entities {
            for word in entity.words.clone() {
                let prefix = if word == entity.words.start { "B" } else { "I" };
                if let Some(label) = labels.get_mut(word) {
                    *label = format!("{prefix}-{}", entity.kind);
                }
            }
        }
        labels
    }
}

impl Found {
    /// An answer counts as none where more than `threshold` speaks for none.
    pub(crate) fn above(&mut self, threshold: f64) {
        if let Self::Answer {
            truth,
            answered,
            predicted,
            no_answer,
            exact,
            f1,
        } = self
            && *no_answer > threshold
        {
            let right = f64::from(u8::from(truth.is_empty()));
            (*answered, *predicted, *exact, *f1) = (false, None, right, right);
        }
    }
}

/// JSON Lines.
pub(crate) fn lines<T: Serialize>(rows: &[T], path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, row)
            .map_err(std::io::Error::from)
            .map_err(Error::written(path))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// The predictions of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<Prediction>> {
    let text = fs::read_to_string(path).map_err(Error::read(path))?;
    let lines = text.lines().enumerate();
    let lines = lines.map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| Error::Damaged {
            path: path.to_owned(),
            line: number + 1,
            column: error.column(),
        })
    });
    lines.collect()
}
