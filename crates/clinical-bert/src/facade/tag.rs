//! Spans in texts.

use std::ops::Range;

use super::entities::{Aggregation, Entity, Scored, entities};
use super::text::{Text, Token};
use super::{BertModel, ClinicalBert, Head, finite, softmax};
use crate::{Error, Row};

/// How [`ClinicalBert::tag_with`] works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagOptions {
    /// Default: [`Aggregation::First`].
    pub aggregation: Aggregation,
    /// Tokens that a window of a long text repeats of the one before. `None`, the default: a quarter of a window, at most
    /// 64.
    pub overlap: Option<usize>,
    /// Labels that are no spans. Default: `O`, and `X`, `[CLS]`, `[SEP]`, `[PAD]` of the published `run_ner.py`.
    pub ignore: Vec<String>,
}

impl Default for TagOptions {
    fn default() -> Self {
        Self {
            aggregation: Aggregation::First,
            overlap: None,
            ignore: ["O", "X", "[CLS]", "[SEP]", "[PAD]"]
                .map(str::to_owned)
                .into(),
        }
    }
}

impl TagOptions {
    /// The defaults with this aggregation.
    #[must_use]
    pub fn new(aggregation: Aggregation) -> Self {
        Self {
            aggregation,
            ..Self::default()
        }
    }

    /// Sets [`Self::overlap`].
    #[must_use]
    pub fn with_overlap(mut self, overlap: usize) -> Self {
        self.overlap = Some(overlap);
        self
    }

    /// Sets [`Self::ignore`].
    #[must_use]
    pub fn with_ignore(mut self, labels: Vec<String>) -> Self {
        self.ignore = labels;
        self
    }
}

/// Most tokens that windows repeat unless the caller says otherwise: about three sentences.
const OVERLAP: usize = 64;

impl ClinicalBert {
    /// The labelled spans of each text, in order; see [`tag_with`](Self::tag_with).
    ///
    /// # Errors
    ///
    /// As [`tag_with`](Self::tag_with).
    pub fn tag<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<Entity>>, Error> {
        self.tag_with(texts, &TagOptions::default())
    }

    /// The labelled spans of each text, in order, with the bytes that they have in the caller's text.
    ///
    /// Texts of any length: one that the model cannot read at once is read in overlapping windows
    /// ([`clinical_notes::windows`]), and each token of an overlap is labelled by the window that has more text around it.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] for a model without a token classification head, [`Error::Overlap`], [`Error::NotFinite`].
    pub fn tag_with<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: &TagOptions,
    ) -> Result<Vec<Vec<Entity>>, Error> {
        self.tag_with_progress(texts, options, |_, _| {})
    }

    /// As [`tag_with`](Self::tag_with); `progress` gets the number of windows that were read, after every batch of them,
    /// and of all windows.
    ///
    /// # Errors
    ///
    /// As [`tag_with`](Self::tag_with).
    pub fn tag_with_progress<T: AsRef<str>>(
        &self,
        texts: &[T],
        options: &TagOptions,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Vec<Vec<Entity>>, Error> {
        let BertModel::Token(model) = &self.model else {
            return Err(self.no_head("tagging", Head::Token));
        };
        let (mut rows, mut windows, mut owners) = (Vec::new(), Vec::new(), Vec::new());
        for text in texts {
            let own = self.token_windows(text.as_ref(), options.overlap)?;
            for window in &own {
                let ids: Vec<u32> = window.tokens.iter().map(|token| token.id).collect();
                rows.push(self.text.single(&ids));
            }
            owners.push(own.len());
            windows.extend(own);
        }
        let forward = |batch: &[usize], inputs: &[Row<'_>]| {
            let logits = model.forward(inputs)?;
            let [_, longest, labels] = logits.dims();
            let logits = finite(logits.into_data())?;
            let rows = batch.iter().zip(logits.chunks(longest * labels));
            // Behind the start token.
            let scores = |logits: &'_ [f32]| logits.chunks(labels).skip(1).map(softmax).collect();
            Ok(rows
                .map(|(&row, logits)| windows[row].scored(scores(logits)))
                .collect())
        };
        let mut done = 0;
        let scored = self.batches(&rows, forward, |count| {
            done += count;
            progress(done, rows.len());
        })?;
        let mut scored = scored.into_iter();
        Ok(owners
            .into_iter()
            .map(|count| {
                let tokens: Vec<Scored> = scored.by_ref().take(count).flatten().collect();
                entities(&tokens, &self.labels, options.aggregation, &options.ignore)
            })
            .collect())
    }

    fn token_windows(&self, text: &str, overlap: Option<usize>) -> Result<Vec<Window>, Error> {
        let room = self.max_length() - Text::AROUND;
        let tokens = self.text.tokens(text, 0)?;
        if tokens.len() <= room {
            let keep = 0..text.len();
            return Ok(vec![Window { tokens, keep }]);
        }
        let overlap = overlap.unwrap_or(OVERLAP.min(room / 4));
        let mut windows: Vec<Window> = Vec::new();
        for range in self.windows(text, overlap)? {
            let tokens = self.text.tokens(&text[range.clone()], range.start)?;
            let mut keep = range.clone();
            if let Some(before) = windows.last_mut() {
                let cut = middle(&tokens, before.keep.end);
                before.keep.end = cut;
                keep.start = cut;
            }
            windows.push(Window { tokens, keep });
        }
        Ok(windows)
    }
}

/// A part of a text that the model reads at once, and the bytes that it decides about.
struct Window {
    tokens: Vec<Token>,
    keep: Range<usize>,
}

impl Window {
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

/// Where a window takes over from the one before, which ends at `end`: at the first word in the second half of the tokens
/// that both have.
fn middle(tokens: &[Token], end: usize) -> usize {
    let shared = tokens.partition_point(|token| token.bytes.start < end);
    tokens[shared / 2..shared]
        .iter()
        .find(|token| !token.continues)
        .map_or(end, |token| token.bytes.start)
}
