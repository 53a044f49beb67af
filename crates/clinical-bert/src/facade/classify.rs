//! Labels for texts and pairs.

use clinical_facade::{CallOptions, LongText, Pooling};
use serde::Serialize;

use super::ClinicalBert;
use super::numbers::{argmax, finite, softmax};
use super::options::bert_call_options;
use crate::{BertModel, Result, Row, TaskHead, TokenRow};

/// What the values of a sequence classifier mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Classification {
    /// What the scores mean.
    pub kind: ProblemType,
    /// The score of every label, in the model's order.
    pub scores: Vec<LabelScore>,
}

/// The score of one label.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
        &self.scores[argmax(&scores)]
    }

    /// The labels with at least this score, in the model's order: for multi-label models, usually 0.5.
    pub fn above(&self, threshold: f32) -> impl Iterator<Item = &LabelScore> {
        self.scores
            .iter()
            .filter(move |score| score.score >= threshold)
    }
}

/// How [`ClinicalBert::classify_with`] and [`ClinicalBert::classify_pairs_with`] work.
///
/// A text that is too long is an error unless a policy is given. With windows, the scores are the mean over the
/// windows, weighted by their tokens; no published model was trained so. The first text of a pair is always read whole.
#[derive(Debug, Clone, Default)]
pub struct ClassifyOptions {
    batch_tokens: Option<usize>,
    call: CallOptions,
}

bert_call_options!(ClassifyOptions);

impl ClinicalBert {
    /// The labels of each text.
    ///
    /// # Errors
    ///
    /// As [`classify_with`](Self::classify_with).
    pub fn classify<T: AsRef<str>>(&self, texts: &[T]) -> Vec<Result<Classification>> {
        self.classify_with(texts, &ClassifyOptions::default())
    }

    /// The labels of each text. Scores are made as the config says: `problem_type`, or else a softmax over two or more
    /// labels and a sigmoid for a single one, as in `transformers`.
    ///
    /// # Errors
    ///
    /// For each text: [`Error::Head`](crate::Error::Head) for a model without a sequence classification head,
    /// [`Error::TooLong`](crate::Error::TooLong) unless the options say otherwise,
    /// [`Error::NothingLeft`](crate::Error::NothingLeft), [`Error::Overlap`](crate::Error::Overlap),
    /// [`Error::NotFinite`](crate::Error::NotFinite), [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn classify_with<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: &ClassifyOptions,
    ) -> Vec<Result<Classification>> {
        self.classify_each(texts.len(), options, |text| {
            self.rows(texts[text].as_ref(), &options.call, LongText::Error)
        })
    }

    /// The labels of each pair: premise and hypothesis, question and sentence.
    ///
    /// # Errors
    ///
    /// As [`classify_with`](Self::classify_with).
    pub fn classify_pairs<T: AsRef<str>, U: AsRef<str>>(
        &self,
        pairs: &[(T, U)],
    ) -> Vec<Result<Classification>> {
        self.classify_pairs_with(pairs, &ClassifyOptions::default())
    }

    /// The labels of each pair. A policy for what is too long is about the second text; a first one that alone is too
    /// long is an error.
    ///
    /// # Errors
    ///
    /// As [`classify_with`](Self::classify_with).
    pub fn classify_pairs_with<T: AsRef<str>, U: AsRef<str>>(
        &self,
        pairs: &[(T, U)],
        options: &ClassifyOptions,
    ) -> Vec<Result<Classification>> {
        self.classify_each(pairs.len(), options, |pair| {
            let (first, second) = &pairs[pair];
            self.pair_rows(first.as_ref(), second.as_ref(), &options.call)
        })
    }

    fn classify_each(
        &self,
        items: usize,
        options: &ClassifyOptions,
        rows: impl Fn(usize) -> Result<Vec<TokenRow>>,
    ) -> Vec<Result<Classification>> {
        let kind = self.problem_type();
        let model = || match &self.model {
            BertModel::Sequence(model) => Ok(model),
            _ => Err(self.no_head("classifying texts", TaskHead::Sequence)),
        };
        self.each(
            items,
            (&options.call, options.batch_tokens),
            |item| {
                model()?;
                let rows = rows(item)?;
                let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
                Ok((rows, lengths))
            },
            |rows: &[Row<'_>]| {
                let logits = model()?.forward(rows)?;
                let labels = logits.dims()[1];
                let logits = finite(logits.into_data())?;
                Ok(logits.chunks(labels).map(|row| kind.scores(row)).collect())
            },
            |lengths, scores| Ok(self.classification(kind, &scores, &lengths)),
        )
    }

    /// The scores of the windows of one text as one, with names.
    fn classification(
        &self,
        kind: ProblemType,
        scores: &[Vec<f32>],
        lengths: &[usize],
    ) -> Classification {
        let scores = Pooling::Mean.combine(scores, lengths);
        let scores = self.labels().iter().zip(scores);
        let scores = scores.map(|(label, score)| LabelScore {
            label: label.clone(),
            score,
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
            _ if self.labels().len() == 1 => ProblemType::MultiLabel,
            _ => ProblemType::SingleLabel,
        }
    }
}
