//! Labels for texts and pairs.

use super::text::{LongText, OwnedRow};
use super::{BertModel, ClinicalBert, Head, best, finite, softmax};
use crate::{Error, Row};

/// What the values of a sequence classifier mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemType {
    /// One of the labels holds: softmax.
    SingleLabel,
    /// Any number of labels hold: a sigmoid for each.
    MultiLabel,
    /// The values as they are.
    Regression,
}

impl ProblemType {
    fn scores(self, logits: &[f32]) -> Vec<f32> {
        let sigmoid = |logit: &f32| 1.0 / (1.0 + (-logit).exp());
        match self {
            Self::SingleLabel => softmax(logits),
            Self::MultiLabel => logits.iter().map(sigmoid).collect(),
            Self::Regression => logits.to_vec(),
        }
    }
}

/// The scores of one text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Classification {
    /// What the scores mean.
    pub kind: ProblemType,
    /// The score of every label, in the model's order.
    pub scores: Vec<LabelScore>,
}

/// The score of one label.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LabelScore {
    /// The name in `id2label`.
    pub label: String,
    /// A probability, or for regression the value.
    pub score: f32,
}

impl Classification {
    /// The label with the largest score.
    #[must_use]
    pub fn best(&self) -> &LabelScore {
        let scores: Vec<f32> = self.scores.iter().map(|score| score.score).collect();
        &self.scores[best(&scores)]
    }

    /// The labels with at least this score, in the model's order: for multi-label models, usually 0.5.
    pub fn above(&self, threshold: f32) -> impl Iterator<Item = &LabelScore> {
        self.scores
            .iter()
            .filter(move |score| score.score >= threshold)
    }
}

/// How [`ClinicalBert::classify_with`] works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ClassifyOptions {
    /// Default: [`LongText::Error`]. With windows, the scores are the mean over the windows, weighted by their tokens;
    /// no published model was trained so.
    pub long: LongText,
}

impl Default for ClassifyOptions {
    fn default() -> Self {
        Self {
            long: LongText::Error,
        }
    }
}

impl ClassifyOptions {
    /// Sets [`Self::long`].
    #[must_use]
    pub fn with_long(mut self, long: LongText) -> Self {
        self.long = long;
        self
    }
}

impl ClinicalBert {
    /// The labels of each text.
    ///
    /// # Errors
    ///
    /// As [`classify_with`](Self::classify_with).
    pub fn classify<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Classification>, Error> {
        self.classify_with(texts, &ClassifyOptions::default())
    }

    /// The labels of each text. Scores are made as the config says: `problem_type`, or else a softmax over two or more
    /// labels and a sigmoid for a single one, as in `transformers`.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] for a model without a sequence classification head, [`Error::TooLong`] unless the options say
    /// otherwise, [`Error::NotFinite`].
    pub fn classify_with<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: &ClassifyOptions,
    ) -> Result<Vec<Classification>, Error> {
        let mut rows = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            rows.push(self.rows(index, text.as_ref(), options.long)?);
        }
        self.classify_rows(rows)
    }

    /// The labels of each pair: premise and hypothesis, question and sentence.
    ///
    /// # Errors
    ///
    /// As [`classify`](Self::classify). A pair that is too long is always an error.
    pub fn classify_pairs<T: AsRef<str>, U: AsRef<str>>(
        &self,
        pairs: &[(T, U)],
    ) -> Result<Vec<Classification>, Error> {
        let mut rows = Vec::with_capacity(pairs.len());
        for (index, (first, second)) in pairs.iter().enumerate() {
            let (first, second) = (
                self.text.ids(first.as_ref())?,
                self.text.ids(second.as_ref())?,
            );
            let row = self.text.pair(&first, &second);
            self.check_length(index, row.ids.len())?;
            rows.push(vec![row]);
        }
        self.classify_rows(rows)
    }

    fn classify_rows(&self, texts: Vec<Vec<OwnedRow>>) -> Result<Vec<Classification>, Error> {
        let BertModel::Sequence(model) = &self.model else {
            return Err(self.no_head("classifying texts", Head::Sequence));
        };
        let kind = self.problem_type();
        let owners: Vec<usize> = texts.iter().map(Vec::len).collect();
        let rows: Vec<OwnedRow> = texts.into_iter().flatten().collect();
        let forward = |_: &[usize], inputs: &[Row<'_>]| {
            let logits = model.forward(inputs)?;
            let labels = logits.dims()[1];
            let logits = finite(logits.into_data())?;
            Ok(logits.chunks(labels).map(|row| kind.scores(row)).collect())
        };
        let scores = self.batches(&rows, forward, |_| {})?;
        let mut at = 0;
        Ok(owners
            .into_iter()
            .map(|count| {
                let own = at..at + count;
                at += count;
                self.classification(kind, &scores[own.clone()], &rows[own])
            })
            .collect())
    }

    /// The scores of the windows of one text as one, with names.
    fn classification(
        &self,
        kind: ProblemType,
        scores: &[Vec<f32>],
        rows: &[OwnedRow],
    ) -> Classification {
        let total: usize = rows.iter().map(|row| row.ids.len()).sum();
        let mean = |label: usize| match scores {
            [only] => only[label],
            _ => scores
                .iter()
                .zip(rows)
                .map(|(scores, row)| scores[label] * row.ids.len() as f32 / total as f32)
                .sum(),
        };
        let scores = self
            .labels
            .iter()
            .enumerate()
            .map(|(index, label)| LabelScore {
                label: label.clone(),
                score: mean(index),
            });
        Classification {
            kind,
            scores: scores.collect(),
        }
    }

    fn problem_type(&self) -> ProblemType {
        match self.config.problem_type.as_deref() {
            Some("regression") => ProblemType::Regression,
            Some("multi_label_classification") => ProblemType::MultiLabel,
            Some("single_label_classification") => ProblemType::SingleLabel,
            _ if self.labels.len() == 1 => ProblemType::MultiLabel,
            _ => ProblemType::SingleLabel,
        }
    }
}
