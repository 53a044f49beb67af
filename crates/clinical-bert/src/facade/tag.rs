//! Spans in texts.

use clinical_facade::CallOptions;

use super::ClinicalBert;
use super::entities::{Aggregation, Entity, Scored, entities};
use super::long::Window;
use super::numbers::{finite, softmax};
use super::options::bert_call_options;
use super::text::Text;
use crate::{BertModel, Result, Row, TaskHead};

/// How [`ClinicalBert::tag_with`] works.
///
/// A text that is too long is read in windows unless a policy is given; each repeats a quarter of the one before, at
/// most 64 tokens. `LongText::Windows` sets another overlap.
#[derive(Debug, Clone)]
pub struct TagOptions {
    aggregation: Aggregation,
    ignore: Vec<String>,
    batch_tokens: Option<usize>,
    call: CallOptions,
}

impl Default for TagOptions {
    fn default() -> Self {
        Self {
            aggregation: Aggregation::First,
            ignore: ["O", "X", "[CLS]", "[SEP]", "[PAD]"]
                .map(str::to_owned)
                .into(),
            batch_tokens: None,
            call: CallOptions::default(),
        }
    }
}

bert_call_options!(TagOptions);

impl TagOptions {
    /// How labels of tokens become spans. Default: [`Aggregation::First`].
    #[must_use]
    pub fn with_aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = aggregation;
        self
    }

    /// Labels that are no spans. Default: `O`, and `X`, `[CLS]`, `[SEP]`, `[PAD]` of the published `run_ner.py`.
    #[must_use]
    pub fn with_ignore(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.ignore = labels.into_iter().map(Into::into).collect();
        self
    }
}

impl ClinicalBert {
    /// The labelled spans of each text, in order; see [`tag_with`](Self::tag_with).
    ///
    /// # Errors
    ///
    /// As [`tag_with`](Self::tag_with).
    pub fn tag<T: AsRef<str>>(&self, texts: &[T]) -> Vec<Result<Vec<Entity>>> {
        self.tag_with(texts, &TagOptions::default())
    }

    /// The labelled spans of each text, in order, with the bytes that they have in the caller's text.
    ///
    /// Texts of any length: one that the model cannot read at once is read in overlapping windows
    /// ([`clinical_notes::windows`]), and each token of an overlap is labelled by the window that has more text around
    /// it.
    ///
    /// # Errors
    ///
    /// For each text: [`Error::Head`](crate::Error::Head) for a model without a token classification head,
    /// [`Error::Overlap`](crate::Error::Overlap), [`Error::NotFinite`](crate::Error::NotFinite),
    /// [`Error::Cancelled`](crate::Error::Cancelled); with another policy for long texts
    /// [`Error::TooLong`](crate::Error::TooLong), [`Error::NothingLeft`](crate::Error::NothingLeft).
    pub fn tag_with<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: &TagOptions,
    ) -> Vec<Result<Vec<Entity>>> {
        let model = || match &self.model {
            BertModel::Token(model) => Ok(model),
            _ => Err(self.no_head("tagging", TaskHead::Token)),
        };
        self.each(
            texts.len(),
            (&options.call, options.batch_tokens),
            |text| {
                model()?;
                let windows = self.token_windows(texts[text].as_ref(), &options.call, None)?;
                let row = |window: &Window| {
                    let ids: Vec<u32> = window.tokens.iter().map(|token| token.id).collect();
                    self.text.single(&ids)
                };
                Ok((windows.iter().map(row).collect(), windows))
            },
            |rows: &[Row<'_>]| {
                let logits = model()?.forward(rows)?;
                let [_, longest, labels] = logits.dims();
                let logits = finite(logits.into_data())?;
                let rows = rows.iter().zip(logits.chunks(longest * labels));
                let scores = |(row, logits): (&Row<'_>, &[f32])| -> Vec<Vec<f32>> {
                    // Those after the start token.
                    let tokens = logits.chunks(labels).skip(1);
                    let tokens = tokens.take(row.ids.len() - Text::AROUND);
                    tokens.map(softmax).collect()
                };
                Ok(rows.map(scores).collect())
            },
            |windows, scores: Vec<Vec<Vec<f32>>>| {
                let scored = windows.iter().zip(scores);
                let scored: Vec<Scored> = scored
                    .flat_map(|(one, scores)| one.scored(scores))
                    .collect();
                Ok(entities(
                    &scored,
                    &self.config.labels,
                    options.aggregation,
                    &options.ignore,
                ))
            },
        )
    }
}

impl Window {
    /// The tokens that this window decides about, with their scores.
    fn scored(&self, scores: Vec<Vec<f32>>) -> Vec<Scored> {
        let tokens = self.tokens.iter().zip(scores);
        tokens
            .filter(|(token, _)| self.keep.contains(&token.bytes.start))
            .map(|(token, scores)| Scored {
                bytes: token.bytes.clone(),
                continues: token.continues,
                scores,
            })
            .collect()
    }
}
