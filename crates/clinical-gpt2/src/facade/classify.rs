//! Classes of texts.

use clinical_facade::{BatchLimits, in_batches_of_one};
use serde::Serialize;

use super::{ClinicalGpt2, Gpt2Options};
use crate::{Error, Gpt2Head, Result};

/// What the model says about the classes of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassScores {
    /// The names of the classes in the model's order: those of `id2label`, else `LABEL_0`, `LABEL_1`, ...
    pub labels: Vec<String>,
    /// The logit of each class.
    pub logits: Vec<f32>,
}

impl ClassScores {
    /// The number of the class with the largest logit.
    #[must_use]
    pub fn best(&self) -> usize {
        let mut best = 0;
        for (at, logit) in self.logits.iter().enumerate() {
            if *logit > self.logits[best] {
                best = at;
            }
        }
        best
    }

    /// The probability of each class where one of them applies: softmax.
    #[must_use]
    pub fn probabilities(&self) -> Vec<f32> {
        let most = self
            .logits
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        let mut all: Vec<f32> = self.logits.iter().map(|x| (x - most).exp()).collect();
        let sum: f32 = all.iter().sum();
        all.iter_mut().for_each(|one| *one /= sum);
        all
    }

    /// The probability that each class applies where any number of them may: the logistic function.
    #[must_use]
    pub fn each(&self) -> Vec<f32> {
        self.logits
            .iter()
            .map(|x| 1.0 / (1.0 + (-x).exp()))
            .collect()
    }
}

impl ClinicalGpt2 {
    /// The classes of each text, by the head of [`GPT2ForSequenceClassification`](Gpt2Head::Classes):
    /// [`with_batch`](Gpt2Options::with_batch) texts at once (8, unless the options say otherwise). There is one result
    /// for each, in their order.
    ///
    /// # Errors
    ///
    /// For each text [`Error::Head`] for a model without such a head, [`Error::TooLong`], [`Error::NoText`],
    /// [`Error::NotFinite`], [`Error::Cancelled`].
    pub fn classify<S: AsRef<str>>(
        &self,
        texts: &[S],
        options: &Gpt2Options,
    ) -> Vec<Result<ClassScores>> {
        let rows = texts
            .iter()
            .map(|text| self.row(text.as_ref(), options, 0, "classify"));
        in_batches_of_one(
            rows.collect(),
            BatchLimits::rows(options.batch()),
            &options.call,
            Vec::len,
            || Error::Cancelled,
            |rows| self.class_scores(rows),
        )
    }

    fn class_scores(&self, rows: &[&Vec<u32>]) -> Result<Vec<ClassScores>> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.as_slice()).collect();
        let logits = self.model.classes(&ids)?;
        let classes = logits.dims()[1];
        let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
        let labels = self.labels();
        let each = logits.chunks_exact(classes.max(1)).zip(&ids);
        each.map(
            |(logits, row): (&[f32], &&[u32])| match logits.iter().all(|x| x.is_finite()) {
                true => Ok(ClassScores {
                    labels: labels.clone(),
                    logits: logits.to_vec(),
                }),
                false => Err(self.not_finite(row)),
            },
        )
        .collect()
    }

    /// The names of the classes; none without a head of classes.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        let config = self.config();
        let Gpt2Head::Classes(classes) = config.head else {
            return Vec::new();
        };
        let name = |number: usize| match config.labels.get(number) {
            Some(name) => name.clone(),
            None => format!("LABEL_{number}"),
        };
        (0..classes).map(name).collect()
    }

    pub(super) fn not_finite(&self, row: &[u32]) -> Error {
        let layer = self.model.non_finite_part(row);
        Error::NotFinite {
            layer: layer.unwrap_or_else(|| "head".to_owned()),
        }
    }
}
