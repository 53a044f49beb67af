//! Classes of texts.

use clinical_facade::{BatchLimits, in_batches};
use serde::Serialize;

use super::options::Part;
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
    /// for each, in their order. A text that is read in windows has the mean of their logits, weighted by their tokens.
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
        let items = texts
            .iter()
            .map(|text| self.parts(text.as_ref(), options, 0));
        let found = in_batches(
            items.collect(),
            BatchLimits::rows(options.batch()),
            &options.call,
            |part: &Part| part.ids.len(),
            || Error::Cancelled,
            |parts| self.class_logits(parts),
        );
        let labels = self.labels();
        let scores = |windows: Vec<(Vec<f32>, usize)>| {
            let all: usize = windows.iter().map(|(_, tokens)| tokens).sum();
            let mut logits = vec![0.0; labels.len()];
            for (of_window, tokens) in windows {
                let share = tokens as f32 / all.max(1) as f32;
                for (sum, logit) in logits.iter_mut().zip(of_window) {
                    *sum += share * logit;
                }
            }
            ClassScores {
                labels: labels.clone(),
                logits,
            }
        };
        found.into_iter().map(|item| item.map(&scores)).collect()
    }

    /// The logits of each part, with its tokens.
    fn class_logits(&self, parts: &[&Part]) -> Result<Vec<(Vec<f32>, usize)>> {
        let ids: Vec<&[u32]> = parts.iter().map(|part| part.ids.as_slice()).collect();
        let logits = self.model.classes(&ids)?;
        let classes = logits.dims()[1].max(1);
        let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
        let each = logits.chunks_exact(classes).zip(&ids);
        each.map(
            |(logits, row): (&[f32], &&[u32])| match logits.iter().all(|x| x.is_finite()) {
                true => Ok((logits.to_vec(), row.len())),
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
